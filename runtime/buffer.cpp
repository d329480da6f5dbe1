#include "runtime/buffer.h"

#include <algorithm>
#include <cstring>
#include <new>

namespace espalier::runtime {
namespace {
constexpr std::align_val_t alignment{64};
}

template <class T>
void Buffer<T>::Free::operator()(T* pointer) const {
  ::operator delete(pointer, alignment);
}

template <class T>
void Buffer<T>::reserve(std::size_t size, bool keep) {
  const auto bytes = [](std::size_t n) { return static_cast<std::int64_t>(n * sizeof(T)); };
  MemoryForecast* forecast = counter_->forecast;
  if (forecast) forecast->fresh_bytes += bytes(size);
  if (size <= capacity_) return;
  // A little more than is asked for, so that slowly growing minibatches settle after a few steps;
  // the first time exactly that, so that one large minibatch holds what it needs.
  const std::size_t capacity = capacity_ == 0 ? size : size + size / 16;
  const std::size_t copied = keep ? capacity_ : 0;  // and held beside the new ones meanwhile
  if (forecast) {
    forecast->bytes += bytes(capacity - capacity_);
    forecast->peak_bytes = std::max(forecast->peak_bytes, forecast->bytes + bytes(copied));
    return;
  }
  if (copied == 0) release();
  std::unique_ptr<T[], Free> grown(
      static_cast<T*>(::operator new(capacity * sizeof(T), alignment)));
  if (copied > 0) std::memcpy(grown.get(), data_.get(), copied * sizeof(T));
  data_ = std::move(grown);
  counter_->growths += 1;
  counter_->count(bytes(capacity - capacity_), bytes(copied));
  capacity_ = capacity;
}

template class Buffer<float>;
template class Buffer<std::uint64_t>;

}  // namespace espalier::runtime
