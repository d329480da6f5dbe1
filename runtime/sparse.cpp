#include "runtime/sparse.h"

#include <algorithm>
#include <utility>

#include "codegen/kernel_ir.h"

namespace espalier::runtime {

void SparseGradient::carry(std::size_t width) {
  std::swap(sums_, carried_);
  entries_.clear();
  add_strided(rows_, carried_.data(), width);
}

std::size_t SparseGradient::bytes() const {
  return entries_.capacity() * sizeof(Entry) + rows_.capacity() * sizeof(std::int32_t);
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
         more(sums.capacity_for(rows * width), sums.capacity()) * sizeof(float);
}

void SparseGradient::add(std::span<const std::int32_t> indices, const float* rows,
                         std::size_t width) {
  add_strided(indices, rows, std::size_t(codegen::row_stride(std::int64_t(width))));
}

void SparseGradient::add_strided(std::span<const std::int32_t> indices, const float* rows,
                                 std::size_t stride) {
  entries_.reserve(entries_.size() + indices.size());
  for (std::size_t i = 0; i < indices.size(); ++i)
    entries_.push_back({std::uint64_t(indices[i]) << 32 | entries_.size(), rows + i * stride});
}

void SparseGradient::finish(std::size_t width) {
  width_ = width;
  std::ranges::sort(entries_, {}, &Entry::key);
  const auto row_of = [](const Entry& entry) { return std::int32_t(entry.key >> 32); };
  std::size_t count = 0;
  for (std::size_t i = 0; i < entries_.size(); ++i)
    count += i == 0 || row_of(entries_[i]) != row_of(entries_[i - 1]);
  rows_.clear();
  rows_.reserve(count);
  for (const Entry& entry : entries_) {
    const std::int32_t row = row_of(entry);
    if (rows_.empty() || rows_.back() != row) rows_.push_back(row);
  }
  sums_.reserve(rows_.size() * width);
  float* sum = sums_.data() - width;
  std::int32_t current = -1;
  for (const Entry& entry : entries_) {
    const std::int32_t row = row_of(entry);
    if (row != current) {
      current = row;
      sum += width;
      std::copy_n(entry.gradient, width, sum);
    } else {
      for (std::size_t i = 0; i < width; ++i) sum[i] += entry.gradient[i];
    }
  }
}

}  // namespace espalier::runtime
