// The compiler and its two caches: what is found again, and what is never trusted.
#include "codegen/compiler.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "base/disk_cache.h"
#include "codegen/cpu/host_targets.h"
#include "codegen/cpu/jit.h"
#include "codegen/fingerprint.h"
#include "tests/codegen/kernel_runner.h"
#include "tests/support/temporary_folder.h"

namespace espalier::codegen {
namespace {

namespace fs = std::filesystem;

using test::read_file;
using test::TemporaryFolder;

void write_file(const fs::path& path, const std::string& text) {
  std::ofstream(path, std::ios::binary) << text;
}

/// y[row] = x[row] + number
Kernel addition(double number) {
  Kernel kernel;
  kernel.name = "addition";
  KernelBuilder b(kernel);
  const BufferId x = b.buffer({.role = BufferRole::scratch, .a = 0, .row_elements = 1});
  const BufferId y = b.buffer({.role = BufferRole::scratch, .a = 1, .row_elements = 1});
  Stage s = instance_stage(b, {});
  const int operands[] = {b.load(x, b.var(s.row)), b.number(number)};
  s.stores = {{y, b.var(s.row), b.emit(ir::Opcode::add, operands, 0)}};
  kernel.stages = {s};
  return kernel;
}

float run_addition(const CompiledKernel& kernel, float x) {
  Memory memory;
  memory.add_floats(std::vector{x});
  memory.add_floats(std::vector{0.0F});
  run(kernel, memory, 1, 0);
  return memory.floats(1)[0];
}

class CachedCompiler : public testing::Test {
 protected:
  CompilerOptions options() const { return {.cache_directory = folder_ / "kernels"}; }
  std::vector<fs::path> files() const {
    std::vector<fs::path> found;
    for (const auto& entry : fs::directory_iterator(options().cache_directory))
      found.push_back(entry.path());
    std::sort(found.begin(), found.end());
    return found;
  }
  /// Compiles x + 1 in a new compiler, checks it and says what the compiler did.
  CompilerStatistics compile() const {
    Compiler compiler(host_target(), options());
    EXPECT_EQ(run_addition(compiler.compile(addition(1)), 2), 3);
    return compiler.statistics();
  }

