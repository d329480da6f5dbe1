#include <algorithm>

#include "base/random.h"
#include "codegen/kernel/kernel.h"
#include "runtime/cuda/contraction_library.h"
#include "runtime/cuda/cublas.h"

namespace espalier::runtime {
namespace {

constexpr int repetitions = 4;   // of the contraction in one measurement
constexpr int measurements = 3;  // the shortest one counts
constexpr std::int64_t most_distinct = std::int64_t{1} << 18;  // elements of a factor
constexpr const char* purpose = "measuring contractions";      // in errors

/// Rows and columns of each matrix: thousands on a large GPU.
std::int64_t side(const CudaGpu& gpu) {
  return std::clamp<std::int64_t>(64 * gpu.multiprocessors / 128 * 128, 128, 8192);
}

/// A factor of random numbers, since zeros would be multiplied faster. A large one repeats them.
CudaOwner<CUdeviceptr> random_factor(const CudaDevice& device, std::int64_t elements, bool bf16,
                                     std::uint64_t seed) {
  const std::size_t element_bytes = bf16 ? 2 : 4, bytes = std::size_t(elements) * element_bytes;
  auto factor = device.allocate(bytes, purpose);
  std::vector<float> numbers(std::size_t(std::min(elements, most_distinct)));
  std::vector<std::uint16_t> rounded;
  const std::uint64_t key = splitmix(seed, 0);
  for (std::size_t i = 0; i < numbers.size(); ++i) {
    numbers[i] = float(2 * uniform_real(key, i) - 1);
    rounded.push_back(codegen::to_bf16(numbers[i]));
  }
  const void* const from = bf16 ? static_cast<const void*>(rounded.data()) : numbers.data();
  const CudaDriver& driver = device.driver();
  std::size_t there = numbers.size() * element_bytes;
  driver.check(driver.functions().copy_up(factor.get(), from, there, device.stream()),
               "cuMemcpyHtoDAsync", purpose);
  for (std::size_t more = 0; there < bytes; there += more) {
    more = std::min(there, bytes - there);
    driver.check(
        driver.functions().copy_within(factor.get() + there, factor.get(), more, device.stream()),
        "cuMemcpyDtoDAsync", purpose);
  }
  device.wait(purpose);  // `numbers` must live until the copy is done
  return factor;
}

}  // namespace

double contraction_rate(const CudaDevice& device, Precision precision) {
  if (!has_cublas()) return 0;
  Cublas blas(device, precision);
  const std::int64_t n = side(device.gpu());
  const bool bf16 = precision == Precision::bf16;
  const codegen::LibraryContraction contraction{
      .bf16 = bf16, .m = n, .k = n, .a_pitch = n, .b_pitch = n, .out_pitch = n};
  const auto found = blas.candidates(contraction, n, 1);
  if (found.empty()) return 0;
  blas.fix(contraction, found[0]);
  const auto a = random_factor(device, n * n, bf16, 1), b = random_factor(device, n * n, bf16, 2);
  const auto out = device.allocate(std::size_t(n * n) * sizeof(float), purpose);
  const auto pointer = [](const CudaOwner<CUdeviceptr>& memory) {
    return reinterpret_cast<void*>(memory.get());
  };
  const ContractionLibrary::Call* const call =
      blas.call(contraction, pointer(a), pointer(b), pointer(out), n);
  const double flops = repetitions * 2.0 * double(n) * double(n) * double(n);
  double best = 0;
  for (int time = 0; time <= measurements; ++time) {  // the first one is a warm-up
    const double seconds = device.seconds(
        [&] {
          for (int i = 0; i < repetitions; ++i) blas.run(*call);
        },
        "contractions");
    if (time > 0) best = std::max(best, flops / seconds);
  }
  return best;
}

}  // namespace espalier::runtime
