// The stated bound of exp, log and tanh, over the whole range of floats and at every width, against
// double precision.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <limits>

#include "codegen/cpu/host_targets.h"
#include "tests/codegen/kernel_runner.h"

namespace espalier::codegen {
namespace {

constexpr double stated_bound = 4;
constexpr float infinity = std::numeric_limits<float>::infinity();

Kernel function_kernel(ir::Opcode opcode, std::int64_t n) {
  Kernel kernel;
  kernel.name = "function";
  KernelBuilder b(kernel);
  const BufferId x = b.buffer({.role = BufferRole::scratch, .a = 0, .row_elements = n});
  const BufferId y = b.buffer({.role = BufferRole::scratch, .a = 1, .row_elements = n});
  Stage stage = instance_stage(b, {n});
  const ExprId at = element(b, stage);
  const int operand = b.load(x, at);
  stage.stores = {{y, at, b.emit(opcode, {&operand, 1}, 0)}};
  kernel.stages = {stage};
  return kernel;
}

double exact(ir::Opcode opcode, double x) {
  if (opcode == ir::Opcode::exp) return std::exp(x);
  return opcode == ir::Opcode::log ? std::log(x) : std::tanh(x);
}

/// Distance from a result in double precision in units of the last place of the float nearest to
/// it; results that a float cannot hold round to infinity or denormals first.
double error_in_ulp(float got, double wanted) {
  const auto nearest = static_cast<float>(wanted);
  if (std::isnan(nearest) || std::isinf(nearest) || std::isnan(got) || std::isinf(got))
    return ulp_distance(got, nearest);
  const float magnitude = std::fabs(nearest);
  const float next = std::nextafter(magnitude, infinity);
  const double unit = std::isinf(next) ? 0x1p104 : double(next) - magnitude;
  return std::fabs(got - wanted) / unit;
}

std::vector<float> apply(const Target& target, ir::Opcode opcode, std::span<const float> x,
                         std::int64_t n) {
  const auto rows = static_cast<std::int64_t>(x.size()) / n;
  Memory memory;
  memory.add_floats(x);
  memory.add_floats(x);
  run(compiler(target).compile(function_kernel(opcode, n)), memory, rows, 0);
  const auto y = memory.floats(1);
  return {y.begin(), y.end()};
}

/// Every 509th float from -∞ to ∞, and the neighbourhood of where the functions change.
std::vector<float> arguments() {
  std::vector<float> x;
  for (std::uint64_t bits = 0; bits <= 0xffffffff; bits += 509)
    x.push_back(std::bit_cast<float>(static_cast<std::uint32_t>(bits)));
  for (float centre : {0.0F, 1.0F, 0.70710678F, 1.41421356F, 88.72283F, -87.33654F, -103.97208F,
                       -103.27893F, 9.010913F, 0.34657359F, 0x1p-126F, infinity}) {
    const auto bits = std::bit_cast<std::uint32_t>(centre);
    for (int i = -2000; i <= 2000; ++i) {
      x.push_back(std::bit_cast<float>(bits + static_cast<std::uint32_t>(i)));
      x.push_back(-x.back());
    }
  }
  x.resize(x.size() / 64 * 64);
  return x;
}

class Functions : public testing::TestWithParam<ir::Opcode> {};

TEST_P(Functions, KeepTheirBoundOverAllFloats) {
  const std::vector<float> x = arguments();
  for (const Target& target : host_targets()) {
    const std::vector<float> y = apply(target, GetParam(), x, 64);
    double worst = 0;
    float worst_at = 0;
    for (std::size_t i = 0; i < x.size(); ++i) {
      const double error = error_in_ulp(y[i], exact(GetParam(), x[i]));
      if (error > worst) {
        worst = error;
        worst_at = x[i];
      }
    }
    std::printf("%-9s %zu floats, at most %.3f ulp, at %a\n", target.name.c_str(), x.size(), worst,
                worst_at);
    EXPECT_LE(worst, stated_bound) << target.name << " at " << worst_at;
  }
}

TEST_P(Functions, GiveTheSameBitsAtEveryWidth) {
  std::vector<float> x = arguments();
  x.resize(x.size() / 64 * 64 / 2048);
  for (const Target& target : host_targets())
    for (std::int64_t n : {1, 2, 3, 8, 17}) {
      x.resize(x.size() / n * n);
      const std::vector<float> scalars = apply(target, GetParam(), x, 1);
      const std::vector<float> vectors = apply(target, GetParam(), x, n);
      for (std::size_t i = 0; i < x.size(); ++i)
        ASSERT_TRUE(std::isnan(vectors[i]) || std::bit_cast<std::uint32_t>(vectors[i]) ==
                                                  std::bit_cast<std::uint32_t>(scalars[i]))
            << target.name << ", " << n << " at " << x[i];
    }
}

TEST_P(Functions, AreRightAtTheEnds) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> x{0.0F, -0.0F, infinity, -infinity, nan, -1.0F, 1.0F, 100.0F};
  for (const Target& target : host_targets()) {
    const std::vector<float> y = apply(target, GetParam(), x, 8);
    for (std::size_t i = 0; i < x.size(); ++i) {
      const auto wanted = static_cast<float>(exact(GetParam(), x[i]));
      EXPECT_EQ(std::isnan(y[i]), std::isnan(wanted)) << target.name << " at " << x[i];
      if (std::isnan(wanted)) continue;
      EXPECT_LE(ulp_distance(y[i], wanted), stated_bound) << target.name << " at " << x[i];
      EXPECT_TRUE(wanted != 0 || std::signbit(y[i]) == std::signbit(wanted) ||
                  GetParam() == ir::Opcode::log)
          << target.name << " at " << x[i];
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Math, Functions,
                         testing::Values(ir::Opcode::exp, ir::Opcode::log, ir::Opcode::tanh),
                         [](const auto& info) -> std::string {
                           if (info.param == ir::Opcode::exp) return "Exp";
                           return info.param == ir::Opcode::log ? "Log" : "Tanh";
                         });

}  // namespace
}  // namespace espalier::codegen
