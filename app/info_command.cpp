#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <string>
#include <thread>

#include "app/build_info.h"
#include "app/commands.h"
#include "base/disk_cache.h"
#include "codegen/compiler.h"
#include "codegen/cpu/host_targets.h"
#include "codegen/kernel/target.h"
#include "data/formats.h"
#include "ir/op.h"
#include "models/models.h"
#include "runtime/cuda/devices.h"
#include "scheduler/strategy.h"
#include "training/optimizer.h"
#include "training/update_rule.h"

namespace espalier::app {
namespace {

std::string bytes_text(double bytes) {
  constexpr const char* kUnits[] = {"B", "KiB", "MiB", "GiB"};
  int unit = 0;
  for (; bytes >= 1024 && unit < 3; ++unit) bytes /= 1024;
  return fmt::format("{:.{}f} {}", bytes, unit == 0 ? 0 : 1, kUnits[unit]);
}

/// The kernel cache: where it lies, and how much is in it. Another process may change it meanwhile.
std::string cache_text() {
  const std::filesystem::path folder = default_cache_directory();
  if (folder.empty()) return "none (neither XDG_CACHE_HOME nor HOME is set)";
  DiskCache cache(folder);
  const DiskCache::Usage usage = cache.usage();
  if (!cache.problem().empty()) return "not used: " + cache.problem();
  return fmt::format("{} ({} {}, {})", folder.string(), usage.files,
                     usage.files == 1 ? "file" : "files",
                     bytes_text(static_cast<double>(usage.bytes)));
}

template <class Table>
void print_table(std::string_view title, const Table& table) {
  std::cout << title << '\n';
  for (const auto& row : table) std::cout << fmt::format("  {:<20} {}\n", row.name, row.summary);
}

/// What of CUDA this machine has.
template <class Line>
void print_cuda(const Line& line) {
  const runtime::CudaReport cuda = runtime::find_cuda();
  line("  driver", cuda.driver);
  for (const runtime::CudaGpu& gpu : cuda.gpus)
    line("  gpu", fmt::format("{}, {}, {}, {} multiprocessors", gpu.name,
                              bytes_text(static_cast<double>(gpu.bytes)), gpu.architecture(),
                              gpu.multiprocessors));
  line("  nvrtc", cuda.nvrtc);
  line("  cublas", cuda.cublas);
}

int print_info() {
  const BuildInfo build = build_info();
  const auto line = [](std::string_view name, const std::string& text) {
    std::cout << fmt::format("{:<12}{}\n", name, text);
  };
  line("espalier", std::string(build.version));
  line("build", fmt::format("{}, {}{}{}{}", build.type, build.compiler,
                            build.sanitizers.empty() ? "" : ", sanitizers ", build.sanitizers,
                            build.verify ? ", with internal checks" : ""));
  line("llvm", std::string(build.llvm));
  line("cuda", build.cuda.empty() ? std::string("built without the toolkit")
                                  : fmt::format("toolkit {} at build time", build.cuda));
  if (!build.cuda.empty()) print_cuda(line);
  std::string targets;
  for (const codegen::Target& target : codegen::host_targets())
    targets += fmt::format("{}{} ({} floats, {} registers)", targets.empty() ? "" : ", ",
                           target.name, target.width, target.registers);
  line("cpu", codegen::host_targets().front().cpu);
  line("targets", targets);
  line("threads", std::to_string(std::max(1U, std::thread::hardware_concurrency())));
  line("cache", cache_text());
  line("ops", std::to_string(ir::ops().size()));
  std::cout << "data\n";
  for (const data::Format& format : data::formats())
    std::cout << fmt::format("  {:<20} {}\n", format.form(), format.summary);
  print_table("models", models::models());
  print_table("strategies", scheduler::strategies());
  print_table("optimizers", optimizers());
  std::cout << std::flush;
  return kDone;
}

}  // namespace

Command add_info_command(CLI::App& parent) {
  CLI::App* parser =
      parent.add_subcommand("info", "Shows this build, this machine, and what can be named");
  return {parser, print_info};
}

}  // namespace espalier::app
