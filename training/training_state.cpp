#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"
#include "runtime/engine.h"
#include "training/checkpoint.h"
#include "training/safetensors.h"

namespace espalier {
namespace {

constexpr std::string_view engine_step_key = "engine.step", optimizer_steps_key = "optimizer.steps";

OptimizerState& state_of(Optimizer& optimizer) {
  OptimizerState* const state = optimizer.state();
  user_check(state != nullptr,
             "training state: found an optimizer that keeps none, expected one whose state() can "
             "be saved");
  return *state;
}

/// The param that a tensor such as `w.adam.mean` is a buffer of; -1 if there is none. Names of
/// params may have dots: the longest fits.
ir::ParamId param_of(const SafeTensor& tensor, std::span<const ir::Param> params) {
  ir::ParamId found = -1;
  std::size_t longest = 0;
  for (std::size_t param = 0; param < params.size(); ++param) {
    const std::string& name = params[param].name;
    if (name.size() < longest || !tensor.name.starts_with(name + ".")) continue;
    longest = name.size();
    found = ir::ParamId(param);
  }
  return found;
}

/// What a buffer is called in a file, with the shape of its param.
ir::Param described(const Engine& engine, const OptimizerBuffer& buffer) {
  const ir::Param& param = engine.program().params[static_cast<std::size_t>(buffer.param)];
  return {.name = fmt::format("{}.{}", param.name, buffer.name),
          .shape = param.shape,
          .initializer = {}};
}

std::int64_t number(const Safetensors& state, std::string_view name) {
  const auto found = state.metadata().find(std::string(name));
  const std::string text = found == state.metadata().end() ? "" : found->second;
  std::int64_t value = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  user_check(error == std::errc() && end == text.data() + text.size() && value >= 0,
             "{}: found {} = '{}', expected a number of steps", state.file().string(), name, text);
  return value;
}

}  // namespace

void save_training_state(const std::filesystem::path& file, Engine& engine, Optimizer& optimizer) {
  OptimizerState& kept = state_of(optimizer);
  engine.prepare(optimizer);
  std::vector<SafeTensor> tensors;
  for (const OptimizerBuffer& buffer : kept.buffers()) {
    const ir::Param as = described(engine, buffer);
    std::vector<std::int64_t> shape;
    for (int axis = 0; axis < as.shape.rank(); ++axis) shape.push_back(as.shape[axis]);
    tensors.push_back(float_tensor(as.name, std::move(shape), buffer.values));
  }
  save_safetensors(file, tensors,
                   {{"format", "pt"},
                    {std::string(engine_step_key), std::to_string(engine.step())},
                    {std::string(optimizer_steps_key), std::to_string(kept.steps())}});
}

void restore_training_state(const std::filesystem::path& file, Engine& engine,
                            Optimizer& optimizer) {
  OptimizerState& kept = state_of(optimizer);
  engine.prepare(optimizer);
  const Safetensors state(file);
  // A gradient may have reached a param through arithmetic on calls, which a new engine has not
  // seen yet.
  for (const SafeTensor& tensor : state.tensors())
    if (const ir::ParamId param = param_of(tensor, engine.program().params); param >= 0)
      kept.keep_state_of(param);
  const std::vector<OptimizerBuffer> buffers = kept.buffers();
  std::vector<ir::Param> wanted;
  for (const OptimizerBuffer& buffer : buffers) wanted.push_back(described(engine, buffer));
  const std::vector<std::vector<float>> values = read_params(state, wanted);
  const std::int64_t step = number(state, engine_step_key),
                     steps = number(state, optimizer_steps_key);
  for (std::size_t i = 0; i < buffers.size(); ++i)
    std::ranges::copy(values[i], buffers[i].values.begin());
  engine.set_step(static_cast<std::uint64_t>(step));
  kept.set_steps(steps);
}

}  // namespace espalier
