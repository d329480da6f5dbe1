// Reductions: over children of any number, across lanes, nested, and of other reductions.
#include <gtest/gtest.h>

#include <algorithm>
#include <limits>

#include "tests/codegen/kernel_runner.h"

namespace espalier::codegen {
namespace {

using ir::Opcode;

constexpr std::int64_t rows = 12;
const std::vector<std::int32_t> offsets{0, 0, 1, 3, 3, 6, 10, 15, 15, 32, 48, 65, 67};
const std::int64_t child_rows = offsets.back();

/// Buffers: 0 the result, 1 the children's values, 2 the offsets of the children, 3 and 4 more.
struct Fixture {
  Kernel kernel;
  KernelBuilder b{kernel};
  BufferId y, x, children, u, v;

  explicit Fixture(std::int64_t n)
      : y(b.buffer({.role = BufferRole::scratch, .a = 0, .row_elements = n})),
        x(b.buffer({.role = BufferRole::state_field, .row_elements = n})),
        children(b.buffer({.role = BufferRole::port_offsets})),
        u(b.buffer({.role = BufferRole::scratch, .a = 1, .row_elements = n})),
        v(b.buffer({.role = BufferRole::scratch, .a = 2, .row_elements = n})) {}

  ExprId begin(const Stage& s) { return b.load_index(children, b.var(s.row)); }
  ExprId end(const Stage& s) { return b.load_index(children, b.add(b.var(s.row), b.integer(1))); }
  ExprId scalar(Opcode opcode, std::vector<int> operands) { return b.emit(opcode, operands, 0); }
  ExprId at(ExprId row, std::int64_t n, ExprId j) { return b.add(b.multiply(row, n), j); }
};

void check_reduction(std::int64_t n, const std::function<Kernel()>& kernel, Expectation expect = {},
                     std::int64_t elements = 0) {
  check({.kernel = [&](const Target&) { return kernel(); },
         .memory =
             [&](const Kernel&) {
               std::mt19937 random(5);
               Memory memory;
               for (BufferId id = 0; id < 5; ++id) {
                 if (id == 2)
                   memory.add_integers(offsets);
                 else
                   memory.add_floats(std::max(child_rows * n, elements), random);
               }
               return memory;
             },
         .rows = rows,
         .child_rows = child_rows,
         .expect = expect});
}

class Reductions : public testing::TestWithParam<Reduction> {};

TEST_P(Reductions, OverChildrenInVectors) {
  for (std::int64_t n : {1, 5, 16, 35})
    check_reduction(n, [&] {
      Fixture f(n);
      Stage s = instance_stage(f.b, {n});
      const VarId child = f.b.variable();
      const ExprId j = f.b.var(s.variables[0]);
      const ExprId value = f.b.load(f.x, f.at(f.b.var(child), n, j));
      const ExprId second = f.b.load(f.u, f.at(f.b.var(s.row), n, j));
      const ExprId sum = f.b.reduce(GetParam(), child, f.begin(s), f.end(s), value,
                                    GetParam() == Reduction::fma ? second : -1);
      s.stores = {{f.y, element(f.b, s), f.scalar(Opcode::mul, {sum, second})}};
      f.kernel.stages = {s};
      return f.kernel;
    });
}

TEST_P(Reductions, OfStaticLengthInVectors) {
  for (std::int64_t n : {1, 5, 16, 35})
    for (std::int64_t length : {0, 1, 2, 5})
      check_reduction(n, [&] {
        Fixture f(n);
        Stage s = instance_stage(f.b, {n});
        const VarId i = f.b.variable();
        const ExprId value =
            f.b.load(f.x, f.at(f.b.add(f.b.var(s.row), f.b.var(i)), n, f.b.var(s.variables[0])));
        const ExprId same = f.b.load(f.u, f.b.var(i));
        const ExprId sum = f.b.reduce(GetParam(), i, f.b.integer(0), f.b.integer(length), value,
                                      GetParam() == Reduction::fma ? same : -1);
        s.stores = {{f.y, element(f.b, s), sum}};
        f.kernel.stages = {s};
        return f.kernel;
      });
}

/// Lanes are summed in another order: one last place for each of the terms in a lane and the tree.
Expectation for_lanes(Reduction reduction, std::int64_t terms) {
  if (reduction == Reduction::max) return {};
  return {.absolute = static_cast<double>(terms + 8) * 0x1p-24 * static_cast<double>(terms)};
}

TEST_P(Reductions, AcrossLanesOfStaticLength) {
  for (std::int64_t n : {0, 1, 2, 3, 5, 8, 15, 16, 17, 64, 150, 301})
    check_reduction(
        n,
        [&] {
          Fixture f(n);
          Stage s = instance_stage(f.b, {});
          s.vector_reduce = true;
          const VarId i = f.b.variable();
          const ExprId at = f.at(f.b.var(s.row), n, f.b.var(i));
          const ExprId sum =
              f.b.reduce(GetParam(), i, f.b.integer(0), f.b.integer(n), f.b.load(f.x, at),
                         GetParam() == Reduction::fma ? f.b.load(f.u, at) : -1);
          s.stores = {{f.y, f.b.var(s.row), f.scalar(Opcode::add, {sum, sum})}};
          f.kernel.stages = {s};
          return f.kernel;
        },
        for_lanes(GetParam(), n), rows);
}

TEST_P(Reductions, AcrossLanesOverChildren) {
  check_reduction(
      1,
      [&] {
        Fixture f(1);
        Stage s = instance_stage(f.b, {});
        s.vector_reduce = true;
        const VarId i = f.b.variable();
        const ExprId sum =
            f.b.reduce(GetParam(), i, f.begin(s), f.end(s), f.b.load(f.x, f.b.var(i)),
                       GetParam() == Reduction::fma ? f.b.load(f.u, f.b.var(s.row)) : -1);
        s.stores = {{f.y, f.b.var(s.row), sum}};
        f.kernel.stages = {s};
        return f.kernel;
      },
      for_lanes(GetParam(), 20));
}

TEST_P(Reductions, NestedInVectors) {
  for (std::int64_t n : {1, 20})
    check_reduction(n, [&] {
      // Over the children, of what is reduced over all children before them.
      Fixture f(n);
      Stage s = instance_stage(f.b, {n});
      const VarId outer = f.b.variable(), inner = f.b.variable();
      const ExprId j = f.b.var(s.variables[0]);
      const ExprId value = f.b.load(f.x, f.at(f.b.var(inner), n, j));
      const ExprId weight = f.b.load(f.u, f.at(f.b.var(outer), n, j));
      const bool fma = GetParam() == Reduction::fma;
      const ExprId part =
          f.b.reduce(GetParam(), inner, f.begin(s), f.b.var(outer), value, fma ? weight : -1);
      const ExprId sum = f.b.reduce(GetParam(), outer, f.begin(s), f.end(s),
                                    f.scalar(Opcode::mul, {part, weight}), fma ? weight : -1);
      s.stores = {{f.y, element(f.b, s), sum}};
      f.kernel.stages = {s};
      return f.kernel;
    });
}

TEST_P(Reductions, NestedAcrossLanes) {
  for (std::int64_t n : {5, 40})
    check_reduction(n, [&] {
      // Max over j across lanes of a sum over the children.
      Fixture f(n);
      Stage s = instance_stage(f.b, {});
      s.vector_reduce = true;
      const VarId child = f.b.variable(), i = f.b.variable();
      const ExprId at = f.at(f.b.var(child), n, f.b.var(i));
      const ExprId part = f.b.reduce(GetParam(), child, f.begin(s), f.end(s), f.b.load(f.x, at),
                                     GetParam() == Reduction::fma ? f.b.load(f.u, at) : -1);
      s.stores = {{f.y, f.b.var(s.row),
                   f.b.reduce(Reduction::max, i, f.b.integer(0), f.b.integer(n), part)}};
      f.kernel.stages = {s};
      return f.kernel;
    });
}

INSTANTIATE_TEST_SUITE_P(Kinds, Reductions,
                         testing::Values(Reduction::sum, Reduction::max, Reduction::fma,
                                         Reduction::wide_sum),
                         [](const auto& info) -> std::string {
                           if (info.param == Reduction::sum) return "Sum";
                           if (info.param == Reduction::wide_sum) return "WideSum";
                           return info.param == Reduction::max ? "Max" : "Fma";
                         });

TEST(Softmax, WithAndWithoutLanes) {
  for (std::int64_t n : {3, 16, 45})
    for (bool lanes : {false, true})
      check_reduction(
          n,
          [&] {
            Fixture f(n);
            Stage s = instance_stage(f.b, {n});
            s.vector_reduce = lanes;
            const VarId i = f.b.variable(), k = f.b.variable();
            const auto x = [&](ExprId j) { return f.b.load(f.x, f.at(f.b.var(s.row), n, j)); };
            const auto all = [&](Reduction reduction, VarId v, ExprId body) {
              return f.b.reduce(reduction, v, f.b.integer(0), f.b.integer(n), body);
            };
            const ExprId most = all(Reduction::max, i, x(f.b.var(i)));
            const auto exp = [&](ExprId j) {
              return f.scalar(Opcode::exp, {f.scalar(Opcode::sub, {x(j), most})});
            };
            const ExprId sum = all(Reduction::sum, k, exp(f.b.var(k)));
            s.stores = {
                {f.y, element(f.b, s), f.scalar(Opcode::div, {exp(f.b.var(s.variables[0])), sum})}};
            f.kernel.stages = {s};
            return f.kernel;
          },
          {.ulps = 8 + static_cast<double>(n) / 4});
}

TEST(Reduce, OverAllRowsOnce) {
  for (std::int64_t n : {1, 16, 50})
    check_reduction(n, [&] {
      Fixture f(n);
      Stage s = once_stage(f.b, {n});
      const VarId row = f.b.variable();
      const ExprId count = f.b.load_index(f.children, f.b.integer(rows));
      const ExprId value = f.b.load(f.x, f.at(f.b.var(row), n, f.b.var(s.variables[0])));
      s.stores = {
          {f.y, element(f.b, s), f.b.reduce(Reduction::sum, row, f.b.integer(0), count, value)}};
      f.kernel.stages = {s};
      return f.kernel;
    });
}

TEST(Reduce, UpToTheLesserOfTwoBounds) {
  for (std::int64_t n : {1, 5, 18, 40})
    check_reduction(n, [&] {
      // The bound and, differing by lane, the address.
      Fixture f(n);
      Stage s = instance_stage(f.b, {n});
      const VarId child = f.b.variable();
      const ExprId j = f.b.least(f.b.var(s.variables[0]), f.b.integer(7));
      const ExprId end = f.b.least(f.end(s), f.b.add(f.begin(s), f.b.integer(4)));
      const ExprId value = f.b.load(f.x, f.at(f.b.var(child), n, j));
      s.stores = {
          {f.y, element(f.b, s), f.b.reduce(Reduction::sum, child, f.begin(s), end, value)}};
      f.kernel.stages = {s};
      return f.kernel;
    });
}

TEST(Reduce, OverChildrenInAChildrenStage) {
  // A stage over child rows feeds a stage over instances.
  for (std::int64_t n : {1, 18})
    check_reduction(n, [&] {
      Fixture f(n);
      Stage each = instance_stage(f.b, {n});
      each.rows = RowDomain::children;
      each.port = 0;
      const ExprId x = f.b.load(f.x, element(f.b, each));
      each.stores = {{f.u, element(f.b, each), f.scalar(Opcode::mul, {x, x})}};
      Stage s = instance_stage(f.b, {n});
      const VarId child = f.b.variable();
      const ExprId value = f.b.load(f.u, f.at(f.b.var(child), n, f.b.var(s.variables[0])));
      s.stores = {
          {f.y, element(f.b, s), f.b.reduce(Reduction::sum, child, f.begin(s), f.end(s), value)}};
      f.kernel.stages = {each, s};
      return f.kernel;
    });
}

TEST(Reduce, MaxIgnoresNaN) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  for (bool lanes : {false, true})
    check({.kernel =
               [&](const Target&) {
                 Fixture f(1);
                 Stage s = instance_stage(f.b, {});
                 s.vector_reduce = lanes;
                 const VarId i = f.b.variable();
                 const ExprId x = f.b.load(f.x, f.at(f.b.var(s.row), 20, f.b.var(i)));
                 s.stores = {{f.y, f.b.var(s.row),
                              f.b.reduce(Reduction::max, i, f.b.integer(0), f.b.integer(20), x)}};
                 f.kernel.stages = {s};
                 return f.kernel;
               },
           .memory =
               [&](const Kernel&) {
                 std::vector<float> x(40, nan);
                 for (int i : {3, 4, 17}) x[i] = static_cast<float>(-i);
                 Memory memory;
                 for (int i = 0; i < 5; ++i) {
                   if (i == 2)
                     memory.add_integers(offsets);
                   else
                     memory.add_floats(x);
                 }
                 return memory;
               },
           .rows = 2});
}

}  // namespace
}  // namespace espalier::codegen
