// Contraction stages: tiles of every height, gates, terms, gathered rows, epilogues.
#include <gtest/gtest.h>

#include "codegen/cpu/host_targets.h"
#include "tests/codegen/sample_kernels.h"

namespace espalier::codegen {
namespace {

void check_contraction(const ContractionSample& shape) {
  check({.kernel = [&](const Target& target) { return contraction_kernel(target, shape); },
         .memory = [&](const Kernel& kernel) { return contraction_memory(kernel, shape); },
         .rows = shape.rows,
         .child_rows = shape.rows});
}

TEST(Contraction, EveryNumberOfRows) {
  for (std::int64_t rows = 0; rows <= 20; ++rows)
    check_contraction({.n = 40, .k = 7, .gates = 1, .rows = rows});
}

TEST(Contraction, EveryNumberOfGates) {
  for (int gates = 1; gates <= 5; ++gates)
    for (std::int64_t n : {5, 16, 50})
      check_contraction({.n = n, .k = 20, .gates = gates, .rows = 13});
}

TEST(Contraction, AsManyGatesAsATileHolds) {
  for (const Target& target : host_targets()) EXPECT_GE(max_gates(target), 5) << target.name;
  check_contraction({.n = 20, .k = 9, .gates = 7, .rows = 5});
}

TEST(Contraction, EveryLengthOfAGate) {
  for (std::int64_t n = 1; n <= 40; ++n)
    check_contraction({.n = n, .k = 3, .gates = 1 + static_cast<int>(n % 3), .rows = 4});
}

TEST(Contraction, EveryDepth) {
  for (std::int64_t k : {1, 2, 3, 4, 5, 8, 63, 64, 65, 300})
    check_contraction({.n = 33, .k = k, .gates = 2, .rows = 9});
}

TEST(Contraction, SeveralTermsInOneSum) {
  for (int terms = 1; terms <= 4; ++terms)
    for (bool gathered : {false, true})
      check_contraction(
          {.n = 21, .k = 31, .gates = 2, .terms = terms, .rows = 17, .gathered = gathered});
}

TEST(Contraction, OverChildRows) {
  check_contraction({.n = 21, .k = 31, .terms = 2, .rows = 23, .gathered = true, .children = true});
}

TEST(Contraction, OfTheSizeOfATreeLstm) {
  check_contraction({.n = 150, .k = 300, .gates = 5, .terms = 2, .rows = 26, .gathered = true});
}

TEST(Contraction, WideTilesAreOneOrderOverK) {
  // With one gate, tiles take several vectors; columns are summed alike in all of them.
  for (std::int64_t n : {64, 80, 96, 128, 150}) check_contraction({.n = n, .k = 37, .rows = 15});
}

TEST(Tiles, FitTheRegisters) {
  for (const Target& target : host_targets())
    for (int gates = 1; gates <= max_gates(target); ++gates)
      for (long n : {1, 5, 16, 150, 1280}) {
        const TileShape tile = tile_shape(target, gates, n);
        const int vectors = gates * tile.vectors;
        EXPECT_GE(tile.rows, 1);
        EXPECT_LE(tile.rows * vectors + vectors + 1, target.registers)
            << target.name << ", " << gates << " gates of " << n;
        EXPECT_LE((tile.vectors - 1) * target.width, n) << "a vector of no use";
      }
}

}  // namespace
}  // namespace espalier::codegen
