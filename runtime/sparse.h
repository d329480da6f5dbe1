// Sparse gradients: rows that instances contributed to a param (an embedding), brought into order
// and summed, so that an optimizer touches only rows that were read.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/buffer.h"

namespace espalier::runtime {

class SparseGradient {
 public:
  explicit SparseGradient(MemoryCounter& counter) : sums_(counter) {}

  void clear() { entries_.clear(); }
  /// Row indices[i] gets row i of `rows`, an arena (codegen::row_stride), added, for each i.
  void add(std::span<const std::int32_t> indices, const float* rows, std::size_t width);
  /// Sorts the rows and sums what was added to each, in the order in which it was added.
  void finish(std::size_t width);

  /// Rows with a gradient, ascending, and their sums [rows, width]; after `finish`.
  std::span<const std::int32_t> rows() const { return rows_; }
  std::span<const float> sums() const { return sums_.first(rows_.size() * width_); }

 private:
  struct Entry {
    std::uint64_t key = 0;  ///< row, then order of arrival
    const float* gradient = nullptr;
  };
  std::vector<Entry> entries_;
  std::vector<std::int32_t> rows_;
  Buffer<float> sums_;
  std::size_t width_ = 0;
};

}  // namespace espalier::runtime
