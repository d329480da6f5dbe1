// Random calls of the cells of tests/support/random_programs.h, recorded into any recorder: DAGs of
// all arities in which values are read twice or never, with a loss for each example.
#pragma once

#include <algorithm>
#include <vector>

#include "ir/error.h"
#include "ir/recorder.h"
#include "tests/support/random.h"
#include "tests/support/random_programs.h"

namespace espalier::test {

/// One example, a function of its number.
inline void record_random(const Instances& batch, std::uint64_t example) {
  const ir::Program& program = batch.recorder().source();
  Random random(example * 77 + 5);
  std::vector<ir::CallId> calls;
  const auto cell = [&](const char* name) {
    for (std::size_t i = 0; i < program.cells.size(); ++i)
      if (program.cells[i].name == name) return ir::CellId(i);
    throw InternalError(name);
  };
  const auto index = [&] { return std::int32_t(random.integer(random_index_bound)); };
  const auto call = [&](const char* name, std::vector<ir::CallId> operands,
                        std::vector<std::int32_t> indices) {
    return batch.recorder().call(cell(name), operands, indices);
  };
  const auto recent = [&] {  // values may be read twice, or never
    return calls[calls.size() - 1 -
                 std::size_t(random.integer(int(std::min<std::size_t>(4, calls.size()))))];
  };
  batch.begin_example(example);
  const int size = 2 + random.integer(14);
  for (int i = 0; i < size; ++i) {
    const int kind = calls.empty() ? 0 : random.integer(4);
    if (kind == 0) {
      calls.push_back(call("leaf", {}, {index()}));
    } else if (kind == 1) {
      calls.push_back(call("unary", {recent()}, {index()}));
    } else if (kind == 2) {
      calls.push_back(call("node", {recent(), recent()}, {}));
    } else {
      std::vector<ir::CallId> children;
      for (int k = random.integer(4); k > 0; --k) children.push_back(recent());
      const auto count = std::int32_t(children.size());
      calls.push_back(call("nary", children, {index(), count}));
    }
  }
  batch.loss(batch.recorder().handle(call("loss", {calls.back()}, {index()})));
}

}  // namespace espalier::test
