#include "training/training_state.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <string>
#include <string_view>
#include <vector>

#include "base/error.h"
#include "training/checkpoint.h"
#include "training/safetensors.h"

namespace espalier {
namespace {

constexpr std::string_view kEngineStep = "engine.step", kOptimizerSteps = "optimizer.steps";

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

void save_training_state(const std::filesystem::path& file, Engine& engine,
                         StandardOptimizer& optimizer) {
  engine.prepare(optimizer);
  std::vector<SafeTensor> tensors;
  for (const OptimizerBuffer& buffer : optimizer.buffers()) {
    const ir::Param as = described(engine, buffer);
    std::vector<std::int64_t> shape;
    for (int axis = 0; axis < as.shape.rank(); ++axis) shape.push_back(as.shape[axis]);
    tensors.push_back(float_tensor(as.name, std::move(shape), buffer.values));
  }
  save_safetensors(file, tensors,
                   {{"format", "pt"},
                    {std::string(kEngineStep), std::to_string(engine.step())},
                    {std::string(kOptimizerSteps), std::to_string(optimizer.steps())}});
}

void restore_training_state(const std::filesystem::path& file, Engine& engine,
                            StandardOptimizer& optimizer) {
  engine.prepare(optimizer);
  const Safetensors state(file);
  const std::vector<OptimizerBuffer> buffers = optimizer.buffers();
  std::vector<ir::Param> wanted;
  for (const OptimizerBuffer& buffer : buffers) wanted.push_back(described(engine, buffer));
  const std::vector<std::vector<float>> values = read_params(state, wanted);
  const std::int64_t step = number(state, kEngineStep), steps = number(state, kOptimizerSteps);
  for (std::size_t i = 0; i < buffers.size(); ++i)
    std::ranges::copy(values[i], buffers[i].values.begin());
  engine.set_step(static_cast<std::uint64_t>(step));
  optimizer.set_steps(steps);
}

}  // namespace espalier
