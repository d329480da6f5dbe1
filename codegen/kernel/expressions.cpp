#include "codegen/kernel/expressions.h"

#include <algorithm>

#include "base/error.h"

namespace espalier::codegen {

using ir::Node;
using ir::NodeId;
using ir::OpClass;
using ir::OpId;
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

/// Whether a value of that shape, a part of rows of the shape `row`, lies in one piece: beside an
/// axis on which it is a true part, the axes before have one element.
bool is_whole(const Shape& shape, const Shape& row) {
  for (int axis = 0, elements = 1; axis < shape.rank(); ++axis) {
    if (shape[axis] != row[axis] && elements != 1) return false;
    elements *= shape[axis];
  }
  return true;
}

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
  return builder_.load_index(buffer(BufferRole::port_values, port), at.row);
}

ExprId Expressions::own_row(const RowContext& rows) {
  return deferred_ ? builder_.load_index(buffer(BufferRole::own_rows, 0), rows.row) : rows.row;
}

ExprId Expressions::index_value(NodeId id, const RowContext& rows) {
  const int port = ir::index_port(graph_, id);
  internal_check(port >= 0, "{}: an index that is no port", input_.name);
  return builder_.load_index(buffer(BufferRole::port_values, port), owner(rows).row);
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
  // A contraction takes what all instances share as it is, also over children.
  const bool of_owner = node.type.children == ir::per_instance;
  return load(places_[id].front(), of_owner ? owner(rows) : rows, coordinates);
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
  if (node.op->id == OpId::outer) {
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

std::optional<Expressions::LeafRow> Expressions::leaf_row(const Node& node,
                                                          const RowContext& rows) {
  const auto [a, b] = node.attributes.ints;
  const std::int64_t stride = row_stride(node.type.shape.size());
  const auto row_of = [&](BufferRole role, ExprId row, int field, std::int8_t children) {
    return LeafRow{buffer(role, a, field, stride, children), row, stride};
  };
  switch (node.op->id) {
    case OpId::port:
      if (node.type.dtype != ir::DType::f32) return std::nullopt;
      return row_of(BufferRole::state_field, state_row(a, rows), b, ir::per_instance);
    case OpId::output:
      return row_of(BufferRole::own_field, own_row(rows), 0, ir::per_instance);
    case OpId::cotangent:
      return row_of(BufferRole::cotangent, own_row(rows), 0, ir::per_instance);
    case OpId::residual:
      return row_of(BufferRole::residual, rows.row, 0, node.type.children);
    default:
      return std::nullopt;
  }
}

ExprId Expressions::leaf(const Node& node, const RowContext& rows,
                         std::span<const ExprId> coordinates) {
  const Shape& shape = node.type.shape;
  const int position = node.attributes.ints[0];
  if (const auto from = leaf_row(node, rows)) {
    const ExprId element = flat(shape, coordinates);
    return builder_.load(from->buffer,
                         builder_.add(builder_.multiply(from->row, from->stride), element));
  }
  switch (node.op->id) {
    case OpId::constant:
      return builder_.number(node.attributes.number);
    case OpId::iota:
      return builder_.to_float(coordinates[0]);
    case OpId::param:
      return builder_.load(buffer(BufferRole::param, position, 0, shape.size()),
                           flat(shape, coordinates));
    case OpId::port:  // an index
      return builder_.to_float(
          builder_.load_index(buffer(BufferRole::port_values, position), owner(rows).row));
    case OpId::dropout_mask:
      return dropout_mask(node, rows, coordinates);
    default:
      throw InternalError(
          fmt::format("{}: leaf '{}' cannot be lowered", input_.name, node.op->name));
  }
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
  if (node.op->id == OpId::per_child) return value(operand, owner(rows), coordinates);
  if (node.op->id == OpId::slice && plan_.treatment[operand] == Treatment::tile &&
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

const Place* Expressions::whole_place(NodeId id) {
  const auto lies_whole = [&](const Place& place) {
    return is_whole(graph_[id].type.shape, place.shape);
  };
  const auto& all = places(id);
  const auto found = std::ranges::find_if(all, lies_whole);
  return found == all.end() ? nullptr : &*found;
}

Segment Expressions::segment(const Piece& piece, const RowContext& reader) {
  const Node& node = graph_[piece.node];
  const RowContext rows = piece.of_owner ? owner(reader) : reader;
  const auto at = [&](BufferId buffer, ExprId first) {
    return Segment{buffer, builder_.add(first, builder_.integer(piece.begin)), piece.length};
  };
  if (piece.stored) {
    const Place* place = whole_place(piece.node);
    internal_check(place, "{}: node {} ({}) is not stored in one piece", input_.name, piece.node,
                   node.op->name);
    const std::vector<ExprId> zero(node.type.shape.rank(), builder_.integer(0));
    return at(place->buffer, address(*place, rows, zero));
  }
  if (const auto from = leaf_row(node, rows))
    return at(from->buffer, builder_.multiply(from->row, from->stride));
  internal_check(node.op->id == OpId::row, "{}: '{}' has no address", input_.name, node.op->name);
  const Node& table = graph_[node.operands[0]];
  return at(buffer(BufferRole::param, table.attributes.ints[0], 0, table.type.shape.size()),
            builder_.multiply(index_value(node.operands[1], rows), node.type.shape.size()));
}

}  // namespace espalier::codegen
