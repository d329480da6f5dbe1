// Memory of the engine, on the host or a device: aligned to cache lines, large blocks in huge
// pages; grows and never shrinks, so that after warm-up a step allocates nothing. Growth is counted
// in one place, where it can also be forecast: while a counter has a forecast, reserving adds to
// that and allocates nothing.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <utility>

#include "runtime/step/device_memory.h"

namespace espalier::runtime {

/// What buffers would hold if they were reserved as they are asked to; each is asked once.
struct MemoryForecast {
  std::int64_t bytes = 0;        ///< held in the end
  std::int64_t peak_bytes = 0;   ///< most held on the way
  std::int64_t fresh_bytes = 0;  ///< held in the end, had nothing been held before
};

/// What a group of buffers did.
struct MemoryCounter {
  std::int64_t growths = 0;     ///< allocations so far
  std::int64_t bytes = 0;       ///< held now
  std::int64_t peak_bytes = 0;  ///< most ever held
  MemoryForecast* forecast = nullptr;

  /// Counts `added` bytes; `besides` more are held for a moment.
  void count(std::int64_t added, std::int64_t besides) {
    bytes += added;
    peak_bytes = peak_bytes < bytes + besides ? bytes + besides : peak_bytes;
  }
};

/// Floats (or other trivial elements) in one aligned block.
template <class T>
class Buffer {
 public:
  /// In the host's memory if no device is given.
  explicit Buffer(MemoryCounter& counter, DeviceMemory* device = nullptr)
      : counter_(&counter), device_(device) {}
  Buffer(Buffer&& other) noexcept
      : counter_(other.counter_),
        device_(other.device_),
        data_(std::move(other.data_)),
        capacity_(std::exchange(other.capacity_, 0)) {}
  Buffer& operator=(Buffer&& other) noexcept {
    std::swap(counter_, other.counter_);
    std::swap(device_, other.device_);
    std::swap(data_, other.data_);
    std::swap(capacity_, other.capacity_);
    return *this;
  }
  ~Buffer() { release(); }

  /// Room for `size` elements; elements so far are kept if `keep`, new ones are not initialised.
  void reserve(std::size_t size, bool keep = false);
  /// The capacity after `reserve(size)`.
  std::size_t capacity_for(std::size_t size) const;
  /// Gives the memory back.
  void release() {
    counter_->bytes -= static_cast<std::int64_t>(std::exchange(capacity_, 0) * sizeof(T));
    data_.reset();
  }

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  std::size_t capacity() const { return capacity_; }
  /// On a device: where they lie there.
  std::span<T> first(std::size_t size) { return {data_.get(), size}; }
  std::span<const T> first(std::size_t size) const { return {data_.get(), size}; }

 private:
  struct Free {
    std::size_t block = 0;  ///< its bytes
    DeviceMemory* device = nullptr;
    void operator()(T* pointer) const;
  };
  MemoryCounter* counter_;
  DeviceMemory* device_;
  std::unique_ptr<T[], Free> data_;
  std::size_t capacity_ = 0;
};

extern template class Buffer<float>;
extern template class Buffer<std::uint64_t>;

}  // namespace espalier::runtime
