// What all kernels use: types, machine-dependent functions, reductions over teams of threads,
// tiles.
using i64 = long long;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;

struct EspalierLaunch {
  void* const* buffers;
  i64 row_begin, row_end;
};

constexpr int threads = 256;

// Machine-dependent functions. A program that compiles this text for another machine defines
// ESPALIER_MACHINE and these functions.
#ifndef ESPALIER_MACHINE
__device__ __forceinline__ float* shared_memory() {
  extern __shared__ float4 memory[];
  return reinterpret_cast<float*>(memory);
}

// Tells the compiler that the pointer is to global memory, so that it need not emit generic
// accesses, nor assume that shared memory overlaps.
__device__ __forceinline__ void is_global(const void* pointer) {
  __builtin_assume(__isGlobal(pointer));
}

// Asynchronous copies to shared memory, complete when their group has been waited for.
__device__ __forceinline__ void copy_4(float* to, const float* from) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.ca.shared.global [%0], [%1], 4;" ::"r"(address), "l"(from) : "memory");
}
__device__ __forceinline__ void copy_16(float* to, const float* from) {
  const unsigned address = static_cast<unsigned>(__cvta_generic_to_shared(to));
  asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" ::"r"(address), "l"(from) : "memory");
}
__device__ __forceinline__ void copy_group() {
  asm volatile("cp.async.commit_group;" ::: "memory");
}
// Waits until all but the last kLeft groups of this thread are complete.
template <int kLeft>
__device__ __forceinline__ void copy_wait() {
  asm volatile("cp.async.wait_group %0;" ::"n"(kLeft) : "memory");
}
#endif

