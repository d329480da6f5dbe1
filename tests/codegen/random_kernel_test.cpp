// Random expressions in random loop nests: whatever the emitter hoists, shares, masks or gathers,
// the bits are those of the interpreter.
#include <gtest/gtest.h>

#include "tests/codegen/kernel_runner.h"

namespace espalier::codegen {
namespace {

using ir::Opcode;

constexpr std::int64_t rows = 5, elements = 3000, indices = 400, index_bound = 40;

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

TEST(RandomKernels, GiveTheBitsOfTheInterpreter) {
  for (unsigned seed = 0; seed < 120; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    const Kernel kernel = RandomKernel(seed).make();
    check({.kernel = [&](const Target&) { return kernel; },
           .memory =
               [&](const Kernel&) {
                 std::mt19937 random(seed);
                 Memory memory;
                 for (int i = 0; i < 2; ++i) memory.add_floats(rows * 60, random);
                 memory.add_floats(elements, random);
                 for (int i = 0; i < 2; ++i) {
                   std::vector<std::int32_t> values(indices);
                   for (auto& value : values)
                     value = static_cast<std::int32_t>(random() % (index_bound + 1));
                   memory.add_integers(values);
                 }
                 std::vector<std::uint64_t> keys(rows);
                 for (auto& key : keys) key = random() * 0x100000001ULL;
                 memory.add_keys(keys);
                 return memory;
               },
           .rows = rows});
    if (testing::Test::HasFatalFailure()) return;
  }
}

}  // namespace
}  // namespace espalier::codegen
