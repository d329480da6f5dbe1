// Before which launches of a walk there are barriers, and which weights blocks hold, on small
// kernels made for this test.
#include "runtime/cuda/walk_plan.h"

#include <gtest/gtest.h>

#include <deque>

#include "codegen/cuda/emit.h"

namespace espalier::runtime {
namespace {

using codegen::BufferId;
using codegen::BufferRole;
using codegen::CompiledKernel;
using codegen::ExprId;
using codegen::Kernel;
using codegen::KernelBuilder;
using codegen::RowDomain;
using codegen::Stage;
using codegen::WalkRecord;

constexpr std::int64_t n = 16;

CompiledKernel compiled(Kernel kernel) {
  CompiledKernel result;
  result.kernel = std::move(kernel);
  result.cuda_stages = codegen::print_cuda_stages(result.kernel, "").stages;
  return result;
}

Stage stage_over(KernelBuilder& b, RowDomain rows, std::vector<std::int64_t> extents) {
  Stage stage;
  stage.rows = rows;
  if (rows != RowDomain::once) stage.row = b.variable();
  stage.extents = std::move(extents);
  for (std::size_t i = 0; i < stage.extents.size(); ++i) stage.variables.push_back(b.variable());
  return stage;
}

/// own[row] = state[values[row]], like a cell that reads the state of a child.
CompiledKernel gathering() {
  Kernel kernel;
  kernel.name = "gathering";
  KernelBuilder b(kernel);
  const auto own = b.buffer({.role = BufferRole::own_field, .row_elements = n});
  const auto state = b.buffer({.role = BufferRole::state_field, .row_elements = n});
  const auto values = b.buffer({.role = BufferRole::port_values});
  Stage stage = stage_over(b, RowDomain::instances, {n});
  const ExprId row = b.var(stage.row), j = b.var(stage.variables[0]);
  const ExprId from = b.add(b.multiply(b.load_index(values, row), n), j);
  stage.stores = {{own, b.add(b.multiply(row, n), j), b.load(state, from)}};
  kernel.stages = {stage};
  return compiled(std::move(kernel));
}

/// own[row] = residual[row], element by element.
CompiledKernel row_by_row() {
  Kernel kernel;
  kernel.name = "row_by_row";
  KernelBuilder b(kernel);
  const auto own = b.buffer({.role = BufferRole::own_field, .row_elements = n});
  const auto from = b.buffer({.role = BufferRole::residual, .row_elements = n});
  Stage stage = stage_over(b, RowDomain::instances, {n});
  const ExprId at = b.add(b.multiply(b.var(stage.row), n), b.var(stage.variables[0]));
  stage.stores = {{own, at, b.load(from, at)}};
  kernel.stages = {stage};
  return compiled(std::move(kernel));
}

/// gradient[begin + i] = contribution[0], i < n
CompiledKernel weight_gradient(std::int64_t begin) {
  Kernel kernel;
  kernel.name = "weight_gradient";
  KernelBuilder b(kernel);
  const auto to = b.buffer({.role = BufferRole::param_gradient, .row_elements = 4 * n});
  const auto from = b.buffer({.role = BufferRole::contribution, .row_elements = n});
  Stage stage = stage_over(b, RowDomain::once, {n});
  stage.stores = {
      {to, b.add(b.var(stage.variables[0]), b.integer(begin)), b.load(from, b.integer(0))}};
  kernel.stages = {stage};
  return compiled(std::move(kernel));
}

/// y[row] = W · x[row]
CompiledKernel contraction(std::int64_t length, std::int64_t depth) {
  Kernel kernel;
  kernel.name = "contraction";
  KernelBuilder b(kernel);
  const auto x = b.buffer({.role = BufferRole::residual, .a = 0, .row_elements = depth});
  const auto y = b.buffer({.role = BufferRole::residual, .a = 1, .row_elements = length});
  kernel.packings = {{.m = length, .k = depth, .gates = 1, .lanes = 8, .blocks = {}}};
  const auto weights =
      b.buffer({.role = BufferRole::packed, .row_elements = kernel.packings[0].elements()});
  Stage stage = stage_over(b, RowDomain::instances, {length});
  stage.contraction = {.weights = weights,
                       .packing = 0,
                       .terms = {{x, b.multiply(b.var(stage.row), depth), 0, depth}}};
  stage.stores = {{y, b.add(b.multiply(b.var(stage.row), length), b.var(stage.variables[0])),
                   b.accumulator(0)}};
  kernel.stages = {stage};
  return compiled(std::move(kernel));
}

/// Makes launches on a memory of four allocations; row r of an allocation begins at element n · r.
class Memory {
 public:
  Memory() {
    for (const char* name : {"a", "b", "c", "d"}) {
      allocations_[next_] = bytes;
      names_[name[0]] = next_;
      next_ += 2 * bytes;
    }
  }
  const Allocations& allocations() const { return allocations_; }
  /// Row `row` of an allocation; '-' is an address outside of all allocations.
  void* at(char name, std::int64_t row = 0) const {
    if (name == '-') return reinterpret_cast<void*>(std::uintptr_t{64});
    return reinterpret_cast<void*>(names_.at(name) + std::uintptr_t(row * n) * sizeof(float));
  }
  PendingLaunch launch(const CompiledKernel& kernel, std::vector<void*> pointers,
                       std::int64_t begin = 0, std::int64_t end = 1) {
    pointers_.push_back(std::move(pointers));
    return {.kernel = &kernel,
            .pointers = pointers_.back().data(),
            .row_begin = begin,
            .row_end = end,
            .cell_begin = begin,
            .cell_end = end};
  }
  /// The barriers as a text: an x for each launch, with a | before it if it needs a barrier.
  std::string barriers(const std::vector<PendingLaunch>& launches) {
    StageUses uses;
    Conflicts conflicts(allocations_, uses);
    std::string text;
    for (const PendingLaunch& launch : launches)
      text += conflicts.barrier_before(launch) ? "|x" : "x";
    return text;
  }

