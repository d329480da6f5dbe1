#include "codegen/expressions.h"

#include <algorithm>

#include "ir/error.h"

namespace espalier::codegen {

using ir::Node;
using ir::NodeId;
using ir::OpClass;
using ir::Shape;

namespace {

/// Movements print their coordinates straight into the kernel.
class Addresses : public ir::CoordinateSink {
 public:
  explicit Addresses(KernelBuilder& builder) : builder_(builder) {}
  int constant(std::int64_t value) override { return builder_.integer(value); }
  int add(int a, int b) override { return builder_.add(a, b); }
  int multiply(int a, std::int64_t factor) override { return builder_.multiply(a, factor); }
  int divide(int a, std::int64_t divisor) override { return builder_.divide(a, divisor); }
  int modulo(int a, std::int64_t divisor) override { return builder_.modulo(a, divisor); }

 private:
  KernelBuilder& builder_;
};

}  // namespace

void Expressions::enter(int stage, const RowContext& rows, std::span<const ExprId> coordinates) {
  stage_ = stage;
  stage_rows_ = rows;
  stage_coordinates_.assign(coordinates.begin(), coordinates.end());
  computed_.clear();
}

ExprId Expressions::flat(const Shape& shape, std::span<const ExprId> coordinates) {
  ExprId address = builder_.integer(0);
  std::int64_t stride = shape.size();
  for (int axis = 0; axis < shape.rank(); ++axis) {
    stride /= shape[axis];
    address = builder_.add(address, builder_.multiply(coordinates[axis], stride));
  }
  return address;
}

RowContext Expressions::owner(const RowContext& rows) {
  if (rows.rows != RowDomain::children) return rows;
  return {RowDomain::instances, -1,
          builder_.load_index(buffer(BufferRole::port_owners, rows.port), rows.row)};
}

ExprId Expressions::state_row(int port, const RowContext& rows) {
  const bool children = input_.ports[port].kind == ir::PortKind::children;
  const RowContext at = children ? rows : owner(rows);
  internal_check(!children || (rows.rows == RowDomain::children && rows.port == port),
                 "{}: port {} read outside its children", input_.name, port);
  switch (children ? ir::Access::gathered : input_.accesses[port]) {
    case ir::Access::shared:
      return builder_.integer(0);
    case ir::Access::contiguous:
      return at.row;
    case ir::Access::gathered:
      break;
  }
  return builder_.load_index(buffer(BufferRole::port_values, port), at.row);
}

ExprId Expressions::own_row(const RowContext& rows) {
  return deferred_ ? builder_.load_index(buffer(BufferRole::own_rows, 0), rows.row) : rows.row;
}

ExprId Expressions::index_value(NodeId id, const RowContext& rows) {
  const Node& node = graph_[id];
  if (node.op->name == "per_child") return index_value(node.operands[0], owner(rows));
  internal_check(node.op->name == "port", "{}: an index that is no port", input_.name);
  return builder_.load_index(buffer(BufferRole::port_values, node.attributes.ints[0]),
                             owner(rows).row);
}

Place Expressions::place_of(const Output& output) {
  const ir::Type& type = graph_[output.node].type;
  return {buffer(output.role, output.a, output.b, row_stride(type.shape.size()),
                 output.role == BufferRole::child_gradient ? ir::per_instance : type.children),
          type.shape,
          {}};
}

ExprId Expressions::address(const Place& place, const RowContext& rows,
                            std::span<const ExprId> coordinates) {
  std::vector<ExprId> shifted;
  for (std::size_t axis = 0; axis < coordinates.size(); ++axis)
    shifted.push_back(builder_.add(coordinates[axis], builder_.integer(place.offset[axis])));
  const Buffer target = builder_.kernel().buffers[place.buffer];
  ExprId row = rows.row;
  if (target.role == BufferRole::child_gradient)
    row = builder_.load_index(buffer(BufferRole::port_gradient_rows, target.a), rows.row);
  return builder_.add(builder_.multiply(row, target.row_elements), flat(place.shape, shifted));
}

ExprId Expressions::value(NodeId id, const RowContext& rows, std::span<const ExprId> coordinates) {
  const Node& node = graph_[id];
  const Treatment treatment = plan_.treatment[id];
  // Per-instance values are wanted at child rows only through per_child, which moves the context.
  if (treatment == Treatment::view)
    return node.op->kind == OpClass::leaf ? leaf(node, rows, coordinates)
                                          : movement(node, rows, coordinates);
  if (treatment == Treatment::inlined) return compute(id, rows, coordinates);
  const bool here = plan_.stage[id] == stage_ && rows.row == stage_rows_.row &&
                    rows.rows == stage_rows_.rows &&
                    std::ranges::equal(coordinates, stage_coordinates_);
  if (here && treatment == Treatment::tile && plan_.gates[id] == 1) return builder_.accumulator(0);
  if (here && treatment == Treatment::computed) {
    if (const auto found = computed_.find(id); found != computed_.end()) return found->second;
    const ExprId expr = compute(id, rows, coordinates);
    computed_.emplace(id, expr);
    return expr;
  }
  internal_check(!places_[id].empty(), "{}: node {} ({}) is read but not stored", input_.name, id,
                 node.op->name);
  return load(places_[id].front(), rows, coordinates);
}

ExprId Expressions::compute(NodeId id, const RowContext& rows,
                            std::span<const ExprId> coordinates) {
  const Node& node = graph_[id];
  switch (node.op->kind) {
    case OpClass::elementwise: {
      std::vector<ir::Scalar> operands;
      for (NodeId operand : node.operands)
        operands.push_back({&builder_, value(operand, rows, coordinates)});
      return node.op->scalar(operands.data()).id;
    }
    case OpClass::reduction:
      return reduction(node, rows, coordinates);
    case OpClass::contraction:
      return contraction(node, rows, coordinates);
    case OpClass::movement:
      return movement(node, rows, coordinates);
    case OpClass::leaf:
    case OpClass::composite:
      break;
  }
  throw InternalError(fmt::format("{}: '{}' is not computed", input_.name, node.op->name));
}

ExprId Expressions::reduction(const Node& node, const RowContext& rows,
                              std::span<const ExprId> coordinates) {
  const VarId variable = builder_.variable();
  const ExprId position = builder_.var(variable);
  const Reduction kind = node.op->combine == ir::Combine::sum ? Reduction::sum : Reduction::max;
  const Node& operand = graph_[node.operands[0]];
  if (node.op->over_children) {
    const int port = operand.type.children;
    const BufferId offsets = buffer(BufferRole::port_offsets, port);
    const ExprId begin = builder_.load_index(offsets, rows.row);
    const ExprId end = builder_.load_index(offsets, builder_.add(rows.row, builder_.integer(1)));
    const ExprId body = value(node.operands[0], {RowDomain::children, port, position}, coordinates);
    return builder_.reduce(kind, variable, begin, end, body);
  }
  const int axis = node.attributes.ints[0];
  std::vector<ExprId> at(coordinates.begin(), coordinates.end());
  at.insert(at.begin() + axis, position);
  const ExprId body = value(node.operands[0], rows, at);
  return builder_.reduce(kind, variable, builder_.integer(0),
                         builder_.integer(operand.type.shape[axis]), body);
}

ExprId Expressions::contraction(const Node& node, const RowContext& rows,
                                std::span<const ExprId> coordinates) {
  const NodeId a = node.operands[0], b = node.operands[1];
  if (node.op->name == "outer") {
    const ExprId left = value(a, rows, coordinates.first(1));
    const ExprId right = value(b, rows, coordinates.subspan(1));
    return builder_.emit(ir::Opcode::mul, std::array{left, right}, 0);
  }
  const VarId variable = builder_.variable();
  const ExprId k = builder_.var(variable);
  std::vector<ExprId> left{k}, right{k};
  if (graph_[a].type.shape.rank() == 2) left.insert(left.begin(), coordinates[0]);
  if (graph_[b].type.shape.rank() == 2) right.push_back(coordinates.back());
  const ExprId extent = builder_.integer(graph_[b].type.shape[0]);
  const ExprId first = value(a, rows, left), second = value(b, rows, right);
  return builder_.reduce(Reduction::fma, variable, builder_.integer(0), extent, first, second);
}

ExprId Expressions::leaf(const Node& node, const RowContext& rows,
                         std::span<const ExprId> coordinates) {
  const std::string_view name = node.op->name;
  const auto [a, b] = node.attributes.ints;
  const Shape& shape = node.type.shape;
  const auto in_rows = [&](BufferRole role, ExprId row, int field, std::int8_t children) {
    const std::int64_t stride = row_stride(shape.size());
    const BufferId from = buffer(role, a, field, stride, children);
    return builder_.load(from,
                         builder_.add(builder_.multiply(row, stride), flat(shape, coordinates)));
  };
  if (name == "constant") return builder_.number(node.attributes.number);
  if (name == "iota") return builder_.to_float(coordinates[0]);
  if (name == "param")
    return builder_.load(buffer(BufferRole::param, a, 0, shape.size()), flat(shape, coordinates));
  if (name == "port") {
    if (node.type.dtype == ir::DType::i32)
      return builder_.to_float(
          builder_.load_index(buffer(BufferRole::port_values, a), owner(rows).row));
    return in_rows(BufferRole::state_field, state_row(a, rows), b, ir::per_instance);
  }
  if (name == "output") return in_rows(BufferRole::own_field, own_row(rows), 0, ir::per_instance);
  if (name == "cotangent")
    return in_rows(BufferRole::cotangent, own_row(rows), 0, ir::per_instance);
  if (name == "residual") return in_rows(BufferRole::residual, rows.row, 0, node.type.children);
  if (name == "dropout_mask") return dropout_mask(node, rows, coordinates);
  throw InternalError(fmt::format("{}: leaf '{}' cannot be lowered", input_.name, name));
}

ExprId Expressions::dropout_mask(const Node& node, const RowContext& rows,
                                 std::span<const ExprId> coordinates) {
  ExprId counter = flat(node.type.shape, coordinates);
  const RowContext instance = owner(rows);
  if (rows.rows == RowDomain::children) {
    // Elements are counted from the instance's first child.
    const ExprId first =
        builder_.load_index(buffer(BufferRole::port_offsets, rows.port), instance.row);
    const ExprId element = builder_.add(rows.row, builder_.multiply(first, -1));
    counter = builder_.add(counter, builder_.multiply(element, child_counter_stride));
  }
  const double p = node.attributes.number;
  const ExprId uniform = builder_.random(buffer(BufferRole::random_keys, 0), instance.row,
                                         std::uint32_t(node.attributes.ints[0]), counter);
  const ExprId drop = builder_.emit(ir::Opcode::less, std::array{uniform, builder_.number(p)}, 0);
  return builder_.emit(ir::Opcode::select,
                       std::array{drop, builder_.number(0), builder_.number(1 / (1 - p))}, 0);
}

ExprId Expressions::movement(const Node& node, const RowContext& rows,
                             std::span<const ExprId> coordinates) {
  const NodeId operand = node.operands[0];
  if (node.op->name == "per_child") return value(operand, owner(rows), coordinates);
  if (node.op->name == "slice" && plan_.treatment[operand] == Treatment::tile &&
      plan_.gates[operand] > 1 && plan_.stage[operand] == stage_ && rows.row == stage_rows_.row &&
      std::ranges::equal(coordinates, stage_coordinates_))
    return builder_.accumulator(node.attributes.ints[1] / node.type.shape[0]);
  Addresses sink(builder_);
  const Shape source_shape = graph_[operand].type.shape;
  ir::MovementContext context{sink, coordinates, source_shape, node.type.shape, node.attributes};
  if (node.op->takes_index) context.index = index_value(node.operands[1], rows);
  const std::vector<int> source = node.op->source(context);
  return value(operand, rows, source);
}

std::vector<Segment> Expressions::segments(NodeId id, const RowContext& rows) {
  const Node& node = graph_[id];
  const std::int64_t n = node.type.shape.size();
  const auto [a, b] = node.attributes.ints;
  const auto row_of = [&](BufferRole role, ExprId row, int field, std::int8_t children) {
    const std::int64_t stride = row_stride(n);
    return std::vector<Segment>{
        {buffer(role, a, field, stride, children), builder_.multiply(row, stride), n}};
  };
  if (const auto found = places_.find(id); found != places_.end() && !found->second.empty()) {
    const Place& place = found->second.front();
    const std::vector<ExprId> zero(node.type.shape.rank(), builder_.integer(0));
    return {{place.buffer, address(place, rows, zero), n}};
  }
  const std::string_view name = node.op->name;
  if (name == "port")
    return row_of(BufferRole::state_field, state_row(a, rows), b, ir::per_instance);
  if (name == "output") return row_of(BufferRole::own_field, own_row(rows), 0, ir::per_instance);
  if (name == "cotangent") return row_of(BufferRole::cotangent, own_row(rows), 0, ir::per_instance);
  if (name == "residual") return row_of(BufferRole::residual, rows.row, 0, node.type.children);
  if (name == "per_child") return segments(node.operands[0], owner(rows));
  if (name == "reshape") return segments(node.operands[0], rows);
  if (name == "row") {
    const Node& table = graph_[node.operands[0]];
    const BufferId from =
        buffer(BufferRole::param, table.attributes.ints[0], 0, table.type.shape.size());
    return {{from, builder_.multiply(index_value(node.operands[1], rows), n), n}};
  }
  if (node.op->assembles) {
    std::vector<Segment> all;
    for (NodeId part : node.operands)
      std::ranges::move(segments(part, rows), std::back_inserter(all));
    return all;
  }
  internal_check(name == "slice", "{}: '{}' has no address", input_.name, name);
  std::vector<Segment> cut;
  std::int64_t position = 0;
  for (const Segment& segment : segments(node.operands[0], rows)) {
    const std::int64_t low = std::max<std::int64_t>(b, position);
    const std::int64_t high = std::min<std::int64_t>(b + n, position + segment.length);
    if (low < high)
      cut.push_back({segment.buffer,
                     builder_.add(segment.address, builder_.integer(low - position)), high - low});
    position += segment.length;
  }
  return cut;
}

}  // namespace espalier::codegen
