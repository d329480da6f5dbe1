// Each rule of verify_kernel, on kernels made up to break it; and the printed kernel, which must
// tell apart whatever differs.
#include <gtest/gtest.h>

#include "base/error.h"
#include "codegen/kernel/print.h"
#include "codegen/kernel/verify.h"
#include "tests/codegen/kernel_runner.h"

namespace espalier::codegen {
namespace {

/// A good kernel with a contraction, a reduction and an outer product.
struct Sample {
  Kernel kernel;
  KernelBuilder b{kernel};
  BufferId weights, x, y, rows, keys;
  ExprId load = -1, sum = -1, accumulator = -1;

  Sample() {
    kernel.name = "sample";
    kernel.packings.push_back({.m = 20, .k = 6, .gates = 2, .lanes = 16, .blocks = {}});
    kernel.packings[0].blocks.push_back({.param = 1, .rows = 20, .columns = 6});
    weights = b.buffer({.role = BufferRole::packed, .a = 0});
    x = b.buffer({.role = BufferRole::state_field, .row_elements = 6});
    y = b.buffer({.role = BufferRole::scratch, .row_elements = 10});
    rows = b.buffer({.role = BufferRole::port_values});
    keys = b.buffer({.role = BufferRole::random_keys});

    Stage tile = instance_stage(b, {10});
    const ExprId row = b.multiply(b.load_index(rows, b.var(tile.row)), 6);
    tile.contraction = Contraction{.weights = weights,
                                   .packing = 0,
                                   .terms = {{x, row, 0, 2}, {x, b.add(row, b.integer(2)), 2, 4}}};
    accumulator = b.accumulator(1);
    tile.stores = {{y, element(b, tile), accumulator}};

    Stage map = instance_stage(b, {10});
    const VarId v = b.variable();
    load = b.load(x, b.add(b.multiply(b.var(map.row), 6), b.var(v)));
    sum = b.reduce(Reduction::sum, v, b.integer(0), b.integer(6), load);
    const int operands[] = {sum, b.random(keys, b.var(map.row), 1, b.var(map.variables[0]))};
    map.stores = {{y, element(b, map), b.emit(ir::Opcode::mul, operands, 0)}};

    Stage outer = once_stage(b, {10, 6});
    outer.outer_product = true;
    const VarId r = b.variable();
    const ExprId count = b.load_index(
        b.buffer({.role = BufferRole::row_count, .a = ir::per_instance}), b.integer(0));
    const BufferId gradient = b.buffer({.role = BufferRole::param_gradient, .row_elements = 60});
    const ExprId left = b.load(y, b.add(b.multiply(b.var(r), 10), b.var(outer.variables[0])));
    const ExprId right = b.load(x, b.add(b.multiply(b.var(r), 6), b.var(outer.variables[1])));
    outer.stores = {{gradient, element(b, outer),
                     b.reduce(Reduction::fma, r, b.integer(0), count, left, right, 4)}};
    kernel.stages = {tile, map, outer};
  }

