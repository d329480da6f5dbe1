// Sparse gradients: rows that instances contributed to a param (an embedding), brought into order
// and summed, so that an optimizer touches only rows that were read.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "runtime/step/buffer.h"

namespace espalier::runtime {

class SparseGradient {
 public:
  explicit SparseGradient(MemoryCounter& counter) : sums_(counter), carried_(counter) {}

  void clear() { entries_.clear(); }
  /// Begins anew with the sums so far, of rows of `width`: what is added comes on top of them.
  void carry(std::size_t width);
  /// Row indices[i] gets gradient rows + i · stride added, for each i.
  void add(std::span<const std::int32_t> indices, const float* rows, std::size_t stride);
  /// Sorts the rows and makes room for their sums.
  void sort(std::size_t width);
  /// Sums what was added to rows()[first], … rows()[last − 1], in the order in which it was added.
  /// Threads may share the rows.
  void sum(std::size_t first, std::size_t last);

  /// Rows with a gradient, ascending, and their sums [rows, width]; after `sort` and `sum`.
  std::span<const std::int32_t> rows() const { return rows_; }
  std::span<const float> sums() const { return sums_.first(rows_.size() * width_); }

  /// What the lists of rows hold, capacity included; the sums are counted as buffers.
  std::size_t bytes() const;
  /// By how many bytes all this grows if `entries` contributions to `rows` rows are added, after
  /// `carry` if `carries`.
  std::size_t growth(std::size_t entries, std::size_t rows, std::size_t width, bool carries) const;

 private:
  struct Entry {
    std::uint64_t key = 0;  ///< row, then order of arrival
    const float* gradient = nullptr;
  };
  std::vector<Entry> entries_;
  std::vector<std::int32_t> rows_;
  std::vector<std::uint32_t> first_entries_;  // row → its first entry, one more at the end
  Buffer<float> sums_, carried_;
  std::size_t width_ = 0;
};

}  // namespace espalier::runtime
