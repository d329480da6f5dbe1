#include "tests/support/host_cuda.h"

#include <dlfcn.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>

#include "base/disk_cache.h"
#include "base/error.h"
#include "codegen/compiler.h"
#include "codegen/kernel/print.h"

namespace espalier::test {

namespace {

namespace fs = std::filesystem;

std::string read(const fs::path& path) {
  std::ifstream in(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(in), {}};
}

/// A temporary folder, removed by the destructor.
class Folder {
 public:
  Folder() {
    std::string pattern = (fs::temp_directory_path() / "espalier-XXXXXX").string();
    internal_check(mkdtemp(pattern.data()) != nullptr, "cannot make a temporary folder: {}",
                   pattern);
    path_ = pattern;
  }
  ~Folder() {
    std::error_code ignored;
    fs::remove_all(path_, ignored);
  }
  fs::path operator/(const char* name) const { return path_ / name; }

 private:
  fs::path path_;
};

/// Whether kernels are checked for races (cuda_races.h). Then they are compiled and linked in two
/// steps, so that the sanitizer's own library is not linked.
bool watched() { return std::getenv("ESPALIER_FAKE_CUDA_RACES") != nullptr; }
constexpr std::string_view watched_flags = " -DESPALIER_RACES -fsanitize=thread";

void compile(const Folder& folder, const std::string& source, const fs::path& object) {
  const fs::path text = folder / "text.cpp", log = folder / "log", part = folder / "text.o";
  std::ofstream(text, std::ios::binary) << source;
  const std::string command = fmt::format(
      "({} {} -I '{}' -c -o '{}' '{}' && '{}' -shared -o '{}' '{}') > '{}' 2>&1",
      ESPALIER_SHIM_COMMAND, watched() ? watched_flags : "", ESPALIER_SOURCE_DIR, part.string(),
      text.string(), ESPALIER_CXX_COMPILER, object.string(), part.string(), log.string());
  const bool compiled = std::system(command.c_str()) == 0;
  internal_check(compiled, "{}\n{}", command, read(log));
}

}  // namespace

HostModule::HostModule(const std::string& source) {
  const fs::path support = fs::path(ESPALIER_SOURCE_DIR) / "tests/support";
  std::string shim = read(support / "cuda_shim.h");
  if (watched()) shim += read(support / "cuda_races.h");
  const std::string key = fmt::format("{}{}\n{}\n{}", ESPALIER_SHIM_COMMAND,
                                      watched() ? watched_flags : "", shim, source);
  fs::path directory = default_cache_directory();
  if (!directory.empty()) directory /= "host-cuda";
  DiskCache cache(directory);
  const Folder folder;
  const fs::path object = folder / "kernels.so";
  if (const auto found = cache.load(key)) {
    std::ofstream(object, std::ios::binary) << *found;
  } else {
    compile(folder, source, object);
    cache.store(key, read(object));
  }
  library_ = dlopen(object.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library_ == nullptr) throw InternalError(dlerror());
}

HostModule::~HostModule() { dlclose(library_); }

void* HostModule::symbol(const std::string& name) const { return dlsym(library_, name.c_str()); }

void HostModule::launch(void* kernel, unsigned grid, unsigned block, std::size_t shared_bytes,
                        void** args, bool cooperative) const {
  using Launch = void (*)(void*, unsigned, unsigned, std::size_t, void**, bool);
  reinterpret_cast<Launch>(symbol("espalier_host_launch"))(kernel, grid, block, shared_bytes, args,
                                                           cooperative);
}

int HostKernels::add(const codegen::Kernel& kernel) {
  const int number = int(texts_.size());
  const auto [found, added] = numbers_.emplace(codegen::print_kernel(kernel), number);
  if (added) texts_.push_back(codegen::print_cuda_stages(kernel, fmt::format("k{}_", number)));
  return found->second;
}

std::string HostKernels::source() const {
  std::string source(codegen::cuda_prelude());
  for (const codegen::CudaText& text : texts_) source += text.source;
  return source;
}

void HostKernels::compile() { module_ = std::make_unique<HostModule>(source()); }

void HostKernels::run(int kernel, int stage, void* const* buffers, std::int64_t row_begin,
                      std::int64_t row_end, unsigned grid) const {
  const auto& stages = text(kernel).stages;
  const auto found = std::ranges::find(stages, stage, &codegen::CudaStage::first);
  if (found == stages.end()) return;
  const codegen::CudaStage& launched = *found;
  struct {
    void* const* buffers;
    long long row_begin, row_end;
  } launch{buffers, row_begin, row_end};
  void* argument = &launch;
  void* args[] = {&argument};
  void* const function = module_->symbol(launched.symbol);
  internal_check(function != nullptr, "the text has no '{}'", launched.symbol);
  module_->launch(function, grid, unsigned(launched.threads), std::size_t(launched.shared_bytes),
                  args);
}

}  // namespace espalier::test
