// Denormal floats (below 1.2e-38) count as 0 while kernels run: a CPU takes a hundred times as long
// for each, and saturated gates produce many. Set on every thread that runs launches, so that
// results do not depend on the number of threads.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace espalier {

/// Flushes denormal operands and results until it goes out of scope.
class FlushDenormals {
 public:
#if defined(__x86_64__)
  FlushDenormals() : before_(_mm_getcsr()) { _mm_setcsr(before_ | 0x8040); }  // FTZ and DAZ
  ~FlushDenormals() { _mm_setcsr(before_); }
#elif defined(__aarch64__)
  FlushDenormals() : before_(control()) { set_control(before_ | 1UL << 24); }  // FZ
  ~FlushDenormals() { set_control(before_); }
#endif
  FlushDenormals(const FlushDenormals&) = delete;
  FlushDenormals& operator=(const FlushDenormals&) = delete;

 private:
#if defined(__x86_64__)
  unsigned before_;
#elif defined(__aarch64__)
  static unsigned long control() {
    unsigned long value;
    asm volatile("mrs %0, fpcr" : "=r"(value));
    return value;
  }
  static void set_control(unsigned long value) { asm volatile("msr fpcr, %0" : : "r"(value)); }
  unsigned long before_;
#endif
};

}  // namespace espalier
