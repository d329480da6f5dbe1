#include "bench/measure/machine_loops.h"

#include <array>
#include <cmath>

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace espalier::bench {
namespace {

// x · factor + summand tends to 1: neither large nor denormal, however long the loop.
constexpr float factor = 0.75F, summand = 0.25F;

#if defined(__x86_64__)

// Accumulators: at least latency × units (4 × 2), and as many as leave registers for the factors.

__attribute__((target("avx512f"))) float multiply_add_avx512(std::int64_t rounds) {
  constexpr int n = 24;
  const __m512 a = _mm512_set1_ps(factor), b = _mm512_set1_ps(summand);
  __m512 x[n];
#pragma GCC unroll 24
  for (int i = 0; i < n; ++i) x[i] = _mm512_set1_ps(static_cast<float>(i));
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 24
    for (int i = 0; i < n; ++i) x[i] = _mm512_fmadd_ps(x[i], a, b);
  }
  __m512 sum = x[0];
#pragma GCC unroll 24
  for (int i = 1; i < n; ++i) sum = _mm512_add_ps(sum, x[i]);
  return _mm512_cvtss_f32(sum);
}

__attribute__((target("avx512f"))) float read_avx512(const float* from, std::size_t count) {
  __m512 sum[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) sum[i] = _mm512_setzero_ps();
  for (std::size_t at = 0; at < count; at += 8 * 16) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) sum[i] = _mm512_add_ps(sum[i], _mm512_load_ps(from + at + 16 * i));
  }
#pragma GCC unroll 8
  for (int i = 1; i < 8; ++i) sum[0] = _mm512_add_ps(sum[0], sum[i]);
  return _mm512_cvtss_f32(sum[0]);
}

__attribute__((target("avx2,fma"))) float multiply_add_avx2(std::int64_t rounds) {
  constexpr int n = 12;
  const __m256 a = _mm256_set1_ps(factor), b = _mm256_set1_ps(summand);
  __m256 x[n];
#pragma GCC unroll 12
  for (int i = 0; i < n; ++i) x[i] = _mm256_set1_ps(static_cast<float>(i));
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < n; ++i) x[i] = _mm256_fmadd_ps(x[i], a, b);
  }
  __m256 sum = x[0];
#pragma GCC unroll 12
  for (int i = 1; i < n; ++i) sum = _mm256_add_ps(sum, x[i]);
  return _mm256_cvtss_f32(sum);
}

__attribute__((target("avx2,fma"))) float read_avx2(const float* from, std::size_t count) {
  __m256 sum[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) sum[i] = _mm256_setzero_ps();
  for (std::size_t at = 0; at < count; at += 8 * 8) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) sum[i] = _mm256_add_ps(sum[i], _mm256_load_ps(from + at + 8 * i));
  }
#pragma GCC unroll 8
  for (int i = 1; i < 8; ++i) sum[0] = _mm256_add_ps(sum[0], sum[i]);
  return _mm256_cvtss_f32(sum[0]);
}

float multiply_add_sse(std::int64_t rounds) {
  constexpr int n = 12;
  const __m128 a = _mm_set1_ps(factor), b = _mm_set1_ps(summand);
  __m128 x[n];
#pragma GCC unroll 12
  for (int i = 0; i < n; ++i) x[i] = _mm_set1_ps(static_cast<float>(i));
  for (std::int64_t round = 0; round < rounds; ++round) {
#pragma GCC unroll 12
    for (int i = 0; i < n; ++i) x[i] = _mm_add_ps(_mm_mul_ps(x[i], a), b);
  }
  __m128 sum = x[0];
#pragma GCC unroll 12
  for (int i = 1; i < n; ++i) sum = _mm_add_ps(sum, x[i]);
  return _mm_cvtss_f32(sum);
}

float read_sse(const float* from, std::size_t count) {
  __m128 sum[8];
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) sum[i] = _mm_setzero_ps();
  for (std::size_t at = 0; at < count; at += 8 * 4) {
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) sum[i] = _mm_add_ps(sum[i], _mm_load_ps(from + at + 4 * i));
  }
#pragma GCC unroll 8
  for (int i = 1; i < 8; ++i) sum[0] = _mm_add_ps(sum[0], sum[i]);
  return _mm_cvtss_f32(sum[0]);
}

#else

// Elsewhere what the compiler makes of plain loops.
constexpr int lanes = 64;

float multiply_add_plain(std::int64_t rounds) {
  std::array<float, lanes> x{};
  for (std::int64_t round = 0; round < rounds; ++round)
    for (float& value : x) value = std::fma(value, factor, summand);
  float sum = 0;
  for (const float value : x) sum += value;
  return sum;
}

float read_plain(const float* from, std::size_t count) {
  std::array<float, lanes> sum{};
  for (std::size_t at = 0; at < count; at += lanes)
    for (int i = 0; i < lanes; ++i) sum[i] += from[at + i];
  float total = 0;
  for (const float value : sum) total += value;
  return total;
}

#endif

}  // namespace

Loops host_loops() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f"))
    return {"avx512", 2 * 24 * 16, multiply_add_avx512, read_avx512};
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))
    return {"avx2", 2 * 12 * 8, multiply_add_avx2, read_avx2};
  return {"sse", 2 * 12 * 4, multiply_add_sse, read_sse};
#else
  return {"scalar", 2 * lanes, multiply_add_plain, read_plain};
#endif
}

}  // namespace espalier::bench