// bfloat16: the upper half of a float's bits. Rounds to nearest, ties to even.
__device__ __forceinline__ u16 to_bf16(float x) {
  const u32 bits = __float_as_uint(x);
  return static_cast<u16>((x != x ? bits | 0x400000 : bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}
__device__ __forceinline__ float from_bf16(u16 x) {
  return __uint_as_float(static_cast<u32>(x) << 16);
}

__device__ __forceinline__ float maximum(float a, float b) { return a < b ? b : a; }

// Sum and maximum over kLanes neighbouring lanes. All of them get the result.
template <int kLanes>
__device__ __forceinline__ u32 lanes_mask() {
  if constexpr (kLanes == 32) return 0xffffffffu;
  return ((1u << kLanes) - 1) << (threadIdx.x % 32 / kLanes * kLanes);
}
template <int kLanes, class T>
__device__ __forceinline__ T lanes_sum(T x) {
  const u32 mask = lanes_mask<kLanes>();
  for (int half = kLanes / 2; half > 0; half /= 2) x += __shfl_xor_sync(mask, x, half);
  return x;
}
template <int kLanes>
__device__ __forceinline__ float lanes_max(float x) {
  const u32 mask = lanes_mask<kLanes>();
  for (int half = kLanes / 2; half > 0; half /= 2) {
    const float other = __shfl_xor_sync(mask, x, half);
    x = threadIdx.x & half ? maximum(other, x) : maximum(x, other);
  }
  return x;
}

// The same over the threads of a block whose indices are equal modulo kSlots.
template <int kSlots, class T, class Combine>
__device__ __forceinline__ T block_tree(T x, Combine combine) {
  T* const memory = reinterpret_cast<T*>(shared_memory());
  const int thread = static_cast<int>(threadIdx.x);
  memory[thread] = x;
  __syncthreads();
  for (int half = threads / 2; half >= kSlots; half /= 2) {
    if (thread < half) memory[thread] = combine(memory[thread], memory[thread + half]);
    __syncthreads();
  }
  x = memory[thread % kSlots];
  __syncthreads();
  return x;
}
template <int kSlots, class T>
__device__ __forceinline__ T block_sum(T x) {
  return block_tree<kSlots>(x, [](T a, T b) { return a + b; });
}
template <int kSlots>
__device__ __forceinline__ float block_max(float x) {
  return block_tree<kSlots>(x, [](float a, float b) { return maximum(a, b); });
}

__device__ __forceinline__ u32 mix_bits(u32 x) {
  x ^= x >> 16;
  x *= 0x7feb352du;
  x ^= x >> 15;
  x *= 0x846ca68bu;
  return x ^ (x >> 16);
}
__device__ __forceinline__ float random_uniform(u64 key, u32 mask, u32 counter) {
  const u32 low = static_cast<u32>(key), high = static_cast<u32>(key >> 32);
  const u32 bits = mix_bits(mix_bits(counter + low) ^ (high + mask * 0x9e3779b9u));
  return static_cast<float>(bits >> 8) * 0x1p-24f;
}

// The terms of a contraction; they end at k = kEnds. Arrays would be placed in local memory.
template <int... kEnds>
struct Terms {
  static constexpr int count = sizeof...(kEnds);
  // find: the term that k belongs to. begin: the first k of a term.
  static __device__ __forceinline__ int find(int k) {
    int term = 0;
    ((term += k >= kEnds), ...);
    return term;
  }
  static __device__ __forceinline__ int begin(int term) {
    int k = 0, i = 0;
    ((k = i++ < term ? kEnds : k), ...);
    return k;
  }
};

// How threads share the tiles of a contraction [kGates · kLength, kDepth]. A tile is kPanels whole
// panels wide, with kColumnThreads threads per row. A thread has kRows × kColumns sums. k is split
// into chunks of kChunk.
template <int kGates, int kLanes, int kLength, int kDepth, int kPanels, int kColumnThreads,
          int kColumns, int kRows, int kChunk, int kUnroll>
struct Tile {
  static constexpr int gates = kGates, lanes = kLanes, length = kLength, depth = kDepth;
  static constexpr int panels = kPanels, column_threads = kColumnThreads, columns = kColumns;
  static constexpr int rows = kRows, chunk = kChunk, pitch = kChunk + 4, unroll = kUnroll;
  static constexpr int tile_columns = kPanels * kGates * kLanes;
};

// kLength steps along k of a thread's rows × columns: sum(r, c) += x(r, k) · w(k, c), in order.
template <class S, int kLength>
__device__ __forceinline__ void contract_chunk(const float* w, const float* x,
                                               float (&sums)[S::rows][S::columns]) {
  constexpr int row_step = threads / S::column_threads * S::pitch;
#pragma unroll S::unroll
  for (int k = 0; k < kLength / 4 * 4; k += 4) {
    float four[S::rows][4];
#pragma unroll
    for (int r = 0; r < S::rows; ++r) {
      const float4 loaded = *reinterpret_cast<const float4*>(x + r * row_step + k);
      four[r][0] = loaded.x;
      four[r][1] = loaded.y;
      four[r][2] = loaded.z;
      four[r][3] = loaded.w;
    }
#pragma unroll
    for (int i = 0; i < 4; ++i)
#pragma unroll
      for (int c = 0; c < S::columns; ++c) {
        const float weight = w[(k + i) * S::tile_columns + c * S::column_threads];
#pragma unroll
        for (int r = 0; r < S::rows; ++r) sums[r][c] = fmaf(four[r][i], weight, sums[r][c]);
      }
  }
#pragma unroll
  for (int k = kLength / 4 * 4; k < kLength; ++k)
#pragma unroll
    for (int c = 0; c < S::columns; ++c) {
      const float weight = w[k * S::tile_columns + c * S::column_threads];
#pragma unroll
      for (int r = 0; r < S::rows; ++r) sums[r][c] = fmaf(x[r * row_step + k], weight, sums[r][c]);
    }
}

// Computes tiles of rows × whole panels. Chunks of k, of the panels and of the rows (which are read
// through pointers), pass through a ring of three stages in shared memory. Then the sums are
// written to shared memory, and epilogue(row, j, sums of the gates) is called for each row and
// element.
template <class S, class T, class Rows, class Epilogue>
__device__ __forceinline__ void contract(const float* weights, i64 row_begin, i64 row_end,
                                         unsigned block, unsigned blocks, Rows rows,
                                         Epilogue epilogue) {
  constexpr int width = S::gates * S::lanes, row_threads = threads / S::column_threads;
  constexpr int tile_rows = row_threads * S::rows;
  constexpr int panels = (S::length + S::lanes - 1) / S::lanes;
  constexpr int parts = (panels + S::panels - 1) / S::panels;
  constexpr int stage = S::chunk * S::tile_columns + tile_rows * S::pitch;
  constexpr int chunks = (S::depth + S::chunk - 1) / S::chunk;
  const float** const pointers = reinterpret_cast<const float**>(shared_memory());
  float* const memory = shared_memory() + (2 * T::count * tile_rows + 3) / 4 * 4;
  const int thread = static_cast<int>(threadIdx.x);
  const int column = thread % S::column_threads, row = thread / S::column_threads;
  const i64 tiles = (row_end - row_begin + tile_rows - 1) / tile_rows * parts;
  for (i64 tile = block; tile < tiles; tile += blocks) {
    const i64 first = row_begin + tile / parts * tile_rows;
    const int first_panel = static_cast<int>(tile % parts) * S::panels;
    const int count = row_end - first < tile_rows ? static_cast<int>(row_end - first) : tile_rows;
    for (int r = thread; r < count; r += threads)
      rows(static_cast<int>(first + r), pointers + r, tile_rows);
    __syncthreads();

    const auto copy = [&](int chunk) {
      float* const w = memory + chunk % 3 * stage;
      float* const x = w + S::chunk * S::tile_columns;
      const int k = chunk * S::chunk;
      const int length = S::depth - k < S::chunk ? S::depth - k : S::chunk;
      constexpr int vector = width % 4 == 0 ? 4 : 1, vectors = width / vector;
      for (int i = thread; i < S::panels * S::chunk * vectors; i += threads) {
        const int panel = i / (S::chunk * vectors), at = i % (S::chunk * vectors);
        if (at >= length * vectors || first_panel + panel >= panels) continue;
        const float* const from =
            weights + (static_cast<i64>(first_panel + panel) * S::depth + k) * width + at * vector;
        float* const to =
            w + at / vectors * S::tile_columns + panel * width + at % vectors * vector;
        if constexpr (vector == 4)
          copy_16(to, from);
        else
          copy_4(to, from);
      }
      for (int i = thread; i < count * S::chunk; i += threads) {
        const int r = i / S::chunk, at = i % S::chunk;
        if (at >= length) continue;
        const int term = T::find(k + at);
        copy_4(x + r * S::pitch + at, pointers[term * tile_rows + r] + (k + at - T::begin(term)));
      }
    };
    float sums[S::rows][S::columns] = {};
    copy(0);
    copy_group();
    if (chunks > 1) copy(1);
    copy_group();
    for (int chunk = 0; chunk < chunks; ++chunk) {
      copy_wait<1>();
      __syncthreads();
      if (chunk + 2 < chunks) copy(chunk + 2);
      copy_group();
      const float* const w = memory + chunk % 3 * stage + column;
      const float* const x =
          memory + chunk % 3 * stage + S::chunk * S::tile_columns + row * S::pitch;
      if (row >= row_threads || row >= count) continue;
      if (S::depth % S::chunk == 0 || chunk + 1 < chunks)
        contract_chunk<S, S::chunk>(w, x, sums);
      else
        contract_chunk<S, S::depth % S::chunk>(w, x, sums);
    }
    __syncthreads();

    if (row < row_threads) {
#pragma unroll
      for (int r = 0; r < S::rows; ++r)
#pragma unroll
        for (int c = 0; c < S::columns; ++c)
          if (column + c * S::column_threads < S::tile_columns)
            memory[(row + r * row_threads) * S::tile_columns + column + c * S::column_threads] =
                sums[r][c];
    }
    __syncthreads();
    for (int i = thread; i < count * S::panels * S::lanes; i += threads) {
      const int r = i / (S::panels * S::lanes), at = i % (S::panels * S::lanes);
      const int panel = at / S::lanes, lane = at % S::lanes;
      const int j = (first_panel + panel) * S::lanes + lane;
      if (j < S::length)
        epilogue(static_cast<int>(first + r), j,
                 memory + r * S::tile_columns + panel * width + lane);
    }
    __syncthreads();
  }
}
// A weight gradient [kM, kK]. The elements of its left factor lie kLeftStride apart.
template <int kM, int kK, int kLeftStride, int kRows, int kBlock>
struct Product {
  static constexpr int m = kM, k = kK, left_stride = kLeftStride, rows = kRows, block = kBlock;
  static constexpr int unroll = kRows == 4 ? 16 : 4;  // small tiles share their registers
};

// Computes tiles of Σ over rows of left(i) · right(j). Each element is summed in the order of the
// rows, in blocks of S::block rows. A thread has S::rows × 4 elements. rows(row, left, right) sets
// pointers to both factors of a row. Index is the type of row numbers.
template <class S, class Index, class Rows, class Epilogue>
__device__ __forceinline__ void outer_product(Index depth_begin, Index depth_end, unsigned block,
                                              unsigned blocks, Rows rows, Epilogue epilogue) {
  constexpr int tile_i = 16 * S::rows, tile_j = 64, chunk_rows = 16;
  constexpr int stage = chunk_rows * (tile_i + tile_j);
  static_assert(S::block % chunk_rows == 0, "blocks are whole chunks");
  constexpr int parts_i = (S::m + tile_i - 1) / tile_i, parts_j = (S::k + tile_j - 1) / tile_j;
  float* const memory = shared_memory();
  const int group = static_cast<int>(threadIdx.x) / 16, lane = static_cast<int>(threadIdx.x) % 16;
  const Index depth = depth_end > depth_begin ? depth_end - depth_begin : 0;
  const Index chunks = (depth + chunk_rows - 1) / chunk_rows;
  for (unsigned tile = block; tile < parts_i * parts_j; tile += blocks) {
    const int first_i = static_cast<int>(tile) / parts_j * tile_i;
    const int first_j = static_cast<int>(tile) % parts_j * tile_j;
    // A thread copies parts of one row of each chunk. Pointers are looked up one chunk ahead.
    const float *left = nullptr, *right = nullptr;
    const auto find = [&](Index chunk) {
      const Index row = depth_begin + chunk * chunk_rows + group;
      if (row < depth_end) rows(row, left, right);
    };
    const auto copy = [&](Index chunk) {
      if (depth_begin + chunk * chunk_rows + group >= depth_end) return;
      float* const to_left = memory + chunk % 3 * stage + group * tile_i;
      float* const to_right = memory + chunk % 3 * stage + chunk_rows * tile_i + group * tile_j;
#pragma unroll
      for (int i = lane; i < tile_i; i += 16)
        if (first_i + i < S::m)
          copy_4(to_left + i, left + static_cast<i64>(first_i + i) * S::left_stride);
#pragma unroll
      for (int j = lane; j < tile_j; j += 16)
        if (first_j + j < S::k) copy_4(to_right + j, right + first_j + j);
    };
    float totals[S::rows][4] = {}, sums[S::rows][4] = {};
    const auto step = [&](const float* x, const float* y) {
      const float4 four = *reinterpret_cast<const float4*>(y);
#pragma unroll
      for (int r = 0; r < S::rows; ++r) {
        sums[r][0] = fmaf(x[r], four.x, sums[r][0]);
        sums[r][1] = fmaf(x[r], four.y, sums[r][1]);
        sums[r][2] = fmaf(x[r], four.z, sums[r][2]);
        sums[r][3] = fmaf(x[r], four.w, sums[r][3]);
      }
    };
    find(0);
    copy(0);
    copy_group();
    find(1);
    copy(1);
    copy_group();
    find(2);
    for (Index chunk = 0; chunk < chunks; ++chunk) {
      copy_wait<1>();
      __syncthreads();
      copy(chunk + 2);
      copy_group();
      find(chunk + 3);
      const float* const x = memory + chunk % 3 * stage + group * S::rows;
      const float* const y = memory + chunk % 3 * stage + chunk_rows * tile_i + lane * 4;
      const Index rest = depth - chunk * chunk_rows;
      if (rest >= chunk_rows) {
#pragma unroll S::unroll
        for (int k = 0; k < chunk_rows; ++k) step(x + k * tile_i, y + k * tile_j);
      } else {
        for (int k = 0; k < rest; ++k) step(x + k * tile_i, y + k * tile_j);
      }
      if ((chunk + 1) % (S::block / chunk_rows) != 0 && chunk + 1 != chunks) continue;
#pragma unroll
      for (int r = 0; r < S::rows; ++r)
#pragma unroll
        for (int c = 0; c < 4; ++c) {
          totals[r][c] += sums[r][c];
          sums[r][c] = 0;
        }
    }
#pragma unroll
    for (int r = 0; r < S::rows; ++r)
#pragma unroll
      for (int c = 0; c < 4; ++c) {
        const int i = first_i + group * S::rows + r, j = first_j + lane * 4 + c;
        if (i < S::m && j < S::k) epilogue(i, j, totals[r][c]);
      }
    __syncthreads();
  }
}
