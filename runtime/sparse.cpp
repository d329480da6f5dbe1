#include "runtime/sparse.h"

#include <algorithm>

#include "codegen/kernel_ir.h"

namespace espalier::runtime {

void SparseGradient::add(std::span<const std::int32_t> indices, const float* rows,
                         std::size_t width) {
  const auto stride = std::size_t(codegen::row_stride(std::int64_t(width)));
  for (std::size_t i = 0; i < indices.size(); ++i)
    entries_.push_back({std::uint64_t(indices[i]) << 32 | entries_.size(), rows + i * stride});
}

void SparseGradient::finish(std::size_t width) {
  width_ = width;
  std::ranges::sort(entries_, {}, &Entry::key);
  rows_.clear();
  for (const Entry& entry : entries_) {
    const auto row = std::int32_t(entry.key >> 32);
    if (rows_.empty() || rows_.back() != row) rows_.push_back(row);
  }
  sums_.reserve(rows_.size() * width);
  float* sum = sums_.data() - width;
  std::int32_t current = -1;
  for (const Entry& entry : entries_) {
    const auto row = std::int32_t(entry.key >> 32);
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
