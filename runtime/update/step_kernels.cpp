#include "runtime/update/step_kernels.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>

namespace espalier::runtime {
namespace {

using codegen::BufferId;
using codegen::BufferRole;
using codegen::ExprId;
using codegen::Kernel;
using codegen::KernelBuilder;
using codegen::Reduction;
using codegen::RowDomain;
using codegen::Stage;
using codegen::VarId;

/// Floats whose squares are summed together.
constexpr std::int64_t square_block = 4096;

/// A kernel in the making, whose buffers are numbered as they are named.
class Maker {
 public:
  explicit Maker(std::string name) : b(kernel_) { kernel_.name = std::move(name); }

  BufferId floats(bool bf16 = false) {
    return b.buffer({.role = BufferRole::scratch, .a = next_++, .bf16 = bf16});
  }
  BufferId indices() { return b.buffer({.role = BufferRole::port_values, .a = next_++}); }

  /// A stage over rows and `extents`; `begin` before its expressions.
  Stage stage(RowDomain rows, std::vector<std::int64_t> extents) {
    Stage stage;
    stage.rows = rows;
    if (rows != RowDomain::once) stage.row = b.variable();
    stage.extents = std::move(extents);
    for (std::size_t i = 0; i < stage.extents.size(); ++i) stage.variables.push_back(b.variable());
    return stage;
  }
  void add(Stage stage) { kernel_.stages.push_back(std::move(stage)); }
  /// Adds a stage that touches nothing that those before it store.
  void join(Stage stage) {
    stage.joined = !kernel_.stages.empty();
    add(std::move(stage));
  }
  ExprId row(const Stage& stage) { return b.var(stage.row); }
  ExprId at(const Stage& stage, int axis) {
    return b.var(stage.variables[static_cast<std::size_t>(axis)]);
  }
  /// base · factor + offset
  ExprId address(ExprId base, std::int64_t factor, ExprId offset) {
    return b.add(b.multiply(base, factor), offset);
  }
  ir::Scalar load(BufferId buffer, ExprId address) { return {&b, b.load(buffer, address)}; }
  /// Σ of squares of buffer[base + e], e < count
  ir::Scalar squares(BufferId buffer, ExprId base, std::int64_t count) {
    const VarId e = b.variable();
    const ir::Scalar x = load(buffer, b.add(base, b.var(e)));
    return {&b, b.reduce(Reduction::wide_sum, e, b.integer(0), b.integer(count), (x * x).id)};
  }
  Kernel take() { return std::move(kernel_); }

 private:
  Kernel kernel_;
  int next_ = 0;

