#include "codegen/cuda/walker.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "base/error.h"
#include "codegen/cuda/emitter.h"

namespace espalier::codegen {

namespace {

constexpr std::string_view text =
    R"cuda(
// A walk through records, all blocks together.
struct alignas(16) EspalierRecord {
  void* const* buffers;
  i64 row_begin, row_end;
  int stage, buffer_count, first_block, flags, held_at, held_width;
};
struct alignas(16) EspalierWalk {
  const EspalierRecord* records;
  int count;
  u32 arrived;
  int work_bytes, most_buffers;
};

#ifndef ESPALIER_MACHINE
// One more arrival: whoever sees it sees what this thread's block wrote before its last barrier.
__device__ __forceinline__ void arrive(u32* count) {
  asm volatile("red.release.gpu.add.u32 [%0], 1;" ::"l"(count) : "memory");
}
__device__ __forceinline__ u32 arrivals(const u32* count) {
  u32 seen;
  asm volatile("ld.acquire.gpu.u32 %0, [%1];" : "=r"(seen) : "l"(count) : "memory");
  return seen;
}
#endif

// All threads of all blocks meet; `wanted` arrivals make the meeting complete.
__device__ __forceinline__ void grid_barrier(u32* count, u32 wanted) {
  __syncthreads();
  if (threadIdx.x == 0) {
    arrive(count);
    while (static_cast<int>(arrivals(count) - wanted) < 0) {
    }
  }
  __syncthreads();
}

// A block's share of the weights of a contraction, in shared memory; or null.
struct Held {
  float* slice;
  int width;
  bool fill;
};

// Whose columns of weights lie kPitch apart: (element, gate) after (element, gate).
template <int kGates, int kLanes, int kLength, int kDepth, int kRows, int kPitch>
struct HeldTile {
  static constexpr int gates = kGates, lanes = kLanes, length = kLength, depth = kDepth;
  static constexpr int rows = kRows, pitch = kPitch;
};

// As `contract`, for few rows: a block has the elements of its number only, whose weights stay. A
// thread has one column at a time and up to 4 rows.
template <class S, class T, class Rows, class Epilogue>
__device__ __forceinline__ void contract_held(const Held& held, const float* weights,
                                              i64 row_begin, i64 row_end, unsigned block,
                                              Rows rows, Epilogue epilogue) {
  constexpr int each = 4;
  const int thread = static_cast<int>(threadIdx.x);
  if (static_cast<i64>(block) * held.width >= S::length) return;
  const int first = static_cast<int>(block) * held.width;
  const int width = S::length - first < held.width ? S::length - first : held.width;
  const int columns = width * S::gates;
  const float** const pointers = reinterpret_cast<const float**>(shared_memory());
  float* const x = shared_memory() + (2 * T::count * S::rows + 3) / 4 * 4;
  float* const sums = x + S::rows * S::pitch;
  const int sum_pitch = (held.width + S::lanes - 1) / S::lanes * (S::gates * S::lanes);
  if (held.fill) {
    for (int i = thread; i < columns * S::depth; i += threads) {
      const int k = i / columns, column = i % columns;
      const int gate = column / width, at = column % width, j = first + at;
      copy_4(held.slice + (at * S::gates + gate) * S::pitch + k,
             weights + ((static_cast<i64>(j / S::lanes) * S::depth + k) * S::gates + gate) * S::lanes +
                 j % S::lanes);
    }
  }
  const int side_by_side = columns < threads ? columns : threads;
  const int groups = threads / side_by_side, group = thread / side_by_side;
  for (i64 begin = row_begin; begin < row_end; begin += S::rows) {
    const int count = row_end - begin < S::rows ? static_cast<int>(row_end - begin) : S::rows;
    for (int r = thread; r < count; r += threads)
      rows(static_cast<int>(begin + r), pointers + r, S::rows);
    __syncthreads();
    for (int i = thread; i < count * S::depth; i += threads) {
      const int r = i / S::depth, k = i % S::depth, term = T::find(k);
      copy_4(x + r * S::pitch + k, pointers[term * S::rows + r] + (k - T::begin(term)));
    }
    copy_group();
    copy_wait<0>();
    __syncthreads();
    if (group < groups)
      for (int column = thread % side_by_side; column < columns; column += side_by_side)
        for (int r0 = group; r0 < count; r0 += groups * each) {
          const float* const w = held.slice + column * S::pitch;
          float sum[each] = {};
          const float* of[each];
#pragma unroll
          for (int r = 0; r < each; ++r)
            of[r] = x + (r0 + r * groups < count ? r0 + r * groups : r0) * S::pitch;
#pragma unroll 4
          for (int k = 0; k < S::depth / 4 * 4; k += 4) {
            const float4 four = *reinterpret_cast<const float4*>(w + k);
#pragma unroll
            for (int r = 0; r < each; ++r) {
              const float4 value = *reinterpret_cast<const float4*>(of[r] + k);
              sum[r] = fmaf(value.x, four.x, sum[r]);
              sum[r] = fmaf(value.y, four.y, sum[r]);
              sum[r] = fmaf(value.z, four.z, sum[r]);
              sum[r] = fmaf(value.w, four.w, sum[r]);
            }
          }
#pragma unroll
          for (int k = S::depth / 4 * 4; k < S::depth; ++k)
#pragma unroll
            for (int r = 0; r < each; ++r) sum[r] = fmaf(of[r][k], w[k], sum[r]);
          const int at = column / S::gates, gate = column % S::gates;
          float* const to =
              sums + at / S::lanes * (S::gates * S::lanes) + gate * S::lanes + at % S::lanes;
#pragma unroll
          for (int r = 0; r < each; ++r)
            if (r0 + r * groups < count) to[(r0 + r * groups) * sum_pitch] = sum[r];
        }
    __syncthreads();
    for (int i = thread; i < count * width; i += threads) {
      const int r = i / width, at = i % width;
      epilogue(static_cast<int>(begin + r), first + at,
               sums + r * sum_pitch + at / S::lanes * (S::gates * S::lanes) + at % S::lanes);
    }
    __syncthreads();
  }
}

// Runs run(stage, buffers, rows, block of blocks, held) for all records in order. While one runs, the next but one
// and the pointers of the next are under way to shared memory, where all threads find them.
template <class Run>
__device__ __forceinline__ void walk_records(EspalierWalk* walk, Run run) {
  constexpr int words = sizeof(EspalierRecord) / 4;
  const int count = walk->count, thread = static_cast<int>(threadIdx.x);
  float* const memory = shared_memory();
  EspalierRecord* const records = reinterpret_cast<EspalierRecord*>(memory + walk->work_bytes / 4);
  void** const pointers = reinterpret_cast<void**>(records + 3);
  const int room = walk->most_buffers;
  const float* const from = reinterpret_cast<const float*>(walk->records);
  const auto copy_record = [&](int i) {
    if (i < count && thread < words)
      copy_4(reinterpret_cast<float*>(records + i % 3) + thread, from + i * words + thread);
  };
  const auto copy_pointers = [&](int i) {
    if (i >= count) return;
    const EspalierRecord& record = records[i % 3];
    for (int word = thread; word < 2 * record.buffer_count; word += threads)
      copy_4(reinterpret_cast<float*>(pointers + i % 2 * room) + word,
             reinterpret_cast<const float*>(record.buffers) + word);
  };
  copy_record(0);
  copy_record(1);
  copy_group();
  copy_wait<0>();
  __syncthreads();
  copy_pointers(0);
  copy_group();
  u32 wanted = 0;
  for (int i = 0; i < count; ++i) {
    copy_wait<0>();
    const EspalierRecord& record = records[i % 3];
    if (record.flags & 1)
      grid_barrier(&walk->arrived, wanted += gridDim.x);
    else
      __syncthreads();
    copy_record(i + 2);
    copy_pointers(i + 1);
    copy_group();
    i64 begin = record.row_begin, end = record.row_end;
    const unsigned first = static_cast<unsigned>(record.first_block);
    unsigned block = blockIdx.x >= first ? blockIdx.x - first : blockIdx.x + gridDim.x - first;
    unsigned blocks = gridDim.x;
    if (record.flags & 4) {
      const i64 share = (end - begin + blocks - 1) / blocks;
      begin += blockIdx.x * share;
      if (begin >= end) continue;
      if (end > begin + share) end = begin + share;
      block = 0;
      blocks = 1;
    }
    run(record.stage, pointers + i % 2 * room, begin, end, block, blocks,
        Held{record.held_at < 0 ? nullptr : memory + record.held_at, record.held_width,
             (record.flags & 2) != 0});
  }
}
)cuda";

std::int64_t aligned(std::int64_t bytes) { return ceil_div(bytes, 16) * 16; }

/// Floats of rows that are in shared memory together.
constexpr std::int64_t most_row_floats = 8192;

}  // namespace