  Expr& outer_sum() { return kernel.exprs[kernel.stages[2].stores[0].value]; }
};

using Damage = std::function<void(Sample&)>;

void expect_error(const Damage& damage, const std::string& text) {
  Sample sample;
  verify_kernel(sample.kernel);
  damage(sample);
  try {
    verify_kernel(sample.kernel);
    FAIL() << "no error, expected: " << text;
  } catch (const InternalError& error) {
    EXPECT_NE(std::string(error.what()).find(text), std::string::npos) << error.what();
    EXPECT_NE(std::string(error.what()).find("sample"), std::string::npos) << error.what();
  }
}

TEST(VerifyKernel, RejectsWhatItSays) {
  expect_error([](Sample& s) { s.kernel.exprs[s.load].operands[0] = 1000; }, "operand 0");
  expect_error([](Sample& s) { s.kernel.exprs[s.load].operands[0] = s.sum; }, "operand 0");
  expect_error([](Sample& s) { s.kernel.exprs[s.load].operands[0] = s.accumulator; }, "wrong type");
  expect_error([](Sample& s) { s.kernel.exprs[s.load].operands[1] = 0; }, "too many operands");
  expect_error([](Sample& s) { s.kernel.exprs[s.load].buffer = s.rows; }, "wrong buffer");
  expect_error([](Sample& s) { s.kernel.exprs[s.load].buffer = 77; }, "wrong buffer");
  expect_error([](Sample& s) { s.kernel.exprs[s.sum].integer = 1000; }, "no variable");
  expect_error([](Sample& s) { s.kernel.exprs[s.accumulator].integer = 2; }, "accumulator");
  expect_error([](Sample& s) { s.kernel.stages[1].stores[0].value = s.accumulator; },
               "accumulator");
  expect_error([](Sample& s) { s.kernel.stages[1].stores[0].value = s.load; }, "outside its loop");
  expect_error([](Sample& s) { s.kernel.stages[1].stores[0].value = 1000; }, "does not exist");
  expect_error([](Sample& s) { s.kernel.stages[1].stores[0].address = s.sum; }, "wrong type");
  expect_error([](Sample& s) { s.kernel.stages[1].stores[0].buffer = s.keys; }, "float buffer");
  expect_error([](Sample& s) { s.kernel.stages[1].stores[0].buffer = -1; }, "float buffer");
  expect_error([](Sample& s) { s.kernel.stages[1].stores.clear(); }, "no store");
  expect_error([](Sample& s) { s.kernel.stages[1].extents[0] = 0; }, "not positive");
  expect_error([](Sample& s) { s.kernel.stages[1].extents.push_back(3); }, "extents");
  expect_error([](Sample& s) { s.kernel.stages[1].row = -1; }, "variable");
  expect_error([](Sample& s) { s.kernel.stages[1].row = s.kernel.stages[1].variables[0]; },
               "variable of its own");
  expect_error([](Sample& s) { s.kernel.stages[1].port = 0; }, "port");
  expect_error([](Sample& s) { s.kernel.stages[0].contraction->terms[1].k_begin = 3; }, "cover k");
  expect_error([](Sample& s) { s.kernel.stages[0].contraction->terms.pop_back(); }, "cover k");
  expect_error([](Sample& s) { s.kernel.stages[0].contraction->terms[0].x = s.rows; },
               "no float buffer");
  expect_error([](Sample& s) { s.kernel.stages[0].contraction->packing = 1; }, "packing");
  expect_error([](Sample& s) { s.kernel.stages[0].contraction->weights = s.x; }, "weights");
  expect_error([](Sample& s) { s.kernel.stages[0].extents[0] = 9; }, "gate length");
  expect_error([](Sample& s) { s.kernel.packings[0].m = 21; }, "whole gates");
  expect_error(
      [](Sample& s) {
        s.kernel.stages[2].outer_product = false;
        s.kernel.stages[1].outer_product = true;
      },
      "no outer product");
  expect_error(
      [](Sample& s) {
        std::swap(s.kernel.stages[2].variables[0], s.kernel.stages[2].variables[1]);
      },
      "no outer product");
  expect_error([](Sample& s) { s.outer_sum().block = 0; }, "no outer product");
}

TEST(VerifyKernel, RejectsStagesJoinedToWhatRunsOtherwise) {
  expect_error([](Sample& s) { s.kernel.stages[0].joined = true; }, "joined to nothing");
  expect_error([](Sample& s) { s.kernel.stages[1].joined = true; }, "a contraction is joined");
  expect_error(
      [](Sample& s) {
        s.kernel.stages.push_back(s.kernel.stages[1]);
        s.kernel.stages.back().joined = true;
      },
      "over other rows");
}

TEST(VerifyKernel, RejectsBlocksThatAreNone) {
  expect_error([](Sample& s) { s.outer_sum().block = -1; }, "in blocks of -1");
  expect_error(
      [](Sample& s) {
        s.kernel.exprs[s.sum].block = 2;
        s.kernel.exprs[s.sum].reduction = Reduction::max;
      },
      "in blocks of 2");
  expect_error(
      [](Sample& s) {
        s.kernel.exprs[s.sum].block = 2;
        s.kernel.stages[1].vector_reduce = true;
        s.kernel.stages[1].extents.clear();
        s.kernel.stages[1].variables.clear();
        s.kernel.stages[1].stores = {{s.y, s.b.integer(0), s.sum}};
      },
      "in blocks and over lanes");
}

TEST(VerifyKernel, RejectsAReductionOverTheVariableOfALoopAroundIt) {
  expect_error(
      [](Sample& s) {
        Stage& stage = s.kernel.stages[1];
        stage.stores[0].value =
            s.b.reduce(Reduction::max, stage.variables[0], s.b.integer(0), s.b.integer(3), s.sum);
      },
      "reuses the variable");
}

TEST(PrintKernel, TellsApartWhateverDiffers) {
  const std::vector<Damage> changes{
      [](Sample&) {},
      [](Sample& s) { s.kernel.name = "other"; },
      [](Sample& s) { s.kernel.packings[0].lanes = 32; },
      [](Sample& s) { s.kernel.packings[0].blocks[0].transposed = true; },
      [](Sample& s) { s.kernel.packings[0].blocks[0].param_row = 2; },
      [](Sample& s) { s.kernel.buffers[1].row_elements = 7; },
      [](Sample& s) { s.kernel.buffers[1].children = 0; },
      [](Sample& s) { s.kernel.buffers[1].b = 3; },
      [](Sample& s) { s.kernel.buffers[1].role = BufferRole::residual; },
      [](Sample& s) { s.kernel.exprs[s.sum].reduction = Reduction::max; },
      [](Sample& s) { s.kernel.exprs[s.sum].block = 2; },
      [](Sample& s) { s.kernel.exprs[s.load].buffer = s.y; },
      [](Sample& s) { s.b.number(0.1); },
      [](Sample& s) { s.b.number(std::nextafter(0.1, 1)); },
      [](Sample& s) { s.b.number(-0.0); },
      [](Sample& s) { s.b.number(0.0); },
      [](Sample& s) { s.kernel.stages[0].contraction->terms[0].k_length = 1; },
      [](Sample& s) { s.kernel.stages[0].rows = RowDomain::children; },
      [](Sample& s) { s.kernel.stages[1].vector_reduce = true; },
      [](Sample& s) { s.kernel.stages[1].extents[0] = 9; },
      [](Sample& s) { s.kernel.stages[1].port = 2; },
      [](Sample& s) { s.kernel.stages[1].joined = true; },
      [](Sample& s) { s.kernel.stages[1].stores[0].buffer = s.x; },
      [](Sample& s) { s.kernel.stages[2].outer_product = false; },
      [](Sample& s) { s.kernel.stages[2].variables[0] = 0; },
      [](Sample& s) { ++s.kernel.variables; },
  };
  std::vector<std::string> texts;
  for (const Damage& change : changes) {
    Sample sample;
    change(sample);
    texts.push_back(print_kernel(sample.kernel));
  }
  for (std::size_t i = 0; i < texts.size(); ++i)
    for (std::size_t j = 0; j < i; ++j) EXPECT_NE(texts[i], texts[j]) << i << " and " << j;
}

TEST(PrintKernel, Reads) {
  Kernel kernel;
  kernel.name = "small";
  KernelBuilder b(kernel);
  const BufferId x = b.buffer({.role = BufferRole::state_field, .a = 1, .row_elements = 6});
  const BufferId y = b.buffer({.role = BufferRole::own_field, .row_elements = 6});
  Stage s = instance_stage(b, {6});
  const int operands[] = {b.load(x, element(b, s)), b.number(0.5)};
  s.stores = {{y, element(b, s), b.emit(ir::Opcode::mul, operands, 0)}};
  kernel.stages = {s};
  EXPECT_EQ(print_kernel(kernel), R"(kernel small, 2 variables
  b0 = state_field(1, 0) row 6
  b1 = own_field(0, 0) row 6
  %0 = v1
  %1 = %0 * 6
  %2 = v0
  %3 = %1 + %2
  %4 = b0[%3]
  %5 = constant 0x1p-1 (0.5)
  %6 = mul %4 %5
  stage 0: instances v1, v0 < 6
    b1[%3] := %6
)");
}

}  // namespace
}  // namespace espalier::codegen
