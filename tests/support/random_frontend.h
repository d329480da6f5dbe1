// The frontend form of random models: the same bodies, written with the functions of frontend/ops.h
// in the lambdas of a Model's cells. What is traced must be the program.
#pragma once

#include <cstdint>

#include "tests/support/fault.h"

namespace espalier::test {

/// Traces random_model(seed) and compares, cell by cell.
Fault try_frontend(std::uint64_t seed);

}  // namespace espalier::test