std::int64_t HeldTile::slice_bytes(std::int64_t width) const {
  return aligned(4 * width * gates * pitch);
}

std::int64_t HeldTile::work_bytes(std::int64_t width) const {
  return aligned(4 * (ceil_div(2 * terms * rows, 4) * 4 +
                      rows * (pitch + ceil_div(width, lanes) * gates * lanes)));
}

HeldTile held_tile(const Kernel& kernel, const Stage& stage) {
  internal_check(stage.contraction.has_value(), "kernel '{}': weights are held of contractions",
                 kernel.name);
  const Packing& packing = kernel.packings[static_cast<std::size_t>(stage.contraction->packing)];
  HeldTile tile{.gates = packing.gates,
                .lanes = packing.lanes,
                .terms = static_cast<int>(stage.contraction->terms.size()),
                .length = packing.gate_length(),
                .depth = packing.k};
  // Four floats of neighbouring columns lie in different banks.
  tile.pitch = 4 * (ceil_div(packing.k, 4) | 1);
  tile.rows = static_cast<int>(std::clamp<std::int64_t>(most_row_floats / tile.pitch, 1, 16));
  return tile;
}

std::int64_t walk_bytes(std::int64_t work_bytes, std::int64_t most_buffers) {
  return work_bytes + 3 * static_cast<std::int64_t>(sizeof(WalkRecord)) +
         aligned(2 * 8 * most_buffers);
}

