// Kernels of a step besides those of cells, for devices whose memory the host cannot reach:
// packing, seeds and losses, the gradients of embeddings, the norm, updates. Made as kernel IR,
// like all kernels, so that interpreter and tests know them; run by KernelUpdate and KernelStepIo.
// Each takes its buffers in the order given here.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "codegen/kernel/kernel.h"
#include "runtime/step/optimizer.h"
#include "runtime/step/update_expression.h"

namespace espalier::runtime {

/// The packed copies of weight matrices. Buffers: the copies, then the params of `pack_params`.
codegen::Kernel pack_kernel(std::span<const codegen::Packing> packings);
/// The params that packings read, each once, in the order in which they are bound.
std::vector<ir::ParamId> pack_params(std::span<const codegen::Packing> packings);

/// Rows i of `width`: to[i · stride + j] = from[i · width + j]. Buffers: from, to.
codegen::Kernel input_kernel(std::int64_t width, std::int64_t stride);
/// Rows i: to[rows[i] · stride] = scale[0]. Buffers: scale, rows, to.
codegen::Kernel seed_kernel(std::int64_t stride);
/// Rows i: to[places[i]] = from[rows[i] · stride]. Buffers: places, rows, from, to.
codegen::Kernel gather_kernel(std::int64_t stride);

/// Rows i of `width`: sums[i] = Σ over sources of Σ from[entries[e]], in order, over e from
/// offsets[i] to offsets[i + 1]. Buffers: sums, then offsets, entries and from (rows strides[s]
/// apart) of each source s.
codegen::Kernel row_sums_kernel(std::int64_t width, std::span<const std::int64_t> strides);
/// Rows i of `width`: to[rows[i]] += sums[i]. Buffers: rows, sums, to.
codegen::Kernel add_rows_kernel(std::int64_t width);
/// to[e] = 0 for e < size, for each size. Buffers: one `to` a size.
codegen::Kernel clear_kernel(std::span<const std::int64_t> sizes);

/// Gradients of these sizes: sums of squares of blocks, in one fixed order; and if `width` is not
/// 0, of each of the rows of a list. Buffers: [sums and blocks of the rows,] blocks, the gradients.
codegen::Kernel squares_kernel(std::span<const std::int64_t> sizes, std::int64_t width);
/// Blocks of a gradient of that size.
std::int64_t square_blocks(std::int64_t size);
/// norm[0] = the square of the norm: the sum of `blocks` blocks and of `lists` lists of blocks,
/// each as long as its count says. Buffers: norm, blocks, then count and blocks of each list.
codegen::Kernel norm_kernel(std::int64_t blocks, int lists);

/// A param that an update changes: all of it, or the rows of `width` that have a gradient.
struct Updated {
  ir::ParamId param = -1;
  std::int64_t size = 0;
  std::int64_t width = 0;  ///< 0: all of it
  bool operator==(const Updated&) const = default;
};
/// The optimizer's update of params, of which only the first may be updated by rows. Gradients are
/// scaled down to the norm clip[0], and nothing changes if the norm, whose square is norm[0], is
/// not finite. Buffers: norm, clip, rates (of all params), then of each param: values, gradient,
/// [rows,] what is kept.
codegen::Kernel update_kernel(const UpdateExpression& update, std::span<const Updated> params);

}  // namespace espalier::runtime
