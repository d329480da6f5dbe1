// Memory of the engine: aligned to cache lines, large blocks in huge pages; grows and never
// shrinks, so that after warm-up a step allocates nothing. Growth is counted in one place.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>

namespace espalier::runtime {

/// What the engine's buffers did; one per engine.
struct MemoryCounter {
  std::int64_t growths = 0;     ///< allocations so far
  std::int64_t bytes = 0;       ///< held now
  std::int64_t peak_bytes = 0;  ///< most ever held
};

/// Floats (or other trivial elements) in one aligned block.
template <class T>
class Buffer {
 public:
  explicit Buffer(MemoryCounter& counter) : counter_(&counter) {}

  /// Room for `size` elements; elements so far are kept if `keep`, new ones are not initialised.
  void reserve(std::size_t size, bool keep = false);

  T* data() { return data_.get(); }
  const T* data() const { return data_.get(); }
  std::size_t capacity() const { return capacity_; }
  std::span<T> first(std::size_t size) { return {data_.get(), size}; }
  std::span<const T> first(std::size_t size) const { return {data_.get(), size}; }

 private:
  struct Free {
    std::size_t block = 0;  ///< its bytes
    void operator()(T* pointer) const;
  };
  MemoryCounter* counter_;
  std::unique_ptr<T[], Free> data_;
  std::size_t capacity_ = 0;
};

extern template class Buffer<float>;
extern template class Buffer<std::uint64_t>;

}  // namespace espalier::runtime
