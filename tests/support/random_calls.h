// Random calls of the cells of tests/support/random_programs.h, recorded into any recorder: DAGs of
// all arities in which values are read twice or never, with a loss for each example.
#pragma once

#include <algorithm>
#include <vector>

#include "base/error.h"
#include "ir/record/recorder.h"
#include "tests/support/random.h"
#include "tests/support/random_programs.h"

namespace espalier::test {

/// One example, a function of its number, recorded as example `id`. `between` is done after some of
/// the calls, with the call.
template <class Between>
void record_random(const Instances& minibatch, std::uint64_t example, std::uint64_t id,
                   const Between& between) {
  const ir::Program& program = minibatch.recorder().source();
  Random random(example * 77 + 5);
  std::vector<std::vector<ir::CallId>> calls(program.states.size());  // by state
  const auto recent = [&](ir::StateId state) {  // values may be read twice, or never
    const auto& of = calls[std::size_t(state)];
    return of[of.size() - 1 - random.below(std::min<std::size_t>(4, of.size()))];
  };
  const auto can_call = [&](const ir::Cell& cell) {
    return std::ranges::all_of(cell.ports, [&](const ir::Port& port) {
      return port.kind != ir::PortKind::child || !calls[std::size_t(port.state)].empty();
    });
  };
  const auto call = [&](ir::CellId id) {
    const ir::Cell& cell = program.cells[std::size_t(id)];
    std::vector<ir::CallId> operands;
    std::vector<std::int32_t> indices;
    for (const ir::Port& port : cell.ports) {
      int count = port.kind == ir::PortKind::child ? 1 : 0;
      if (port.kind == ir::PortKind::index) indices.push_back(random.integer(random_index_bound));
      if (port.kind == ir::PortKind::children) {
        count = calls[std::size_t(port.state)].empty() ? 0 : random.integer(4);
        indices.push_back(count);
      }
      for (; count > 0; --count) operands.push_back(recent(port.state));
    }
    const ir::CallId made = minibatch.recorder().call(id, operands, indices);
    calls[std::size_t(cell.state)].push_back(made);
    if (random.chance(0.2)) between(made);
    return made;
  };
  minibatch.begin_example(id);
  const auto loss = ir::CellId(program.cells.size()) - 1;
  internal_check(program.cells[std::size_t(loss)].name == "loss", "the last cell is no loss");
  for (int left = 2 + random.integer(14); left > 0 || !can_call(program.cells[std::size_t(loss)]);
       --left) {
    const ir::CellId id = random.integer(loss);
    if (can_call(program.cells[std::size_t(id)])) call(id);
  }
  minibatch.loss(minibatch.recorder().handle(call(loss)));
}

inline void record_random(const Instances& minibatch, std::uint64_t example, std::uint64_t id) {
  record_random(minibatch, example, id, [](ir::CallId) {});
}
inline void record_random(const Instances& minibatch, std::uint64_t example) {
  record_random(minibatch, example, example);
}

}  // namespace espalier::test
