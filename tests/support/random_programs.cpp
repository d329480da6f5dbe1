#include "tests/support/random_programs.h"

#include <fmt/format.h>

#include "base/error.h"
#include "tests/support/random_body.h"

namespace espalier::test {

using namespace ir;

namespace {

/// A shape of such extents, a vector more often than not.
Shape random_shape(Random& random, const std::vector<int>& extents) {
  const double kind = random.real(0, 1);
  const int rank = kind < 0.1 ? 0 : kind < 0.6 ? 1 : kind < 0.9 ? 2 : 3;
  Shape shape;
  for (int axis = 0; axis < rank; ++axis) {
    const Shape longer = shape.prepend(random.pick(extents));
    if (longer.size() <= max_random_elements / 2) shape = longer;
  }
  return shape;
}

State random_state(std::string name, Random& random, const std::vector<int>& extents) {
  State state{std::move(name), {}};
  for (int fields = 1 + random.integer(3); fields > 0; --fields)
    state.fields.push_back({DType::f32, random_shape(random, extents), per_instance});
  return state;
}

Cell random_cell_of(Program& program, std::string name, std::vector<Port> ports, StateId state,
                    Random& random, const BodyOptions& options,
                    std::vector<BodyScript>* scripts = nullptr) {
  Cell cell{std::move(name), std::move(ports), state, {}, {}};
  BodyScript script = write_random_body(program, cell, random, options);
  if (scripts) scripts->push_back(std::move(script));
  return cell;
}

}  // namespace

Program random_program(std::uint64_t seed, RandomProgramOptions options,
                       std::vector<BodyScript>* scripts) {
  internal_check(options.width >= random_index_bound, "a width of {}", options.width);
  Random random(seed);
  Program program;
  program.name = fmt::format("random_{}", seed);
  const int d = options.width;
  const BodyOptions body{{d, d, 1 + random.integer(5)}, options.ops, options.withheld_gradients};
  program.states = {random_state("State", random, body.extents),
                    random_state("Wide", random, {d, 2 * d, 2}),
                    {"Loss", {{DType::f32, {}, per_instance}}}};
  const Port word{"word", PortKind::index, -1};
  const auto port = [](std::string name, PortKind kind, StateId state) {
    return Port{std::move(name), kind, state};
  };
  const auto child = [&](std::string name) { return port(std::move(name), PortKind::child, 0); };
  const std::vector<std::tuple<std::string, std::vector<Port>, StateId>> cells = {
      {"leaf", {word}, 0},
      {"unary", {word, child("x")}, 0},
      {"node", {child("l"), child("r")}, 0},
      {"nary", {word, port("hs", PortKind::children, 0)}, 0},
      {"join", {child("l"), child("r")}, 1},
      {"part", {port("x", PortKind::child, 1), port("hs", PortKind::children, 1)}, 0},
      {"loss", {child("s"), {"label", PortKind::index, -1}}, 2}};
  const std::size_t only = 1 + random.below(3);  // leads to State whatever there is
  for (std::size_t i = 0; i < cells.size(); ++i) {
    const auto& [name, ports, state] = cells[i];
    const bool between = i > 0 && i + 1 < cells.size();
    if (options.few_cells && between && i != only && random.chance(0.6)) continue;
    program.cells.push_back(random_cell_of(program, name, ports, state, random, body, scripts));
  }
  return program;
}

Program random_model(std::uint64_t seed, std::vector<BodyScript>* scripts) {
  return random_program(seed,
                        {.width = 3 + int(seed % 7),
                         .ops = 1 + int(seed % 5),
                         .withheld_gradients = false,
                         .few_cells = true},
                        scripts);
}

Program random_cell(std::uint64_t seed) {
  Random random(seed);
  Program program;
  program.name = fmt::format("random_cell_{}", seed);
  const int d =
      random.chance(0.1) ? 10 + random.integer(31) : random_index_bound + random.integer(7);
  const BodyOptions body{{d, d, 1 + random.integer(9), 1 + random.integer(3)},
                         2 + random.integer(12),
                         random.chance(0.2)};
  for (int state = 1 + random.integer(3); state >= 0; --state)
    program.states.push_back(
        random_state(fmt::format("S{}", program.states.size()), random, body.extents));
  const int states = int(program.states.size());
  std::vector<Port> ports;
  for (int count = 1 + random.integer(4); count > 0; --count) {
    const auto kind = PortKind(ports.empty() ? 1 + random.integer(2) : random.integer(3));
    ports.push_back({fmt::format("p{}", ports.size()), kind,
                     kind == PortKind::index ? -1 : StateId(random.integer(states))});
  }
  program.cells.push_back(
      random_cell_of(program, "cell", ports, StateId(random.integer(states)), random, body));
  return program;
}

}  // namespace espalier::test
