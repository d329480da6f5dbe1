// Rows beyond what 32 bits can count in elements: kernels get pointers that are shifted back by as
// many rows as all their row numbers are raised, so that they must store the same bits.
#include <gtest/gtest.h>

#include <deque>

#include "base/disk_cache.h"
#include "codegen/compiler.h"
#include "codegen/cpu/host_targets.h"
#include "codegen/kernel/lower.h"
#include "ir/passes/fuse_contractions.h"
#include "ir/passes/pipeline.h"
#include "ir/passes/simplify.h"
#include "tests/support/kernel_harness.h"
#include "tests/support/random_programs.h"

namespace espalier::test {
namespace {

using codegen::BufferRole;
using codegen::Kernel;

constexpr std::int64_t raised = 2'000'000'000;  // rows, of up to some dozen elements

/// Runs kernels of a cell with all row numbers raised.
class RaisedRows {
 public:
  RaisedRows(const ir::Cell& cell, const std::vector<CellInputs>& inputs,
             codegen::Compiler& compiler)
      : cell_(cell), inputs_(inputs), compiler_(compiler) {}

  void run(const Kernel& kernel, int stage, void* const* buffers, std::int64_t begin,
           std::int64_t end) {
    copies_.clear();
    std::vector<void*> pointers;
    for (std::size_t i = 0; i < kernel.buffers.size(); ++i)
      pointers.push_back(shifted(kernel.buffers[i], buffers[i]));
    const auto& made = compiler_.compile(kernel).stages[std::size_t(stage)];
    made.run(pointers.data(), begin + raised, end + raised, 0, made.parts);
  }

 private:
  void* shifted(const codegen::Buffer& buffer, void* data) {
    switch (buffer.role) {
      case BufferRole::param:
      case BufferRole::param_gradient:
      case BufferRole::packed:
      case BufferRole::row_count:
        return data;
      case BufferRole::port_values:
        if (cell_.ports[std::size_t(buffer.a)].kind == ir::PortKind::index)
          return back(data, sizeof(std::int32_t));
        [[fallthrough]];
      case BufferRole::port_offsets:
      case BufferRole::port_owners:
      case BufferRole::port_gradient_rows:
      case BufferRole::own_rows:
        return back(raised_copy(static_cast<const std::int32_t*>(data), numbers(buffer)),
                    sizeof(std::int32_t));
      case BufferRole::random_keys:
        return back(data, sizeof(std::uint64_t));
      case BufferRole::state_field:
      case BufferRole::child_gradient:
      case BufferRole::own_field:
      case BufferRole::cotangent:
      case BufferRole::residual:
      case BufferRole::contribution:
      case BufferRole::scratch:
      case BufferRole::partial:
        return back(data, std::size_t(buffer.row_elements) * sizeof(float));
    }
    return nullptr;
  }

  static void* back(void* data, std::size_t row_bytes) {
    return reinterpret_cast<void*>(reinterpret_cast<std::uintptr_t>(data) -
                                   std::uintptr_t(raised) * row_bytes);
  }

  /// The row numbers in the buffer.
  std::size_t numbers(const codegen::Buffer& buffer) const {
    if (buffer.role == BufferRole::own_rows) return inputs_.size();
    if (buffer.role == BufferRole::port_offsets) return inputs_.size() + 1;
    const auto port = std::size_t(buffer.a);
    if (cell_.ports[port].kind == ir::PortKind::child) return inputs_.size();
    std::size_t children = 0;
    for (const CellInputs& input : inputs_) children += std::size_t(input.children[port]);
    return children;
  }

  std::int32_t* raised_copy(const std::int32_t* rows, std::size_t count) {
    std::vector<std::int32_t>& copy = copies_.emplace_back(rows, rows + count);
    for (std::int32_t& row : copy) row += std::int32_t(raised);
    return copy.data();
  }

  const ir::Cell& cell_;
  const std::vector<CellInputs>& inputs_;
  codegen::Compiler& compiler_;
  std::deque<std::vector<std::int32_t>> copies_;
};

/// All that a cell's forward and backward kernels store, run by `run`.
std::vector<std::vector<float>> results(const ir::Program& program, const ir::Cell& cell,
                                        const std::vector<CellInputs>& inputs,
                                        const codegen::Target& target,
                                        const KernelHarness::RunStage& run) {
  const ir::Differentiated d = ir::training_cells(program, cell);
  Random random(5);
  KernelHarness harness(program, cell, inputs, random);
  harness.run(codegen::lower_forward(program, d.forward, target), run);
  const auto& fields = program.states[std::size_t(cell.state)].fields;
  std::vector<std::vector<std::vector<double>>> cotangents(inputs.size());
  for (auto& own : cotangents)
    for (const ir::Type& field : fields) own.push_back(random.reals(field.shape.size(), -1, 1));
  harness.set_cotangents(cotangents);
  harness.run(codegen::lower_backward(cell, d.backward, target), run);

  std::vector<std::vector<float>> stored;
  for (int i = 0; i < harness.instances(); ++i) {
    for (std::size_t f = 0; f < fields.size(); ++f) stored.push_back(harness.output(i, int(f)));
    for (const ir::ChildGradient& gradient : d.backward.child_gradients)
      stored.push_back(harness.child_gradient(i, gradient.port, gradient.field));
  }
  return stored;
}

TEST(LargeRows, AreAddressedIn64Bits) {
  for (const codegen::Target& target : codegen::host_targets()) {
    codegen::Compiler compiler(target, {default_cache_directory()});
    for (std::uint64_t seed = 0; seed < 3; ++seed) {
      const ir::Program program = random_program(seed, {.width = 9 + int(seed) * 11});
      for (const ir::Cell& source : program.cells) {
        SCOPED_TRACE(testing::Message() << target.name << " " << seed << " " << source.name);
        const ir::Cell cell = ir::without_dropout(ir::simplify(ir::fuse_contractions(source)));
        Random random(seed);
        std::vector<CellInputs> inputs;
        for (int i = 0; i < 7; ++i) {
          inputs.push_back(random_inputs(program, cell, random, random_index_bound, i % 4));
          inputs.back().params = inputs[0].params;
        }
        const auto plain = [&](const Kernel& kernel, int stage, void* const* buffers,
                               std::int64_t begin, std::int64_t end) {
          const auto& made = compiler.compile(kernel).stages[std::size_t(stage)];
          made.run(buffers, begin, end, 0, made.parts);
        };
        RaisedRows rows(cell, inputs, compiler);
        const auto raised_run = [&](auto&&... arguments) { rows.run(arguments...); };
        EXPECT_EQ(results(program, cell, inputs, target, raised_run),
                  results(program, cell, inputs, target, plain));
      }
    }
  }
}

}  // namespace
}  // namespace espalier::test