 public:
  KernelBuilder b;
};

}  // namespace

std::vector<ir::ParamId> pack_params(std::span<const codegen::Packing> packings) {
  std::vector<ir::ParamId> params;
  for (const codegen::Packing& packing : packings)
    for (const codegen::Packing::Block& block : packing.blocks)
      if (std::ranges::find(params, block.param) == params.end()) params.push_back(block.param);
  return params;
}

namespace {

Stage pack_block(Maker& make, const codegen::Packing& packing, const codegen::Packing::Block& block,
                 BufferId packed, BufferId from) {
  // Neighbouring lanes are written together.
  Stage stage = make.stage(RowDomain::once, {block.columns, block.rows});
  const ExprId k = make.at(stage, 0), i = make.at(stage, 1);
  const ExprId row = make.b.add(i, make.b.integer(block.row));
  const ExprId gate = make.b.divide(row, packing.gate_length());
  const ExprId j = make.b.modulo(row, packing.gate_length());
  const ExprId panel_k = make.address(make.b.divide(j, packing.lanes), packing.k,
                                      make.b.add(k, make.b.integer(block.column)));
  const ExprId to = make.address(make.address(panel_k, packing.gates, gate), packing.lanes,
                                 make.b.modulo(j, packing.lanes));
  const ExprId param_row = make.b.add(block.transposed ? k : i, make.b.integer(block.param_row));
  const ExprId param_column =
      make.b.add(block.transposed ? i : k, make.b.integer(block.param_column));
  stage.stores = {
      {packed, to, make.b.load(from, make.address(param_row, block.param_columns, param_column))}};
  return stage;
}

}  // namespace

Kernel pack_kernel(std::span<const codegen::Packing> packings) {
  Maker make("pack");
  std::vector<BufferId> packed, from;
  for (const codegen::Packing& packing : packings) packed.push_back(make.floats(packing.bf16));
  const std::vector<ir::ParamId> params = pack_params(packings);
  for (std::size_t i = 0; i < params.size(); ++i) from.push_back(make.floats());
  for (std::size_t i = 0; i < packings.size(); ++i)
    for (const codegen::Packing::Block& block : packings[i].blocks) {
      const auto param = std::size_t(std::ranges::find(params, block.param) - params.begin());
      make.join(pack_block(make, packings[i], block, packed[i], from[param]));
    }
  return make.take();
}

Kernel input_kernel(std::int64_t width, std::int64_t stride) {
  Maker make("input");
  const BufferId from = make.floats(), to = make.floats();
  Stage stage = make.stage(RowDomain::instances, {width});
  const ExprId row = make.row(stage), j = make.at(stage, 0);
  stage.stores = {
      {to, make.address(row, stride, j), make.b.load(from, make.address(row, width, j))}};
  make.add(std::move(stage));
  return make.take();
}

Kernel seed_kernel(std::int64_t stride) {
  Maker make("seed");
  const BufferId scale = make.floats(), rows = make.indices(), to = make.floats();
  Stage stage = make.stage(RowDomain::instances, {});
  stage.stores = {{to, make.b.multiply(make.b.load_index(rows, make.row(stage)), stride),
                   make.b.load(scale, make.b.integer(0))}};
  make.add(std::move(stage));
  return make.take();
}

Kernel gather_kernel(std::int64_t stride) {
  Maker make("gather");
  const BufferId places = make.indices(), rows = make.indices();
  const BufferId from = make.floats(), to = make.floats();
  Stage stage = make.stage(RowDomain::instances, {});
  const ExprId row = make.row(stage);
  stage.stores = {{to, make.b.load_index(places, row),
                   make.b.load(from, make.b.multiply(make.b.load_index(rows, row), stride))}};
  make.add(std::move(stage));
  return make.take();
}

Kernel row_sums_kernel(std::int64_t width, std::span<const std::int64_t> strides) {
  Maker make("row_sums");
  const BufferId sums = make.floats();
  Stage stage = make.stage(RowDomain::instances, {width});
  const ExprId row = make.row(stage), j = make.at(stage, 0);
  const ExprId next = make.b.add(row, make.b.integer(1));
  ir::Scalar total{&make.b, -1};
  for (const std::int64_t stride : strides) {
    const BufferId offsets = make.indices(), entries = make.indices(), from = make.floats();
    const VarId e = make.b.variable();
    const ExprId entry = make.b.load_index(entries, make.b.var(e));
    const ir::Scalar sum{&make.b, make.b.reduce(Reduction::sum, e, make.b.load_index(offsets, row),
                                                make.b.load_index(offsets, next),
                                                make.b.load(from, make.address(entry, stride, j)))};
    total = total.id < 0 ? sum : total + sum;
  }
  stage.stores = {{sums, make.address(row, width, j), total.id}};
  make.add(std::move(stage));
  return make.take();
}

Kernel add_rows_kernel(std::int64_t width) {
  Maker make("add_rows");
  const BufferId rows = make.indices(), sums = make.floats(), to = make.floats();
  Stage stage = make.stage(RowDomain::instances, {width});
  const ExprId row = make.row(stage), j = make.at(stage, 0);
  const ExprId at = make.address(make.b.load_index(rows, row), width, j);
  stage.stores = {{to, at, (make.load(to, at) + make.load(sums, make.address(row, width, j))).id}};
  make.add(std::move(stage));
  return make.take();
}

Kernel clear_kernel(std::span<const std::int64_t> sizes) {
  Maker make("clear");
  for (const std::int64_t size : sizes) {
    const BufferId to = make.floats();
    Stage stage = make.stage(RowDomain::once, {size});
    stage.stores = {{to, make.at(stage, 0), make.b.number(0)}};
    make.join(std::move(stage));
  }
  return make.take();
}

std::int64_t square_blocks(std::int64_t size) { return (size + square_block - 1) / square_block; }

Kernel squares_kernel(std::span<const std::int64_t> sizes, std::int64_t width) {
  Maker make("squares");
  if (width > 0) {
    const BufferId sums = make.floats(), blocks = make.floats();
    Stage stage = make.stage(RowDomain::instances, {});
    stage.vector_reduce = true;
    const ExprId row = make.row(stage);
    stage.stores = {{blocks, row, make.squares(sums, make.b.multiply(row, width), width).id}};
    make.join(std::move(stage));
  }
  const BufferId blocks = make.floats();
  const auto add = [&](BufferId gradient, std::int64_t from, std::int64_t count,
                       std::int64_t length, std::int64_t to) {
    if (count == 0 || length == 0) return;
    Stage stage = make.stage(RowDomain::once, {count});
    stage.vector_reduce = true;
    const ExprId at = make.at(stage, 0);
    const ExprId base = make.address(at, square_block, make.b.integer(from));
    stage.stores = {
        {blocks, make.b.add(at, make.b.integer(to)), make.squares(gradient, base, length).id}};
    make.join(std::move(stage));
  };
  std::int64_t first = 0;
  for (const std::int64_t size : sizes) {
    const BufferId gradient = make.floats();
    const std::int64_t whole = size / square_block;
    add(gradient, 0, whole, square_block, first);
    add(gradient, whole * square_block, 1, size % square_block, first + whole);
    first += square_blocks(size);
  }
  return make.take();
}

Kernel norm_kernel(std::int64_t blocks, int lists) {
  Maker make("norm");
  const BufferId norm = make.floats();
  Stage stage = make.stage(RowDomain::once, {1});
  stage.vector_reduce = true;
  const auto sum = [&](BufferId of, ExprId count) {
    const VarId e = make.b.variable();
    return ir::Scalar{&make.b, make.b.reduce(Reduction::wide_sum, e, make.b.integer(0), count,
                                             make.b.load(of, make.b.var(e)))};
  };
  ir::Scalar total = sum(make.floats(), make.b.integer(blocks));
  for (int list = 0; list < lists; ++list) {
    const BufferId count = make.indices(), of = make.floats();
    total = total + sum(of, make.b.load_index(count, make.b.integer(0)));
  }
  stage.stores = {{norm, make.b.integer(0), total.id}};
  make.add(std::move(stage));
  return make.take();
}

namespace {

/// Whether the norm is finite, and what gradients are to be multiplied by.
struct Control {
  ir::Scalar finite, scale;
};

Control control(Maker& make) {
  const BufferId norm = make.floats(), clip = make.floats();
  const ExprId zero = make.b.integer(0);
  const ir::Scalar square = make.load(norm, zero), most = make.load(clip, zero);
  const ir::Scalar length = ir::sqrt(square), one{&make.b, make.b.number(1)};
  // A norm that is no number is not less than anything.
  const ir::Scalar largest{&make.b, make.b.number(3.4028234663852886e38)};
  return {ir::less(square, largest), ir::where(ir::less(most, length), most / length, one)};
}

Stage updated(Maker& make, const UpdateExpression& update, const Updated& of,
              const Control& control, BufferId all_rates) {
  const BufferId values = make.floats(), gradient = make.floats();
  const bool by_rows = of.width > 0;
  const BufferId rows = by_rows ? make.indices() : -1;
  Stage stage = by_rows ? make.stage(RowDomain::instances, {of.width})
                        : make.stage(RowDomain::once, {of.size});
  const ExprId j = make.at(stage, 0);
  const ExprId at =
      by_rows ? make.address(make.b.load_index(rows, make.row(stage)), of.width, j) : j;
  const ExprId gradient_at = by_rows ? make.address(make.row(stage), of.width, j) : j;

  constexpr int most_rates = UpdateExpression::most_rates;
  std::array<ir::Scalar, most_rates> rates;
  for (int i = 0; i < most_rates; ++i) rates[std::size_t(i)] = {&make.b, -1};
  for (int i = 0; i < update.rates(of.param); ++i)
    rates[std::size_t(i)] = make.load(all_rates, make.b.integer(of.param * most_rates + i));
  const int count = update.kept(of.param);
  std::vector<BufferId> buffers;
  UpdateExpression::Numbers old{.value = make.load(values, at), .kept = {}};
  for (int i = 0; i < count; ++i) {
    buffers.push_back(make.floats());
    old.kept[std::size_t(i)] = make.load(buffers.back(), at);
  }
  const UpdateExpression::Numbers fresh =
      update.update(of.param, old, make.load(gradient, gradient_at), control.scale, rates);
  stage.stores = {{values, at, ir::where(control.finite, fresh.value, old.value).id}};
  for (std::size_t i = 0; i < buffers.size(); ++i)
    stage.stores.push_back(
        {buffers[i], at, ir::where(control.finite, fresh.kept[i], old.kept[i]).id});
  return stage;
}

}  // namespace

Kernel update_kernel(const UpdateExpression& update, std::span<const Updated> params) {
  Maker make("update");
  const Control of_all = control(make);
  const BufferId rates = make.floats();
  for (const Updated& param : params) make.join(updated(make, update, param, of_all, rates));
  return make.take();
}

}  // namespace espalier::runtime