  TemporaryFolder folder_;
};

TEST_F(CachedCompiler, FindsKernelsInMemory) {
  Compiler compiler(host_target());
  const CompiledKernel& first = compiler.compile(addition(1));
  EXPECT_EQ(&compiler.compile(addition(1)), &first);
  EXPECT_NE(&compiler.compile(addition(2)), &first);
  EXPECT_EQ(run_addition(first, 2), 3);
  const CompilerStatistics statistics = compiler.statistics();
  EXPECT_EQ(statistics.compilations, 2);
  EXPECT_EQ(statistics.memory_hits, 1);
  EXPECT_EQ(statistics.disk_hits, 0);
  EXPECT_GT(statistics.seconds, 0);
}

TEST_F(CachedCompiler, FindsKernelsOnDisk) {
  EXPECT_EQ(compile().compilations, 1);
  const CompilerStatistics second = compile();
  EXPECT_EQ(second.compilations, 0);
  EXPECT_EQ(second.disk_hits, 1);
  ASSERT_EQ(files().size(), 1u);
  // Code of other emitters is another key: see tests/codegen/fingerprint.cmake.
  EXPECT_NE(read_file(files()[0]).find(source_fingerprint()), std::string::npos);
}

TEST_F(CachedCompiler, KeepsTargetsApart) {
  for (int round = 0; round < 2; ++round)
    for (const Target& target : host_targets()) {
      Compiler compiler(target, options());
      EXPECT_EQ(run_addition(compiler.compile(addition(1)), 2), 3);
      EXPECT_EQ(compiler.statistics().disk_hits, round);
    }
  EXPECT_EQ(files().size(), host_targets().size());
}

TEST_F(CachedCompiler, RebuildsADamagedFile) {
  compile();
  const fs::path file = files()[0];
  const std::string good = read_file(file);
  for (std::size_t at = 0; at < good.size(); at += 1 + good.size() / 50) {
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    write_file(file, bad);
    EXPECT_EQ(compile().compilations, 1) << "byte " << at;
    EXPECT_EQ(read_file(file), good) << "byte " << at;
  }
}

TEST_F(CachedCompiler, RebuildsATruncatedOrLengthenedFile) {
  compile();
  const fs::path file = files()[0];
  const std::string good = read_file(file);
  for (std::size_t length : {std::size_t{0}, std::size_t{5}, good.size() / 2, good.size() - 1}) {
    write_file(file, good.substr(0, length));
    EXPECT_EQ(compile().compilations, 1) << length;
    EXPECT_EQ(read_file(file), good) << length;
  }
  write_file(file, good + "x");
  EXPECT_EQ(compile().compilations, 1);
  EXPECT_EQ(read_file(file), good);
}

TEST_F(CachedCompiler, RebuildsAFileOfAnotherKernelUnderTheSameName) {
  compile();
  const fs::path file = files()[0];
  {
    Compiler other(host_target(), options());
    other.compile(addition(2));  // whose text is as long
  }
  for (const fs::path& found : files())
    if (found != file) fs::rename(found, file);  // as if the hashes were equal
  EXPECT_EQ(compile().compilations, 1);
  EXPECT_EQ(compile().disk_hits, 1);
}

TEST_F(CachedCompiler, RebuildsAWholeFileThatHoldsNoObject) {
  compile();
  const std::string text = read_file(files()[0]);
  const std::size_t begin = text.find("codegen "), end = text.find(
                                                       "\x7f"
                                                       "ELF");
  ASSERT_NE(begin, text.npos);
  if (end == text.npos) GTEST_SKIP() << "this machine's objects are not ELF";
  DiskCache cache(options().cache_directory);
  const std::string key = text.substr(begin, end - begin);
  for (const std::string& object : {std::string("no object"), text.substr(end, 200)}) {
    ASSERT_TRUE(cache.store(key, object));
    ASSERT_EQ(cache.load(key), object);
    EXPECT_EQ(compile().compilations, 1);
    EXPECT_EQ(compile().disk_hits, 1);
  }
}

TEST_F(CachedCompiler, RebuildsWhatIsNoFile) {
  compile();
  const fs::path file = files()[0];
  fs::remove(file);
  fs::create_directory(file);
  Compiler compiler(host_target(), options());
  EXPECT_EQ(compiler.cache_problem(), "");
  compiler.compile(addition(1));
  EXPECT_EQ(compiler.statistics().compilations, 1);
  EXPECT_EQ(compiler.cache_problem(), folder_ / "kernels" + ": cannot be written: Is a directory");
}

TEST_F(CachedCompiler, DoesWithoutACacheThatItCannotWrite) {
  write_file(folder_ / "kernels", "a file where the folder should be");
  Compiler compiler(host_target(), options());
  compiler.compile(addition(1));
  EXPECT_EQ(compiler.statistics().compilations, 1);
  EXPECT_EQ(compiler.cache_problem(), folder_ / "kernels" + ": cannot be opened: Not a directory");
}

TEST_F(CachedCompiler, IsSharedByProcesses) {
  // Children compile the same kernels at once while this process damages what they write.
  std::vector<pid_t> children;
  for (int i = 0; i < 4; ++i) {
    const pid_t child = fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      int wrong = 0;
      for (int round = 0; round < 6; ++round) {
        Compiler compiler(host_target(), options());
        for (int number = 0; number < 4; ++number) {
          const int mine = (number + i) % 4;
          wrong += run_addition(compiler.compile(addition(mine)), 0.5F) != 0.5F + float(mine);
        }
      }
      _exit(wrong);
    }
    children.push_back(child);
  }
  for (int i = 0; i < 50; ++i) {
    usleep(2000);
    if (!fs::exists(options().cache_directory)) continue;
    for (const fs::path& file : files()) {
      if (file.extension() != ".kernel") continue;
      const std::string text = read_file(file);
      const fs::path copy = folder_ / "damaged";
      write_file(copy, text.substr(0, text.size() / 2));
      fs::rename(copy, file);
    }
  }
  for (pid_t child : children) {
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFEXITED(status));
    EXPECT_EQ(WEXITSTATUS(status), 0);
  }
  for (const fs::path& file : files()) EXPECT_EQ(file.extension(), ".kernel") << file;
}

