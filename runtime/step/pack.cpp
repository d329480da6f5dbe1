#include "runtime/step/pack.h"

#include <algorithm>
#include <cstring>

namespace espalier::runtime {

using codegen::Packing;

namespace {

using Four [[gnu::vector_size(16), gnu::aligned(4), gnu::may_alias]] = float;

/// to[j · to_stride + i] = from[i · from_stride + j] for i, j < 4.
void transpose_4x4(const float* from, std::int64_t from_stride, float* to, std::int64_t to_stride) {
  Four row[4];
  for (int i = 0; i < 4; ++i) row[i] = *reinterpret_cast<const Four*>(from + i * from_stride);
  const Four low01 = __builtin_shufflevector(row[0], row[1], 0, 4, 1, 5);
  const Four high01 = __builtin_shufflevector(row[0], row[1], 2, 6, 3, 7);
  const Four low23 = __builtin_shufflevector(row[2], row[3], 0, 4, 1, 5);
  const Four high23 = __builtin_shufflevector(row[2], row[3], 2, 6, 3, 7);
  const Four column[4] = {__builtin_shufflevector(low01, low23, 0, 1, 4, 5),
                          __builtin_shufflevector(low01, low23, 2, 3, 6, 7),
                          __builtin_shufflevector(high01, high23, 0, 1, 4, 5),
                          __builtin_shufflevector(high01, high23, 2, 3, 6, 7)};
  for (int j = 0; j < 4; ++j) *reinterpret_cast<Four*>(to + j * to_stride) = column[j];
}

/// to[j · to_stride + i] = from[i · from_stride + j] for i < rows, j < columns.
void transpose(const float* from, std::int64_t from_stride, std::int64_t rows, std::int64_t columns,
               float* to, std::int64_t to_stride) {
  const std::int64_t whole_rows = rows / 4 * 4, whole_columns = columns / 4 * 4;
  for (std::int64_t j = 0; j < whole_columns; j += 4)
    for (std::int64_t i = 0; i < whole_rows; i += 4)
      transpose_4x4(from + i * from_stride + j, from_stride, to + j * to_stride + i, to_stride);
  for (std::int64_t j = 0; j < columns; ++j)
    for (std::int64_t i = j < whole_columns ? whole_rows : 0; i < rows; ++i)
      to[j * to_stride + i] = from[i * from_stride + j];
}

/// Calls visit(place of lane, row, count) for rows [begin, end) of the packed matrix, in runs that
/// lie in neighbouring lanes; the place is that of k = 0.
template <class Visit>
void visit_lanes(const Packing& p, std::int64_t begin, std::int64_t end, const Visit& visit) {
  const std::int64_t n = p.gate_length();
  while (begin < end) {
    const std::int64_t gate = begin / n, j = begin % n, lane = j % p.lanes;
    const std::int64_t count = std::min({end - begin, n - j, p.lanes - lane});
    visit(((j / p.lanes) * p.k * p.gates + gate) * p.lanes + lane, begin, count);
    begin += count;
  }
}

}  // namespace

void pack_rows(const Packing& packing, const Packing::Block& block, const float* param,
               std::int64_t row_begin, std::int64_t row_end, float* packed) {
  const std::int64_t rows = block.transposed ? block.columns : block.rows;
  row_begin = std::max<std::int64_t>(row_begin - block.param_row, 0);
  row_end = std::min<std::int64_t>(row_end - block.param_row, rows);
  if (row_begin >= row_end) return;
  const std::int64_t stride = block.param_columns, next_k = packing.gates * packing.lanes;
  const float* const from = param + block.param_row * stride + block.param_column;
  float* const to = packed + block.column * next_k;
  if (!block.transposed) {
    visit_lanes(packing, block.row + row_begin, block.row + row_end,
                [&](std::int64_t place, std::int64_t row, std::int64_t count) {
                  transpose(from + (row - block.row) * stride, stride, count, block.columns,
                            to + place, next_k);
                });
    return;
  }
  visit_lanes(packing, block.row, block.row + block.rows,
              [&](std::int64_t place, std::int64_t row, std::int64_t count) {
                for (std::int64_t k = row_begin; k < row_end; ++k)
                  std::memcpy(to + place + k * next_k, from + k * stride + (row - block.row),
                              static_cast<std::size_t>(count) * sizeof(float));
              });
}

}  // namespace espalier::runtime
