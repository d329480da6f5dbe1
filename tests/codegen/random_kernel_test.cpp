// Random expressions in random loop nests: whatever the emitter hoists, shares, masks or gathers,
// the bits are those of the interpreter.
#include <gtest/gtest.h>

#include "tests/codegen/sample_kernels.h"

namespace espalier::codegen {
namespace {

TEST(RandomKernels, GiveTheBitsOfTheInterpreter) {
  for (unsigned seed = 0; seed < 120; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const Kernel kernel = random_kernel(seed);
    check({.kernel = [&](const Target&) { return kernel; },
           .memory = [&](const Kernel&) { return random_kernel_memory(seed); },
           .rows = random_kernel_rows});
    if (testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace espalier::codegen
