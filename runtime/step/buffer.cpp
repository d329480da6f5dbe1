#include "runtime/step/buffer.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstring>
#include <new>

namespace espalier::runtime {
namespace {

constexpr std::size_t cache_line = 64;
constexpr std::size_t huge_page = std::size_t{2} << 20;

/// Bytes of a block for `bytes`. Large blocks are whole huge pages: kernels read scattered rows,
/// which in small pages miss the translation cache again and again.
std::size_t block_bytes(std::size_t bytes) {
  if (bytes < huge_page / 2) return bytes;
  return (bytes + huge_page - 1) / huge_page * huge_page;
}

std::align_val_t alignment(std::size_t block) {
  return std::align_val_t{block < huge_page ? cache_line : huge_page};
}

void* allocate(std::size_t block) {
  void* memory = ::operator new(block, alignment(block));
#ifdef MADV_HUGEPAGE
  if (block >= huge_page) madvise(memory, block, MADV_HUGEPAGE);  // a hint: failing is no error
#endif
  return memory;
}

}  // namespace

template <class T>
void Buffer<T>::Free::operator()(T* pointer) const {
  if (device) return device->release(pointer);
  ::operator delete(pointer, alignment(block));
}

template <class T>
std::size_t Buffer<T>::capacity_for(std::size_t size) const {
  if (size <= capacity_) return capacity_;
  // A little more than is asked for, so that slowly growing minibatches settle after a few steps;
  // the first time exactly that, so that one large minibatch holds what it needs.
  if (capacity_ > 0) size += size / 16;
  return block_bytes(size * sizeof(T)) / sizeof(T);
}

template <class T>
void Buffer<T>::reserve(std::size_t size, bool keep) {
  const auto bytes = [](std::size_t n) { return static_cast<std::int64_t>(n * sizeof(T)); };
  MemoryForecast* forecast = counter_->forecast;
  if (forecast) forecast->fresh_bytes += static_cast<std::int64_t>(block_bytes(size * sizeof(T)));
  if (size <= capacity_) return;
  const std::size_t capacity = capacity_for(size);
  const std::size_t copied = keep ? capacity_ : 0;  // and held beside the new ones meanwhile
  if (forecast) {
    forecast->bytes += bytes(capacity - capacity_);
    forecast->peak_bytes = std::max(forecast->peak_bytes, forecast->bytes + bytes(copied));
    return;
  }
  if (copied == 0) release();
  const std::size_t block = capacity * sizeof(T);
  std::unique_ptr<T[], Free> grown(
      static_cast<T*>(device_ ? device_->allocate(block) : allocate(block)), Free{block, device_});
  if (copied > 0 && device_)
    device_->copy(grown.get(), data_.get(), copied * sizeof(T));
  else if (copied > 0)
    std::memcpy(grown.get(), data_.get(), copied * sizeof(T));
  data_ = std::move(grown);
  counter_->growths += 1;
  counter_->count(bytes(capacity - capacity_), bytes(copied));
  capacity_ = capacity;
}

template class Buffer<float>;
template class Buffer<std::uint64_t>;

}  // namespace espalier::runtime
