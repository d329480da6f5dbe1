#include "runtime/cuda/peaks.h"

#include <algorithm>

#include "base/error.h"
#include "codegen/compiler.h"
#include "runtime/cuda/contraction_library.h"
#include "runtime/cuda/walk_cost_measurement.h"

namespace espalier::runtime {
namespace {

constexpr int copies = 8;        // in one measurement
constexpr int measurements = 3;  // the shortest one counts
/// Several times as much as the caches of a large GPU hold.
constexpr std::int64_t bytes_each = std::int64_t{8} << 20;

double copy_rate(const CudaDevice& device) {
  const std::int64_t bytes =
      std::min(device.gpu().multiprocessors * bytes_each, device.free_bytes() / 4);
  const auto size = static_cast<std::size_t>(bytes);
  const auto from = device.allocate(size, "measuring copies");
  const auto to = device.allocate(size, "measuring copies");
  const CudaDriver& driver = device.driver();
  driver.check(driver.functions().fill(from.get(), 1, size / 4, device.stream()),
               "cuMemsetD32Async", "measuring copies");
  double best = 0;
  for (int time = 0; time <= measurements; ++time) {  // the first one is a warm-up
    const double seconds = device.seconds(
        [&] {
          for (int i = 0; i < copies; ++i)
            driver.check(
                driver.functions().copy_within(to.get(), from.get(), size, device.stream()),
                "cuMemcpyDtoDAsync", "measuring copies");
        },
        "copies");
    if (time > 0) best = std::max(best, 2.0 * copies * double(bytes) / seconds);
  }
  return best;
}

}  // namespace

DevicePeaks measure_device(const std::filesystem::path& cache_directory) {
  if (const std::string why = why_no_cuda(); !why.empty())
    throw UserError("found no GPU to measure: " + why);
  const CudaDevice device(0);
  DevicePeaks peaks{.gpu = device.gpu(), .costs = {}};
  peaks.copy_bytes_per_second = copy_rate(device);
  peaks.single_flops = contraction_rate(device, Precision::single);
  peaks.tf32_flops = contraction_rate(device, Precision::tf32);
  peaks.bf16_flops = contraction_rate(device, Precision::bf16);
  if (device.gpu().cooperative) {
    codegen::Compiler compiler(codegen::cuda_target(device.gpu().architecture()),
                               {cache_directory});
    peaks.costs = measured_walk_costs(device, compiler, cache_directory);
  }
  return peaks;
}

}  // namespace espalier::runtime
