#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <iostream>
#include <memory>
#include <nlohmann/json.hpp>

#include "app/commands.h"
#include "app/flags.h"
#include "app/run_report.h"
#include "base/disk_cache.h"
#include "codegen/compiler.h"
#include "runtime/cuda/peaks.h"

namespace espalier::app {
namespace {

using nlohmann::ordered_json;
using runtime::DevicePeaks;

ordered_json to_json(const DevicePeaks& peaks) {
  const auto rate = [](double found) { return found > 0 ? ordered_json(found) : ordered_json(); };
  ordered_json json = {{"gpu", peaks.gpu.name},
                       {"architecture", peaks.gpu.architecture()},
                       {"multiprocessors", peaks.gpu.multiprocessors},
                       {"memory_bytes", peaks.gpu.bytes},
                       {"copy_bytes_per_second", rate(peaks.copy_bytes_per_second)},
                       {"peak_flops_per_second",
                        {{"single", rate(peaks.single_flops)},
                         {"tf32", rate(peaks.tf32_flops)},
                         {"bf16", rate(peaks.bf16_flops)}}},
                       {"costs", nullptr}};
  if (peaks.costs)
    for (const auto& [name, value] : named(*peaks.costs)) json["costs"][name] = value;
  return json;
}

std::string to_text(const DevicePeaks& peaks) {
  std::string text =
      fmt::format("{:<16}{}, {}, {} multiprocessors\n{:<16}{:.4g} GB/s read and written\n", "gpu",
                  peaks.gpu.name, peaks.gpu.architecture(), peaks.gpu.multiprocessors, "copies",
                  peaks.copy_bytes_per_second * 1e-9);
  if (peaks.single_flops > 0)
    text +=
        fmt::format("{:<16}{:.4g} TFLOP/s single, {:.4g} tf32, {:.4g} bf16\n", "products",
                    peaks.single_flops * 1e-12, peaks.tf32_flops * 1e-12, peaks.bf16_flops * 1e-12);
  else
    text += fmt::format("{:<16}not measured: found no cuBLAS\n", "products");
  if (!peaks.costs) return text + fmt::format("{:<16}not measured: nothing can walk\n", "costs");
  text += fmt::format("{:<16}", "costs");
  for (const auto& [name, value] : named(*peaks.costs))
    text += fmt::format("{} {:.3g}  ", name, value);
  text.resize(text.size() - 2);
  return text + '\n';
}

}  // namespace

Command add_bench_device_command(CLI::App& bench) {
  CLI::App* parser =
      bench.add_subcommand("device", "What the GPU can do at most, and what launching on it costs");
  const auto json = std::make_shared<std::string>();
  add_json_flag(*parser, *json);
  return {parser, [json] {
            check_writable(*json);
            const DevicePeaks peaks = runtime::measure_device(default_cache_directory());
            if (*json != "-") std::cout << to_text(peaks) << std::flush;
            if (!json->empty()) write_json(*json, to_json(peaks));
            return kDone;
          }};
}

}  // namespace espalier::app
