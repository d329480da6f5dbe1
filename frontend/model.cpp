#include "frontend/model.h"

#include <algorithm>

#include "base/error.h"
#include "frontend/trace.h"
#include "ir/record/cell_mark.h"

namespace espalier {

Model::Model(std::string name) : data_(std::make_shared<detail::ModelData>()) {
  detail::check_name("model", name);
  data_->program.name = std::move(name);
}

const ir::Program& Model::program() const { return data_->program; }
const std::string& Model::name() const { return program().name; }

Param Model::param(const std::string& name, const Shape& shape) {
  return param(name, shape, shape.rank() >= 2 ? Initializer::glorot() : Initializer::constant(0));
}

Param Model::param(const std::string& name, const Shape& shape, const Initializer& initializer) {
  detail::check_name("param", name);
  auto& params = data_->program.params;
  user_check(std::ranges::find(params, name, &ir::Param::name) == params.end(),
             "model '{}' already has a param '{}'", this->name(), name);
  params.push_back({name, shape, initializer});
  Param handle;
  handle.model_ = data_;
  handle.id_ = static_cast<ir::ParamId>(params.size()) - 1;
  return handle;
}

void Model::add_state(std::type_index type, std::string name, std::initializer_list<Shape> shapes) {
  auto& states = data_->program.states;
  user_check(!data_->states.contains(type), "model '{}': state '{}' is already declared",
             this->name(), name);
  const auto taken = [&](const std::string& candidate) {
    return std::ranges::find(states, candidate, &ir::State::name) != states.end();
  };
  std::string unique = name;
  for (int number = 2; taken(unique); ++number) unique = name + "_" + std::to_string(number);
  ir::State state{unique, {}};
  for (const Shape& shape : shapes)
    state.fields.push_back({ir::DType::f32, shape, ir::per_instance});
  states.push_back(std::move(state));
  data_->states.emplace(type, static_cast<ir::StateId>(states.size()) - 1);
}

std::uint32_t Model::mark(ir::CellId cell) const {
  return ir::cell_mark(program(), program().cells[cell]);
}

void Model::check_shapes(const std::string& cell, std::size_t expected, std::size_t found) {
  user_check(found == expected,
             "cell '{}' has {} parameters of type Tensor or Children<Tensor>, but {} shapes are "
             "given",
             cell, expected, found);
}

}  // namespace espalier