 private:
  static constexpr std::size_t bytes = 1 << 16;
  Allocations allocations_;
  std::map<char, std::uintptr_t> names_;
  std::uintptr_t next_ = 1 << 20;
  std::deque<std::vector<void*>> pointers_;
};

TEST(WalkConflicts, OfRowsOfOneArena) {
  Memory memory;
  const CompiledKernel kernel = row_by_row();
  const auto rows = [&](char to, char from, std::int64_t begin, std::int64_t end) {
    return memory.launch(kernel, {memory.at(to), memory.at(from)}, begin, end);
  };
  // Different rows of one arena do not conflict, whether they are read or written.
  EXPECT_EQ(memory.barriers({rows('a', 'b', 0, 4), rows('a', 'b', 4, 8)}), "xx");
  EXPECT_EQ(memory.barriers({rows('a', 'b', 0, 4), rows('b', 'a', 4, 8)}), "xx");
  EXPECT_EQ(memory.barriers({rows('a', 'b', 0, 4), rows('c', 'b', 0, 4)}), "xx");  // both read
  EXPECT_EQ(memory.barriers({rows('a', 'b', 0, 4), rows('c', 'a', 3, 8)}), "x|x");
  EXPECT_EQ(memory.barriers({rows('a', 'b', 0, 4), rows('b', 'c', 3, 8)}), "x|x");
  EXPECT_EQ(memory.barriers({rows('a', 'b', 0, 4), rows('a', 'c', 3, 8)}), "x|x");
  // A barrier resolves the conflicts with launches before it, and only those.
  EXPECT_EQ(memory.barriers({rows('a', 'b', 0, 4), rows('c', 'a', 0, 3), rows('d', 'a', 0, 2)}),
            "x|xx");
  EXPECT_EQ(memory.barriers({rows('a', 'b', 0, 4), rows('c', 'a', 0, 3), rows('d', 'c', 0, 2)}),
            "x|x|x");
  EXPECT_EQ(memory.barriers({rows('a', 'b', 0, 4), rows('d', 'b', 0, 3), rows('b', 'a', 0, 2)}),
            "xx|x");
}

TEST(WalkConflicts, NoneBetweenRowsThatStayInOneBlock) {
  Memory memory;
  const CompiledKernel kernel = row_by_row(), contract = contraction(n, n);
  const auto rows = [&](char to, char from, std::int64_t begin, std::int64_t end) {
    return memory.launch(kernel, {memory.at(to), memory.at(from)}, begin, end);
  };
  const auto multiply = [&](char to, char from) {
    return memory.launch(contract, {memory.at(from), memory.at(to), memory.at('d')}, 0, 4);
  };
  EXPECT_TRUE(shares_rows(rows('a', 'b', 0, 4)));
  EXPECT_FALSE(shares_rows(multiply('a', 'b')));
  EXPECT_EQ(memory.barriers({rows('b', 'a', 0, 4), rows('c', 'b', 0, 4), rows('a', 'c', 0, 4)}),
            "xxx");
  // A contraction takes rows in tiles, so a row may move to another block.
  EXPECT_EQ(memory.barriers({rows('b', 'a', 0, 4), multiply('c', 'b'), rows('a', 'c', 0, 4)}),
            "x|x|x");
  // Other rows are split differently, and so are the same rows under other row numbers.
  EXPECT_EQ(memory.barriers({rows('b', 'a', 0, 4), rows('c', 'b', 0, 3)}), "x|x");
  const auto moved = memory.launch(kernel, {memory.at('c'), memory.at('b', 1)}, 0, 4);
  EXPECT_EQ(memory.barriers({rows('b', 'a', 0, 4), moved}), "x|x");
}

TEST(WalkConflicts, OfGatheredRowsAreThoseOfTheWholeArena) {
  Memory memory;
  const CompiledKernel gather = gathering(), rows = row_by_row();
  const auto level = [&](char to, char from, std::int64_t begin, std::int64_t end) {
    return memory.launch(gather, {memory.at(to), memory.at(from), memory.at('-')}, begin, end);
  };
  EXPECT_EQ(memory.barriers({level('a', 'a', 0, 4), level('a', 'a', 4, 8)}), "x|x");
  EXPECT_EQ(memory.barriers({level('a', 'b', 0, 4), level('a', 'b', 4, 8)}), "xx");
  // The pointers of a batch are shifted by its first row, even to before the memory. What counts is
  // where its rows lie.
  const PendingLaunch shifted =
      memory.launch(gather, {memory.at('b', -100), memory.at('a'), memory.at('-')}, 100, 104);
  const auto reads = [&](std::int64_t begin, std::int64_t end) {
    return memory.launch(rows, {memory.at('c'), memory.at('b')}, begin, end);
  };
  EXPECT_EQ(memory.barriers({shifted, reads(0, 4)}), "x|x");
  EXPECT_EQ(memory.barriers({shifted, reads(4, 8)}), "xx");
}

TEST(WalkConflicts, OfWeightGradients) {
  Memory memory;
  const CompiledKernel first = weight_gradient(0), second = weight_gradient(n);
  const auto launch = [&](const CompiledKernel& kernel, char to) {
    return memory.launch(kernel, {memory.at(to), memory.at('d')});
  };
  EXPECT_EQ(memory.barriers({launch(first, 'a'), launch(first, 'b')}), "xx");
  EXPECT_EQ(memory.barriers({launch(first, 'a'), launch(second, 'a')}), "xx");  // other elements
  EXPECT_EQ(memory.barriers({launch(first, 'a'), launch(first, 'a')}), "x|x");
}

/// gradient[i · period + j + column] = contribution[0], i < 4, j < columns
CompiledKernel columns_of(std::int64_t period, std::int64_t column, std::int64_t columns) {
  Kernel kernel;
  kernel.name = "columns";
  KernelBuilder b(kernel);
  const auto to = b.buffer({.role = BufferRole::param_gradient, .row_elements = 4 * period});
  const auto from = b.buffer({.role = BufferRole::contribution, .row_elements = n});
  Stage stage = stage_over(b, RowDomain::once, {4, columns});
  const ExprId at = b.add(b.multiply(b.var(stage.variables[0]), period), b.var(stage.variables[1]));
  stage.stores = {{to, b.add(at, b.integer(column)), b.load(from, b.integer(0))}};
  kernel.stages = {stage};
  return compiled(std::move(kernel));
}

TEST(WalkConflicts, OfColumnsOfAMatrix) {
  Memory memory;
  const auto barriers = [&](const CompiledKernel& a, const CompiledKernel& b, char of_b = 'a') {
    return memory.barriers({memory.launch(a, {memory.at('a'), memory.at('d')}),
                            memory.launch(b, {memory.at(of_b), memory.at('d')})});
  };
  const CompiledKernel left = columns_of(40, 0, 20), right = columns_of(40, 20, 20);
  EXPECT_EQ(barriers(left, right), "xx");
  EXPECT_EQ(barriers(left, left), "x|x");
  EXPECT_EQ(barriers(columns_of(40, 0, 21), right), "x|x");
  EXPECT_EQ(barriers(columns_of(20, 0, 20), right),
            "x|x");  // a matrix of another shape in the same place
  EXPECT_EQ(barriers(columns_of(40, 0, 41), columns_of(40, 41, 1)), "x|x");
}

/// gradient[i] = contribution[0] in two joined stages, each with its own buffers.
CompiledKernel two_gradients() {
  Kernel kernel;
  kernel.name = "two_gradients";
  KernelBuilder b(kernel);
  for (int i = 0; i < 2; ++i) {
    const auto to = b.buffer({.role = BufferRole::param_gradient, .a = i, .row_elements = n});
    const auto from = b.buffer({.role = BufferRole::contribution, .a = i, .row_elements = n});
    Stage stage = stage_over(b, RowDomain::once, {n});
    stage.joined = i == 1;
    stage.stores = {{to, b.var(stage.variables[0]), b.load(from, b.integer(0))}};
    kernel.stages.push_back(stage);
  }
  return compiled(std::move(kernel));
}

TEST(WalkConflicts, OfJoinedStagesAreThoseOfEach) {
  Memory memory;
  const CompiledKernel both = two_gradients(), one = weight_gradient(0);
  ASSERT_EQ(both.cuda_stages.size(), 1U);
  const auto joined = [&](char to, char from, char second_to, char second_from) {
    return memory.launch(
        both, {memory.at(to), memory.at(from), memory.at(second_to), memory.at(second_from)});
  };
  const auto launch = [&](char to, char from) {
    return memory.launch(one, {memory.at(to), memory.at(from)});
  };
  EXPECT_FALSE(shares_rows(joined('a', 'd', 'b', 'd')));
  EXPECT_EQ(memory.barriers({joined('a', 'd', 'b', 'd'), launch('c', 'd')}), "xx");
  EXPECT_EQ(memory.barriers({joined('a', 'd', 'b', 'd'), launch('a', 'd')}), "x|x");
  EXPECT_EQ(memory.barriers({joined('a', 'd', 'b', 'd'), launch('b', 'd')}), "x|x");
  EXPECT_EQ(memory.barriers({joined('a', 'd', 'b', 'd'), launch('c', 'b')}), "x|x");
  EXPECT_EQ(memory.barriers({launch('c', 'd'), joined('a', 'd', 'b', 'c')}), "x|x");
}

/// partial[part] = contribution[0]; or gradient = Σ of three partials.
CompiledKernel parts_kernel(bool sums) {
  Kernel kernel;
  kernel.name = "parts";
  KernelBuilder b(kernel);
  const auto partial = b.buffer({.role = BufferRole::partial, .b = 64, .row_elements = n});
  const auto other = b.buffer(
      {.role = sums ? BufferRole::param_gradient : BufferRole::contribution, .row_elements = n});
  Stage stage = stage_over(b, sums ? RowDomain::once : RowDomain::parts, {n});
  const ExprId j = b.var(stage.variables[0]);
  if (sums) {
    const auto part = b.variable();
    const ExprId of_part = b.load(partial, b.add(b.multiply(b.var(part), n), j));
    stage.stores = {
        {other, j, b.reduce(codegen::Reduction::sum, part, b.integer(0), b.integer(3), of_part)}};
  } else {
    stage.part_rows = 64;
    stage.stores = {
        {partial, b.add(b.multiply(b.var(stage.row), n), j), b.load(other, b.integer(0))}};
  }
  kernel.stages = {stage};
  return compiled(std::move(kernel));
}

TEST(WalkConflicts, OfPartsAreThoseOfTheirRows) {
  Memory memory;
  const CompiledKernel parts = parts_kernel(false), sums = parts_kernel(true);
  const auto launch = [&](std::int64_t row) {
    return memory.launch(parts, {memory.at('a', row), memory.at('d')}, 0, 3);
  };
  EXPECT_EQ(memory.barriers({launch(0), launch(3)}), "xx");
  EXPECT_EQ(memory.barriers({launch(0), launch(2)}), "x|x");
  const auto sum = memory.launch(sums, {memory.at('a'), memory.at('b')});
  EXPECT_EQ(memory.barriers({launch(0), launch(3), sum, launch(0)}), "xx|x|x");
}

TEST(WalkConflicts, OfUnknownMemoryAreWithEverything) {
  Memory memory;
  const CompiledKernel kernel = gathering();
  const auto launch = [&](char to, char from) {
    return memory.launch(kernel, {memory.at(to), memory.at(from), memory.at('-')}, 0, 4);
  };
  EXPECT_EQ(memory.barriers({launch('a', 'b'), launch('c', '-'), launch('a', 'b')}), "x|x|x");
}

TEST(WalkHeldWeights, AreThoseReadMostOftenThatFit) {
  Memory memory;
  const CompiledKernel large = contraction(64, 32), small = contraction(8, 32);
  const auto launch = [&](const CompiledKernel& kernel, char weights, std::int64_t rows) {
    return memory.launch(kernel, {memory.at('c'), memory.at('d'), memory.at(weights)}, 0, rows);
  };
  const std::vector launches{launch(large, 'a', 3), launch(small, 'b', 3), launch(large, 'a', 2),
                             launch(small, 'b', 1), launch(large, 'a', most_held_rows + 1)};
  constexpr std::int64_t much = 1 << 20;
  const auto held = choose_held(launches, 4, much, much);
  ASSERT_EQ(held.size(), 2U);
  EXPECT_EQ(held[0].weights, memory.at('a'));
  EXPECT_EQ(held[0].width, 16);  // elements for each of 4 blocks
  EXPECT_EQ(held[1].width, 2);
  EXPECT_EQ(held[1].offset, held[0].tile.slice_bytes(16));
  // With room for one of them, for the smaller one, and for none.
  const std::int64_t one = held[0].tile.slice_bytes(16);
  ASSERT_EQ(choose_held(launches, 4, one, much).size(), 1U);
  EXPECT_EQ(choose_held(launches, 4, one, much)[0].weights, memory.at('a'));
  EXPECT_EQ(choose_held(launches, 4, one - 1, much)[0].weights, memory.at('b'));
  EXPECT_TRUE(choose_held(launches, 4, 0, much).empty());
  EXPECT_TRUE(choose_held(launches, 4, much, 0).empty());
  // Weights that are read once are not held.
  EXPECT_TRUE(choose_held(std::span(launches).first(2), 4, much, much).empty());
}

TEST(WalkHeldWeights, AreFilledAgainAfterTheyChange) {
  Memory memory;
  const CompiledKernel contract = contraction(64, 32), pack = row_by_row();
  const auto launch = [&](std::int64_t rows) {
    return memory.launch(contract, {memory.at('c'), memory.at('d'), memory.at('a')}, 0, rows);
  };
  const std::vector launches{launch(3),
                             launch(2),
                             launch(most_held_rows + 1),
                             memory.launch(pack, {memory.at('a'), memory.at('b')}, 5, 7),
                             launch(2),
                             launch(1)};
  constexpr std::int64_t much = 1 << 20;
  const auto held = choose_held(launches, 4, much, much);
  StageUses uses;
  const auto records =
      plan_walk(launches, Conflicts(memory.allocations(), uses), 4, held, /*held_begin=*/4096);
  std::string text;
  for (const WalkRecord& record : records) {
    const bool fill = record.flags & WalkRecord::fill;
    text += record.held_at < 0 ? '.' : fill ? 'f' : 'h';
    if (record.held_at >= 0) {
      EXPECT_EQ(record.held_at, 1024);
    }
  }
  EXPECT_EQ(text, "fh..fh");
}

}  // namespace
}  // namespace espalier::runtime
