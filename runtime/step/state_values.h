// The values of states where the host can read them: the arenas themselves, or copies of whole
// fields fetched from the device when they are first asked for.
#pragma once

#include <vector>

#include "runtime/step/binding.h"

namespace espalier::runtime {

class StateValues {
 public:
  explicit StateValues(DeviceMemory* device) : device_(device) {}

  /// Rows of a field, as arenas hold them. Valid until `forget`.
  const float* field(const Memory& memory, ir::StateId state, int field);
  /// Something ran: values are other ones.
  void forget();

 private:
  struct Copy {
    std::vector<float> values;
    bool fresh = false;
  };
  DeviceMemory* device_;
  std::vector<std::vector<Copy>> copies_;  // state → field
};

}  // namespace espalier::runtime
