#include "runtime/buffer.h"

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
  ::operator delete(pointer, alignment(block));
}

template <class T>
void Buffer<T>::reserve(std::size_t size, bool keep) {
  if (size <= capacity_) return;
  // Half as much again, so that slowly growing minibatches settle after a few steps.
  const std::size_t capacity =
      block_bytes(std::max(size, capacity_ + capacity_ / 2) * sizeof(T)) / sizeof(T);
  std::unique_ptr<T[], Free> grown(static_cast<T*>(allocate(capacity * sizeof(T))),
                                   Free{capacity * sizeof(T)});
  if (keep && capacity_) std::memcpy(grown.get(), data_.get(), capacity_ * sizeof(T));
  data_ = std::move(grown);
  counter_->growths += 1;
  counter_->bytes += static_cast<std::int64_t>((capacity - capacity_) * sizeof(T));
  counter_->peak_bytes = std::max(counter_->peak_bytes, counter_->bytes);
  capacity_ = capacity;
}

template class Buffer<float>;
template class Buffer<std::uint64_t>;

}  // namespace espalier::runtime
