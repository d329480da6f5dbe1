// Properties that hold for every program: the passes keep values and invariants, gradients are
// right, the text reads back.
#include "tests/support/random_programs.h"

#include <gtest/gtest.h>

#include <set>

#include "ir/op.h"
#include "ir/passes/fuse_contractions.h"
#include "ir/passes/simplify.h"
#include "ir/text/parse.h"
#include "ir/text/print.h"
#include "ir/verify.h"
#include "tests/support/cells.h"

namespace espalier::ir {
namespace {

using namespace espalier::test;

constexpr int seeds_per_test = 10;

class RandomProgram : public testing::TestWithParam<int> {
 protected:
  /// Runs `check` on the programs of this test's seeds, up to the first failure.
  template <class Check>
  void for_each_program(Check&& check, RandomProgramOptions options = {}) {
    for (int i = 0; i < seeds_per_test; ++i) {
      const std::uint64_t seed = GetParam() * seeds_per_test + i;
      SCOPED_TRACE(testing::Message() << "seed " << seed);
      check(random_program(seed, options));
      if (HasFailure()) return;
    }
  }

  /// The second cell holds, and both give the same outputs.
  void expect_equal_values(const Program& program, const Cell& a, const Cell& b) {
    SCOPED_TRACE(print(a, program));
    SCOPED_TRACE(print(b, program));
    ASSERT_NO_THROW(verify(b, program));
    for (int children : {0, 1, 3}) {
      const CellInputs inputs = random_inputs(program, a, random_, random_index_bound, children);
      const auto x = outputs(a, inputs), y = outputs(b, inputs);
      ASSERT_EQ(x.size(), y.size());
      for (std::size_t field = 0; field < x.size(); ++field) {
        ASSERT_EQ(x[field].size(), y[field].size());
        for (std::size_t i = 0; i < x[field].size(); ++i)
          ASSERT_NEAR(x[field][i], y[field][i], 1e-11);
      }
    }
  }

  Random random_{std::uint64_t(GetParam()) + 1000};
};

INSTANTIATE_TEST_SUITE_P(Seeds, RandomProgram, testing::Range(0, 4));

TEST_P(RandomProgram, Holds) {
  for_each_program(
      [](const Program& program) { EXPECT_NO_THROW(verify(program)) << print(program); });
}

TEST_P(RandomProgram, ReadsBackFromItsText) {
  for_each_program([](const Program& program) {
    const std::string text = print(program);
    const Program again = parse(text);
    EXPECT_EQ(print(again), text);
    EXPECT_TRUE(again == program) << text;
  });
}

TEST_P(RandomProgram, SimplifyKeepsValues) {
  for_each_program([&](const Program& program) {
    for (const Cell& cell : program.cells) expect_equal_values(program, cell, simplify(cell));
  });
}

TEST_P(RandomProgram, SimplifyIsIdempotent) {
  for_each_program([](const Program& program) {
    for (const Cell& cell : program.cells) {
      const Cell once = simplify(cell);
      EXPECT_TRUE(simplify(once) == once) << print(once, program);
    }
  });
}

TEST_P(RandomProgram, FuseContractionsKeepsValues) {
  for_each_program([&](const Program& program) {
    for (const Cell& cell : program.cells) {
      const Cell fused = fuse_contractions(cell);
      expect_equal_values(program, cell, fused);
      expect_equal_values(program, cell, simplify(fused));
    }
  });
}

TEST_P(RandomProgram, GradientsAreCentralDifferences) {
  const auto check = [&](const Program& program) {
    for (const Cell& cell : program.cells)
      for (int children : {0, 2}) {
        const CellInputs inputs =
            random_inputs(program, cell, random_, random_index_bound, children);
        const Cell variant = children ? fuse_contractions(cell) : cell;
        check_gradients(program, variant, inputs, random_, 0.5);
        if (HasFailure()) return;
      }
  };
  for_each_program(check, {.withheld_gradients = false});
}

TEST(RandomPrograms, TheSameSeedGivesTheSameProgram) {
  EXPECT_TRUE(random_program(7) == random_program(7));
  EXPECT_FALSE(random_program(7) == random_program(8));
}

TEST(RandomPrograms, UseEveryOp) {
  std::set<std::string_view> used;
  for (int seed = 0; seed < 100; ++seed) {
    const Program program = random_program(std::uint64_t(seed));
    for (const Cell& cell : program.cells)
      for (const Node& node : cell.graph.nodes()) used.insert(node.op->name);
  }
  for (const Op& op : ops())
    EXPECT_TRUE(used.contains(op.name) || op.kind == OpClass::leaf || op.kind == OpClass::composite)
        << op.name;
}

}  // namespace
}  // namespace espalier::ir
