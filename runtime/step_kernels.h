// Kernels of a step besides those of cells, for devices whose memory the host cannot reach:
// packing, seeds and losses, the gradients of embeddings, the norm, updates. Made as kernel IR,
// like all kernels, so that interpreter and tests know them; run by DeviceUpdate. Each takes its
// buffers in the order given here.
#pragma once

#include <cstdint>
#include <vector>

#include "codegen/kernel_ir.h"
#include "runtime/optimizer.h"

namespace espalier::runtime {

/// The packed copy of a weight matrix. Buffers: packed, then the params of `pack_params`.
codegen::Kernel pack_kernel(const codegen::Packing& packing);
/// The params that a packing reads, each once, in the order in which they are bound.
std::vector<ir::ParamId> pack_params(const codegen::Packing& packing);

/// Rows i: to[rows[i] · stride] = scale[0]. Buffers: scale, rows, to.
codegen::Kernel seed_kernel(std::int64_t stride);
/// Rows i: to[places[i]] = from[rows[i] · stride]. Buffers: places, rows, from, to.
codegen::Kernel gather_kernel(std::int64_t stride);

/// Rows i of `width`: sums[i] = (sums[i], unless `first`) + Σ from[entries[e]] in order, over e
/// from offsets[i] to offsets[i + 1]. Buffers: offsets, entries, from (rows `stride` apart), sums.
codegen::Kernel row_sums_kernel(std::int64_t width, std::int64_t stride, bool first);
/// Rows i of `width`: to[rows[i]] += sums[i]. Buffers: rows, sums, to.
codegen::Kernel add_rows_kernel(std::int64_t width);
/// to[e] = 0 for e < size. Buffers: to.
codegen::Kernel clear_kernel(std::int64_t size);

/// Gradients of these sizes: sums of squares of blocks, in one fixed order. Buffers: blocks, then
/// the gradients.
codegen::Kernel squares_kernel(const std::vector<std::int64_t>& sizes);
/// Blocks of a gradient of that size.
std::int64_t square_blocks(std::int64_t size);
/// Rows i of `width`: blocks[i] = Σ sums[i]². Buffers: sums, blocks.
codegen::Kernel row_squares_kernel(std::int64_t width);
/// norm[0] = the square of the norm: the sum of `blocks` blocks and of `lists` lists of blocks,
/// each as long as its count says. Buffers: norm, blocks, then count and blocks of each list.
codegen::Kernel norm_kernel(std::int64_t blocks, int lists);
/// control = {whether the norm is finite, what gradients are to be multiplied by}, if they are
/// scaled down to the norm clip[0]. Buffers: norm, clip, control.
codegen::Kernel control_kernel();

/// The optimizer's update of a param of `size` floats, or with `width` of the rows that have a
/// gradient; nothing changes where control[0] is 0. Buffers: values, gradient, control, rates (of
/// all params), [rows,] what is kept.
codegen::Kernel update_kernel(const UpdateExpression& update, ir::ParamId param, std::int64_t size,
                              std::int64_t width);

}  // namespace espalier::runtime