std::string print_held(const Kernel& kernel, const Stage& stage) {
  const HeldTile tile = held_tile(kernel, stage);
  return fmt::format("HeldTile<{}, {}, {}, {}, {}, {}>", tile.gates, tile.lanes, tile.length,
                     tile.depth, tile.rows, tile.pitch);
}

WalkerText print_walker(std::span<const Kernel* const> kernels) {
  WalkerText result;
  result.source = cuda_prelude();
  result.source += text;
  std::string cases;
  for (std::size_t k = 0; k < kernels.size(); ++k) {
    const Kernel& kernel = *kernels[k];
    result.first_stage.push_back(static_cast<int>(result.stages.size()));
    result.most_buffers =
        std::max(result.most_buffers, static_cast<std::int64_t>(kernel.buffers.size()));
    const std::size_t before = result.stages.size();
    for (std::size_t first = 0; first < kernel.stages.size();) {
      const std::string name = fmt::format("k{}_stage_{}", k, result.stages.size() - before);
      const std::string call = "(buffers, begin, end, block, blocks";
      fmt::format_to(std::back_inserter(cases), "      case {}:\n", result.stages.size());
      CudaStage stage = print_launched(kernel, first, name, StageForm::walked, result.source);
      if (const Stage* const alone = stage.alone(kernel);
          alone && alone->contraction && !alone->library) {
        print_stage(kernel, first, name + "_held", StageForm::held, result.source);
        fmt::format_to(std::back_inserter(cases),
                       "        if (held.slice) return {}_held{}, held);\n", name, call);
      }
      fmt::format_to(std::back_inserter(cases), "        return {}{});\n", name, call);
      first += stage.count();
      result.stages.push_back(std::move(stage));
    }
  }
  fmt::format_to(
      std::back_inserter(result.source),
      "\nextern \"C\" __global__ void __launch_bounds__({}, 2)\n{}(EspalierWalk* walk) "
      "{{\n  walk_records(walk, [](int stage, void* const* buffers, i64 begin, i64 end, "
      "unsigned block, unsigned blocks, const Held& held) {{\n    switch (stage) {{\n{}    }}\n  "
      "}});\n}}\n",
      cuda_threads, walk_symbol, cases);
  return result;
}

}  // namespace espalier::codegen
