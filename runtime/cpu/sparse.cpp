#include "runtime/cpu/sparse.h"

#include <algorithm>
#include <utility>

namespace espalier::runtime {

void SparseGradient::carry(std::size_t width) {
  std::swap(sums_, carried_);
  entries_.clear();
  add(rows_, carried_.data(), width);
}

std::size_t SparseGradient::bytes() const {
  return entries_.capacity() * sizeof(Entry) + rows_.capacity() * sizeof(std::int32_t) +
         first_entries_.capacity() * sizeof(std::uint32_t);
}

std::size_t SparseGradient::growth(std::size_t entries, std::size_t rows, std::size_t width,
                                   bool carries) const {
  const auto more = [](std::size_t wanted, std::size_t held) {
    return wanted > held ? wanted - held : 0;
  };
  if (carries) {
    entries += rows_.size();
    rows += rows_.size();
  }
  const Buffer<float>& sums = carries ? carried_ : sums_;
  return more(entries, entries_.capacity()) * sizeof(Entry) +
         more(rows, rows_.capacity()) * sizeof(std::int32_t) +
         more(rows + 1, first_entries_.capacity()) * sizeof(std::uint32_t) +
         more(sums.capacity_for(rows * width), sums.capacity()) * sizeof(float);
}

void SparseGradient::add(std::span<const std::int32_t> indices, const float* rows,
                         std::size_t stride) {
  entries_.reserve(entries_.size() + indices.size());
  for (std::size_t i = 0; i < indices.size(); ++i)
    entries_.push_back({std::uint64_t(indices[i]) << 32 | entries_.size(), rows + i * stride});
}

void SparseGradient::sort(std::size_t width) {
  width_ = width;
  std::ranges::sort(entries_, {}, &Entry::key);
  const auto row_of = [](const Entry& entry) { return std::int32_t(entry.key >> 32); };
  const auto begins_row = [&](std::size_t i) {
    return i == 0 || row_of(entries_[i]) != row_of(entries_[i - 1]);
  };
  std::size_t count = 0;
  for (std::size_t i = 0; i < entries_.size(); ++i) count += begins_row(i);
  rows_.clear();
  first_entries_.clear();
  rows_.reserve(count);
  first_entries_.reserve(count + 1);
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    if (!begins_row(i)) continue;
    rows_.push_back(row_of(entries_[i]));
    first_entries_.push_back(std::uint32_t(i));
  }
  first_entries_.push_back(std::uint32_t(entries_.size()));
  sums_.reserve(count * width);
}

void SparseGradient::sum(std::size_t first, std::size_t last) {
  for (std::size_t row = first; row < last; ++row) {
    float* const sum = sums_.data() + row * width_;
    std::copy_n(entries_[first_entries_[row]].gradient, width_, sum);
    for (std::size_t entry = first_entries_[row] + 1; entry < first_entries_[row + 1]; ++entry)
      for (std::size_t i = 0; i < width_; ++i) sum[i] += entries_[entry].gradient[i];
  }
}

}  // namespace espalier::runtime
