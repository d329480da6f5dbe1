// Memory that the host cannot address: what buffers take theirs from on such a device. Nothing here
// waits but `read`, and everything keeps its order with what runs on the device. Implemented by the
// device's executor.
#pragma once

#include <cstddef>

namespace espalier::runtime {

class DeviceMemory {
 public:
  virtual ~DeviceMemory() = default;

  /// Aligned to 256 bytes. UserError, with the size, if there is not so much.
  virtual void* allocate(std::size_t bytes) = 0;
  /// What runs may still use it.
  virtual void release(void* memory) noexcept = 0;
  virtual void copy(void* to, const void* from, std::size_t bytes) = 0;
  virtual void clear(void* to, std::size_t bytes) = 0;
  /// To the device from the host's memory, which is free again on return.
  virtual void write(void* to, const void* from, std::size_t bytes) = 0;
  /// To the host's memory, once all that runs is done.
  virtual void read(void* to, const void* from, std::size_t bytes) = 0;
};

}  // namespace espalier::runtime
