#include "tests/codegen/sample_kernels.h"

#include <algorithm>

namespace espalier::codegen {

using ir::Opcode;

namespace {

constexpr std::int64_t state_rows = 9;

constexpr std::int64_t rows = random_kernel_rows, elements = 3000, indices = 400, index_bound = 40;

class RandomKernel {
 public:
  explicit RandomKernel(unsigned seed) : random_(seed) {}

  Kernel make() {
    for (int i = 0; i < 3; ++i) b_.buffer({.role = BufferRole::scratch, .a = i, .row_elements = 1});
    for (int i = 0; i < 2; ++i) b_.buffer({.role = BufferRole::port_values, .a = i});
    b_.buffer({.role = BufferRole::random_keys});
    for (int i = pick(2) + 1; i > 0; --i) add_stage();
    return kernel_;
  }

 private:
  int pick(int n) { return static_cast<int>(random_() % static_cast<unsigned>(n)); }
  template <class T>
  T pick_of(const std::vector<T>& from) {
    return from[pick(static_cast<int>(from.size()))];
  }

  void add_stage() {
    static const std::vector<std::vector<std::int64_t>> shapes{
        {}, {1}, {3}, {16}, {21}, {40}, {2, 5}, {3, 17}, {2, 2, 9}};
    Stage s = instance_stage(b_, pick_of(shapes));
    only_max_ = s.vector_reduce = pick(4) == 0;
    scope_ = s.variables;
    scope_.push_back(s.row);
    const ExprId value = number(4);
    s.stores = {{0, element(b_, s), value}};
    if (pick(2)) s.stores.push_back({1, element(b_, s), number(2)});
    kernel_.stages.push_back(s);
  }

  /// An integer in [0, bound]; affine or not.
  ExprId integer(std::int64_t bound, int depth) {
    switch (pick(depth > 0 ? 6 : 2)) {
      case 0:
        return b_.integer(pick(static_cast<int>(std::min<std::int64_t>(bound, 7)) + 1));
      case 1:
      case 2: {
        const ExprId v = b_.var(pick_of(scope_));
        return bound >= 60 ? v : b_.modulo(v, bound + 1);
      }
      case 3: {
        // At most (bound - half) + half, each below what is left of the bound.
        const std::int64_t half = bound / 2;
        return b_.add(integer(half, depth - 1), integer(bound - half, depth - 1));
      }
      case 4: {
        const std::int64_t factor = 1 + pick(5);
        if (bound / factor < 60) return b_.modulo(integer(2 * bound, depth - 1), bound + 1);
        return b_.multiply(integer(bound / factor, depth - 1), factor);
      }
      default:
        if (bound < index_bound || pick(2))
          return b_.divide(integer(3 * bound, depth - 1), 3 + pick(3));
        return b_.load_index(3 + pick(2), integer(indices - 1, depth - 1));
    }
  }

  ExprId load() { return b_.load(2, integer(elements - 1, 3)); }

  ExprId number(int depth) {
    static const std::vector<Opcode> binary{Opcode::add, Opcode::sub, Opcode::mul,  Opcode::div,
                                            Opcode::max, Opcode::min, Opcode::less, Opcode::equal};
    static const std::vector<Opcode> unary{Opcode::neg, Opcode::abs, Opcode::sqrt};
    if (depth == 0) return pick(8) ? load() : b_.number(0.25 * pick(9) - 1);
    switch (pick(8)) {
      case 0:
      case 1:
      case 2:
        return emit(pick_of(binary), {number(depth - 1), number(depth - 1)});
      case 3:
        return emit(pick_of(unary), {number(depth - 1)});
      case 4:
        return emit(Opcode::select, {number(depth - 1), number(depth - 1), number(depth - 1)});
      case 5:
        if (pick(2)) return b_.to_float(integer(1000, 2));
        return b_.random(5, integer(rows - 1, 1), 7, integer(1000, 2));
      default:
        return reduce(depth - 1);
    }
  }

