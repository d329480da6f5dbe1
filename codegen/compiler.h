// Kernel → machine code of a CPU or a GPU, through two caches: in memory and on disk, both by the
// kernel's full text. An engine owns one Compiler; what it hands out lives as long as it does.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>

#include "codegen/kernel/compiled_kernel.h"
#include "codegen/kernel/target.h"

namespace espalier::codegen {

struct CompilerOptions {
  /// Where compiled kernels are kept between runs; empty for nowhere. default_cache_directory()
  /// is what a command passes.
  std::filesystem::path cache_directory;
};

struct CompilerStatistics {
  std::int64_t compilations = 0;  ///< kernels that went through LLVM or NVRTC
  std::int64_t disk_hits = 0;     ///< kernels loaded from the cache directory
  std::int64_t memory_hits = 0;   ///< calls that found their kernel here
  double seconds = 0;             ///< spent in compile()
};

class Compiler {
 public:
  /// Throws UserError if the target is a GPU and there is no NVRTC.
  explicit Compiler(Target target, CompilerOptions options = {});
  ~Compiler();
  Compiler(const Compiler&) = delete;
  Compiler& operator=(const Compiler&) = delete;

  const Target& target() const;
  /// The compiled kernel; the reference holds as long as the Compiler. Equal kernels (by their full
  /// text) are compiled once. May be called from several threads; one compiles at a time.
  const CompiledKernel& compile(Kernel kernel);
  /// The cubin of a self-contained CUDA text, through the same caches; it holds as long. The target
  /// must be a GPU.
  const std::string& compile_text(const std::string& source);
  CompilerStatistics statistics() const;
  /// Why kernels are not kept between runs though a cache directory was given; empty while they
  /// are. Nothing else is lost.
  std::string cache_problem() const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace espalier::codegen
