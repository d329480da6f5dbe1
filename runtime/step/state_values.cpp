#include "runtime/step/state_values.h"

#include <algorithm>

namespace espalier::runtime {

const float* StateValues::field(const Memory& memory, ir::StateId state, int field) {
  const float* const arena = memory.arenas.value(state, field);
  if (!device_) return arena;
  const auto s = std::size_t(state), f = std::size_t(field);
  copies_.resize(std::max(copies_.size(), s + 1));
  copies_[s].resize(std::max(copies_[s].size(), f + 1));
  Copy& copy = copies_[s][f];
  if (!copy.fresh) {
    const ir::Type& type = memory.program.states[s].fields[f];
    copy.values.resize(memory.layout.state_sizes[s] *
                       std::size_t(codegen::row_stride(type.shape.size())));
    device_->read(copy.values.data(), arena, copy.values.size() * sizeof(float));
    copy.fresh = true;
  }
  return copy.values.data();
}

void StateValues::forget() {
  for (auto& fields : copies_)
    for (Copy& copy : fields) copy.fresh = false;
}

}  // namespace espalier::runtime
