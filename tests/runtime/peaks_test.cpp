// The measured peak rates of a GPU: that all are there and consistent, not their values. Runs on
// the same GPU as cuda_engine_test.cpp.
#include "runtime/cuda/peaks.h"

#include <gtest/gtest.h>

#include "base/disk_cache.h"
#include "base/error.h"
#include "codegen/compiler.h"
#include "tests/runtime/cuda_runs.h"

namespace espalier::test {
namespace {

TEST(DevicePeaks, AreAllMeasured) {
  if (const std::string why = runtime::why_no_cuda(); !why.empty()) GTEST_SKIP() << why;
  const std::string folder = default_cache_directory();
  const runtime::DevicePeaks peaks = runtime::measure_device(folder);
  EXPECT_EQ(peaks.gpu.name, runtime::find_cuda().gpus.at(0).name);
  EXPECT_GT(peaks.copy_bytes_per_second, 0);
  const bool has_cublas = runtime::find_cuda().cublas.find(" (lib") != std::string::npos;
  for (const double flops : {peaks.single_flops, peaks.tf32_flops, peaks.bf16_flops})
    EXPECT_EQ(flops > 0, has_cublas);
  ASSERT_EQ(peaks.costs.has_value(), peaks.gpu.cooperative);
  if (!peaks.costs) return;
  EXPECT_EQ(named(*peaks.costs).size(), 11U);
  for (const auto& [name, value] : named(*peaks.costs)) EXPECT_GT(value, 0) << name;
  // A second measurement finds them in the cache.
  EXPECT_EQ(runtime::measure_device(folder).costs, peaks.costs);
}

TEST(DevicePeaks, NeedAGpu) {
  if (runtime::why_no_cuda().empty() && !on_stand_in()) GTEST_SKIP() << "there is a GPU";
  const Variable none("CUDA_VISIBLE_DEVICES", "-1");
  EXPECT_THROW(runtime::measure_device({}), UserError);
}

}  // namespace
}  // namespace espalier::test