TEST(DiskCache, StoresAnyBytesUnderAnyKey) {
  const TemporaryFolder folder;
  DiskCache cache(folder.path());
  const std::string bytes("\0\xff\n", 3);
  EXPECT_FALSE(cache.load("a"));
  for (const std::string& key : {std::string(), std::string("a"), std::string("\0", 1)}) {
    EXPECT_TRUE(cache.store(key, bytes + key));
    EXPECT_EQ(cache.load(key), bytes + key);
  }
  EXPECT_TRUE(cache.store("a", ""));
  EXPECT_EQ(cache.load("a"), "");
  EXPECT_NE(cache.file("a"), cache.file("b"));
}

TEST(DiskCache, WithoutAFolderIsEmpty) {
  DiskCache cache({});
  EXPECT_TRUE(cache.store("a", "b"));
  EXPECT_FALSE(cache.load("a"));
}

TEST(DiskCache, LiesWhereXdgSays) {
  const char* old = getenv("XDG_CACHE_HOME");
  const std::string saved = old ? old : "";
  setenv("XDG_CACHE_HOME", "/somewhere", 1);
  EXPECT_EQ(default_cache_directory(), "/somewhere/espalier");
  setenv("XDG_CACHE_HOME", "relative", 1);
  EXPECT_EQ(default_cache_directory().filename(), "espalier");
  EXPECT_NE(default_cache_directory(), "relative/espalier");
  if (old)
    setenv("XDG_CACHE_HOME", saved.c_str(), 1);
  else
    unsetenv("XDG_CACHE_HOME");
}

TEST(Jit, ObjectsNeedNothingFromOutside) {
  // Every opcode that other compilers turn into a call of libm.
  for (const Target& target : host_targets()) {
    Kernel kernel;
    KernelBuilder b(kernel);
    const BufferId x = b.buffer({.role = BufferRole::scratch, .row_elements = 33});
    Stage s = instance_stage(b, {33});
    const ExprId at = element(b, s);
    int value = b.load(x, at);
    for (ir::Opcode opcode : {ir::Opcode::exp, ir::Opcode::log, ir::Opcode::tanh, ir::Opcode::sqrt})
      value = b.emit(opcode, {&value, 1}, 0);
    s.stores = {{x, at, value}};
    kernel.stages = {s};
    Jit jit(target);
    const std::string assembly = jit.dump(kernel, true);
    EXPECT_EQ(assembly.find("@PLT"), std::string::npos) << target.name;
    EXPECT_EQ(assembly.find("call"), std::string::npos) << target.name;
    EXPECT_EQ(jit.load(jit.compile(kernel), 1).size(), 1u) << target.name;
  }
}

TEST(Jit, UsesTheFullWidthOfTheTarget) {
  const char* registers[] = {"zmm", "ymm", "xmm"};
  for (const Target& target : host_targets()) {
    if (target.cpu == "generic") continue;
    Jit jit(target);
    Kernel kernel;
    KernelBuilder b(kernel);
    const BufferId x = b.buffer({.role = BufferRole::scratch, .row_elements = 64});
    Stage s = instance_stage(b, {64});
    const ExprId at = element(b, s);
    const int load = b.load(x, at);
    s.stores = {{x, at, b.emit(ir::Opcode::exp, {&load, 1}, 0)}};
    kernel.stages = {s};
    const std::string assembly = jit.dump(kernel, true);
    const char* wanted = registers[target.width == 16 ? 0 : target.width == 8 ? 1 : 2];
#ifdef __x86_64__
    EXPECT_NE(assembly.find(wanted), std::string::npos) << target.name;
#else
    (void)wanted;
#endif
  }
}

}  // namespace
}  // namespace espalier::codegen
