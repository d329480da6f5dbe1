// Random models written with the functions of frontend/ops.h trace to the programs that the random
// tests of ir, codegen and runtime run.
#include <gtest/gtest.h>

#include "tests/support/random_frontend.h"

namespace espalier::test {
namespace {

TEST(RandomModels, AreTracedAsTheyAreWritten) {
  for (std::uint64_t seed = 0; seed < 1000; ++seed) {
    const Fault fault = try_frontend(seed);
    ASSERT_FALSE(fault) << "seed " << seed << ": " << fault.kind << "\n" << fault.what;
  }
}

}  // namespace
}  // namespace espalier::test
