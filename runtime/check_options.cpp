#include "runtime/check_options.h"

#include <algorithm>
#include <thread>

#include "base/error.h"
#include "codegen/cpu/host_targets.h"
#include "ir/verify.h"
#include "runtime/cuda/devices.h"
#include "runtime/cuda/executor.h"
#include "runtime/step/params.h"

namespace espalier::runtime {

void exceeds_limit(std::string_view what, std::int64_t bytes, std::int64_t limit, Device device,
                   std::int64_t recorded) {
  const auto size = [](std::int64_t n) {
    const double kib = double(n) / 1024;
    return kib < 1024 ? fmt::format("{:.1f} KiB", kib) : fmt::format("{:.2f} MiB", kib / 1024);
  };
  std::string text =
      fmt::format("the {} {}, but {} takes {}",
                  device == Device::cuda ? "GPU's memory for the engine is" : "memory limit is",
                  size(limit), what, size(bytes));
  if (recorded > 0)
    text += fmt::format(
        ", of which {} are the recorded calls of the whole minibatch: record fewer "
        "examples at once",
        size(recorded));
  throw UserError(text);
}

std::int64_t model_bytes(std::span<const StoredParam> params) {
  std::int64_t bytes = 0;
  for (const StoredParam& param : params) {
    const bool dense_gradient = param.reached && !param.by_rows;
    bytes += (dense_gradient ? 2 : 1) * std::int64_t(sizeof(float)) * std::int64_t(param.size);
  }
  return bytes;
}

codegen::Target target(const EngineOptions& options) {
  if (options.device != Device::cuda) return codegen::host_target(options.target);
  return codegen::cuda_target(options.target.empty() ? cuda_architecture() : options.target);
}

namespace {

/// What no device can do together.
void check_products(const EngineOptions& options) {
  const bool single = options.precision == Precision::single;
  const std::string_view rounded = options.precision == Precision::tf32 ? "tf32" : "bf16";
  user_check(single || options.contractions != Contractions::tile,
             "contractions 'tile' multiplies in single precision: found precision '{}', expected "
             "'single', or contractions 'auto' or 'cublas'",
             rounded);
  user_check(options.persistent != Persistent::on ||
                 (single && options.contractions != Contractions::cublas),
             "contractions of cuBLAS cannot be walked: found persistent 'on' with {}, expected "
             "persistent 'auto' or 'off'",
             single ? "contractions 'cublas'" : fmt::format("precision '{}'", rounded));
}

void check_memory(std::int64_t limit, const ir::Program& program) {
  ir::verify(program);
  const std::int64_t bytes = model_bytes(stored_params(program));
  if (bytes > limit) exceeds_limit("the model with its gradients", bytes, limit, Device::cpu);
}

}  // namespace

EngineOptions checked(EngineOptions options, const ir::Program& program) {
  check_products(options);
  const bool names_cpu = !options.target.empty() && !options.target.starts_with("sm_");
  if (options.device == Device::automatic && names_cpu) options.device = Device::cpu;
  if (options.device != Device::cpu) {
    const std::string why_not = why_no_cuda();
    user_check(why_not.empty() || options.device != Device::cuda,
               "device 'cuda' was asked for, but {}", why_not);
    options.device = why_not.empty() ? Device::cuda : Device::cpu;
  }
  const bool single = options.precision == Precision::single;
  user_check(
      options.device == Device::cuda || (single && options.contractions != Contractions::cublas),
      "cuBLAS was asked for, by contractions 'cublas' or a precision, but the engine runs on a "
      "CPU");
  user_check(options.threads >= 0 && options.threads <= 1024,
             "the number of threads must lie in 0 … 1024, found {}", options.threads);
  if (options.threads == 0) options.threads = std::max(1U, std::thread::hardware_concurrency());
  user_check(options.memory_limit >= 0, "the memory limit must not be negative, found {} bytes",
             options.memory_limit);
  if (options.memory_limit > 0) check_memory(options.memory_limit, program);
  return options;
}

}  // namespace espalier::runtime