  ExprId emit(Opcode opcode, std::vector<int> operands) { return b_.emit(opcode, operands, 0); }

  ExprId reduce(int depth) {
    const auto kind = only_max_ ? Reduction::max : static_cast<Reduction>(pick(3));
    const VarId v = b_.variable();
    // The bounds are the same in all lanes: they come from the row.
    const std::vector<VarId> outer = std::exchange(scope_, {scope_.back()});
    ExprId begin = b_.integer(0), end = b_.integer(pick(20));
    if (pick(2)) {
      begin = integer(40, 2);
      end = b_.add(begin, integer(20, 2));
      if (pick(4) == 0) end = begin;
    }
    scope_ = outer;
    scope_.insert(scope_.begin(), v);
    const ExprId body = number(depth);
    const ExprId second = kind == Reduction::fma ? number(depth) : -1;
    scope_ = outer;
    const int block = kind != Reduction::max && pick(3) == 0 ? 1 + pick(9) : 0;
    return b_.reduce(kind, v, begin, end, body, second, block);
  }

  std::mt19937 random_;
  Kernel kernel_;
  KernelBuilder b_{kernel_};
  std::vector<VarId> scope_;  // the stage's row last
  bool only_max_ = false;
};

}  // namespace

Kernel contraction_kernel(const Target& target, const ContractionSample& shape) {
  Kernel kernel;
  KernelBuilder b(kernel);
  kernel.packings.push_back({.m = shape.n * shape.gates,
                             .k = shape.k,
                             .gates = shape.gates,
                             .lanes = panel_lanes(target, shape.gates, static_cast<long>(shape.n)),
                             .blocks = {}});
  const BufferId weights = b.buffer({.role = BufferRole::packed, .a = 0});
  const BufferId y = b.buffer({.role = BufferRole::own_field, .row_elements = shape.n});
  const BufferId all = b.buffer({.role = BufferRole::scratch, .row_elements = shape.n});
  const BufferId bias = b.buffer({.role = BufferRole::param, .row_elements = shape.n});
  const BufferId rows = b.buffer({.role = BufferRole::port_values});

  Stage s = instance_stage(b, {shape.n});
  if (shape.children) {
    s.rows = RowDomain::children;
    s.port = 0;
  }
  const ExprId row = shape.gathered ? b.load_index(rows, b.var(s.row)) : b.var(s.row);
  Contraction contraction{.weights = weights, .packing = 0, .terms = {}};
  std::int64_t k = 0;
  for (int t = 0; t < shape.terms; ++t) {
    const std::int64_t end = shape.k * (t + 1) / shape.terms;
    const BufferId x = b.buffer({.role = BufferRole::state_field, .a = t, .row_elements = end - k});
    contraction.terms.push_back({x, b.multiply(row, end - k), k, end - k});
    k = end;
  }
  const ExprId j = b.var(s.variables[0]);
  int sum[] = {b.load(bias, j), b.load(contraction.terms[0].x, contraction.terms[0].address)};
  sum[0] = b.emit(Opcode::mul, sum, 0);
  for (int g = 0; g < shape.gates; ++g) {
    int product[] = {b.accumulator(g), b.number(g + 1)};
    sum[1] = b.emit(Opcode::mul, product, 0);
    sum[0] = b.emit(Opcode::add, sum, 0);
    const ExprId at =
        b.add(b.multiply(b.var(s.row), shape.n * shape.gates), b.add(b.integer(g * shape.n), j));
    s.stores.push_back({all, at, b.accumulator(g)});
  }
  // Added to what is there, so that a part that runs twice shows.
  sum[1] = b.load(y, element(b, s));
  s.stores.push_back({y, element(b, s), b.emit(Opcode::add, sum, 0)});
  s.contraction = contraction;
  kernel.stages = {s};
  return kernel;
}

Memory contraction_memory(const Kernel& kernel, const ContractionSample& shape) {
  std::mt19937 random(11);
  Memory memory;
  for (const Buffer& buffer : kernel.buffers) {
    switch (buffer.role) {
      case BufferRole::packed: {
        const Packing& packing = kernel.packings[0];
        // Lanes past n hold 0; infinities there would show if a lane leaked.
        std::vector<float> weights(packing.elements());
        std::uniform_real_distribution<float> uniform(-1, 1);
        for (float& weight : weights) weight = uniform(random);
        memory.add_floats(weights, true);
        break;
      }
      case BufferRole::port_values: {
        std::vector<std::int32_t> rows(shape.rows);
        for (auto& row : rows) row = static_cast<std::int32_t>(random() % state_rows);
        memory.add_integers(rows);
        break;
      }
      case BufferRole::scratch:
        memory.add_floats(shape.rows * shape.n * shape.gates, random);
        break;
      case BufferRole::param:
        memory.add_floats(shape.n, random);
        break;
      default:
        memory.add_floats(std::max(shape.rows, state_rows) * buffer.row_elements, random);
    }
  }
  return memory;
}

Kernel product_kernel(const OuterSample& shape) {
  Kernel kernel;
  KernelBuilder b(kernel);
  const BufferId gradient =
      b.buffer({.role = BufferRole::param_gradient, .row_elements = shape.m * shape.k});
  const BufferId left = b.buffer({.role = BufferRole::contribution, .row_elements = shape.m});
  const BufferId right = b.buffer({.role = BufferRole::state_field, .row_elements = shape.k});
  const BufferId rows = b.buffer({.role = BufferRole::port_values});
  const BufferId count = b.buffer({.role = BufferRole::row_count, .a = -1});

  Stage s = once_stage(b, {shape.m, shape.k});
  s.outer_product = true;
  const VarId row = b.variable();
  const ExprId i = b.var(s.variables[0]), j = b.var(s.variables[1]);
  const ExprId other = shape.gathered ? b.load_index(rows, b.var(row)) : b.var(row);
  const ExprId x = b.load(left, b.add(b.multiply(b.var(row), shape.m * shape.left_stride),
                                      b.multiply(i, shape.left_stride)));
  const ExprId y = b.load(right, b.add(b.multiply(other, shape.k), j));
  const ExprId sum = b.reduce(Reduction::fma, row, b.integer(0), b.load_index(count, b.integer(0)),
                              x, y, row_block);
  const ExprId at = element(b, s);
  const int operands[] = {b.load(gradient, at), sum};
  s.stores = {{gradient, at, shape.accumulate ? b.emit(Opcode::add, operands, 0) : sum}};
  kernel.stages = {s};
  return kernel;
}

Memory product_memory(const OuterSample& shape) {
  std::mt19937 random(2);
  Memory memory;
  memory.add_floats(shape.m * shape.k, random);
  memory.add_floats(shape.rows * shape.m * shape.left_stride, random);
  memory.add_floats(std::max(shape.rows, state_rows) * shape.k, random);
  std::vector<std::int32_t> rows(shape.rows);
  for (auto& row : rows) row = static_cast<std::int32_t>(random() % state_rows);
  memory.add_integers(rows);
  memory.add_integers(std::vector{static_cast<std::int32_t>(shape.rows)});
  return memory;
}

Kernel random_kernel(unsigned seed) { return RandomKernel(seed).make(); }

Memory random_kernel_memory(unsigned seed) {
  std::mt19937 random(seed);
  Memory memory;
  for (int i = 0; i < 2; ++i) memory.add_floats(rows * 60, random);
  memory.add_floats(elements, random);
  for (int i = 0; i < 2; ++i) {
    std::vector<std::int32_t> values(indices);
    for (auto& value : values) value = static_cast<std::int32_t>(random() % (index_bound + 1));
    memory.add_integers(values);
  }
  std::vector<std::uint64_t> keys(rows);
  for (auto& key : keys) key = random() * 0x100000001ULL;
  memory.add_keys(keys);
  return memory;
}

}  // namespace espalier::codegen
