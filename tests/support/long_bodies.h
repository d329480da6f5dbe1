// Cell bodies of thousands of ops: nothing may recurse on the machine's stack as deep as they are
// long, nor take more than some time for each op.
#pragma once

#include <fmt/format.h>

#include <algorithm>
#include <ctime>
#include <string>

#include "ir/text/parse.h"
#include "tests/support/random.h"

namespace espalier::test {

/// Seconds of processor time; those of other programs do not count.
inline double processor_seconds() { return double(std::clock()) / CLOCKS_PER_SEC; }

/// Writes a program whose cell `long` is a body of many ops, from a state S of 4 numbers to another
/// one, and whose cell `leaf` makes such a state from a row of param `table`. `loss` sums up.
class LongBody {
 public:
  LongBody() { add("port x.0"); }

  /// Value number `n` of the body, "%n"; the shape is that of a state unless said otherwise.
  int add(const std::string& expression, const std::string& shape = "4") {
    text_ += fmt::format("  %{} = {} : f32[{}]\n", count_, expression, shape);
    return count_++;
  }
  int size() const { return count_; }
  std::string text(int result) const {
    return "program long\nparam table [9, 4] uniform(1)\nparam w [4, 4] uniform(0.3)\n"
           "state S f32[4]\nstate L f32[]\n"
           "cell leaf(i: index) -> S {\n  %0 = port i : i32[]\n  %1 = param table : f32[9, 4]\n"
           "  %2 = row(%1, %0) : f32[4]\n  return %2\n}\n"
           "cell long(x: child S) -> S {\n" +
           text_ + fmt::format("  return %{}\n}}\n", result) +
           "cell loss(x: child S) -> L {\n  %0 = port x.0 : f32[4]\n"
           "  %1 = sum(%0, axis=0) : f32[]\n  return %1\n}\n";
  }
  ir::Program program() const { return ir::parse(text(count_ - 1), "long"); }

 private:
  std::string text_;
  int count_ = 0;
};

inline ir::Program chained_tanh(int ops) {
  LongBody body;
  for (int i = 0; i < ops; ++i) body.add(fmt::format("tanh(%{})", body.size() - 1));
  return body.program();
}

/// Element-wise ops of earlier values, near and far.
inline ir::Program mixed_ops(int ops) {
  LongBody body;
  Random random(3);
  const auto any = [&](int reach) {
    return body.size() - 1 - int(random.below(std::min(reach, body.size())));
  };
  for (int i = 0; i < ops; ++i) {
    switch (random.below(5)) {
      case 0:
        body.add(fmt::format("tanh(%{})", any(3)));
        break;
      case 1:
        body.add(fmt::format("sigmoid(%{})", any(3)));
        break;
      case 2:
        body.add(fmt::format("mul(%{}, %{})", any(3), any(1000)));
        break;
      case 3:
        body.add(fmt::format("max(%{}, %{})", any(3), any(20)));
        break;
      default: {
        const int sum = body.add(fmt::format("add(%{}, %{})", any(3), any(1000)));
        body.add(fmt::format("tanh(%{})", sum));
        ++i;
      }
    }
  }
  return body.program();
}

/// x + x·x + …: a chain of additions.
inline ir::Program chained_sums(int ops) {
  LongBody body;
  int sum = body.add("mul(%0, %0)");
  for (int i = 0; i < ops; ++i) sum = body.add(fmt::format("add(%{}, %0)", sum));
  body.add(fmt::format("tanh(%{})", sum));
  return body.program();
}

/// Vectors, sums of them and products with weights in turns: no two fit one loop.
inline ir::Program mixed_kinds(int ops) {
  LongBody body;
  const int w = body.add("param w", "4, 4");
  int x = 0;
  for (int i = 0; i < ops; i += 6) {
    const int y = body.add(fmt::format("matmul(%{}, %{})", w, x));
    const int z = body.add(fmt::format("tanh(%{})", y));
    const int total = body.add(fmt::format("sum(%{}, axis=0)", z), "");
    const int wide = body.add(fmt::format("broadcast(%{})", total));
    const int shifted = body.add(fmt::format("sub(%{}, %{})", z, wide));
    x = body.add(fmt::format("tanh(%{})", shifted));
  }
  return body.program();
}

}  // namespace espalier::test
