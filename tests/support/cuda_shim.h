// Runs printed CUDA C++ on the host's processor, with threads and blocks as loops. It is included
// before the text, which then compiles as ordinary C++ (`c++ -include cuda_shim.h text.cpp`). The
// resulting shared object runs its kernels through espalier_host_launch.
//
// The threads of a block run one after another, each to its end. A thread that waits (at a barrier,
// or for the lanes of its warp) keeps its stack, and the next thread of its block continues.
// Another block continues when this one waits for other blocks or has ended. So a missing barrier
// is not a race but gives a wrong result, in every run. To make that likely, threads and blocks
// start in rising order if the number of blocks is even, in falling order if it is odd.
// Asynchronous copies happen as late as possible: when they are waited for. A launch in which all
// threads wait forever aborts.
#pragma once

#include <ucontext.h>

#include <atomic>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <memory>
#include <mutex>
#include <vector>

#define ESPALIER_MACHINE
#define __device__
#define __global__ __attribute__((visibility("default")))
#ifdef ESPALIER_RACES  // keeps function names for reports
#define __forceinline__ inline __attribute__((always_inline))
#define __noinline__ __attribute__((noinline, visibility("default")))
#else
#define __forceinline__ inline
#define __noinline__
#endif
#define __launch_bounds__(...)

namespace {

struct float4 {
  float x, y, z, w;
} __attribute__((aligned(16)));
struct Dimensions {
  unsigned x = 0, y = 0, z = 0;
};
[[maybe_unused]] Dimensions threadIdx, blockIdx, blockDim{1, 1, 1}, gridDim{1, 1, 1};

}  // namespace

namespace shim {
namespace {

using Kernel = void (*)(const void*);

/// A barrier of some threads of a block.
struct Barrier {
  unsigned arrived = 0;
  long generation = 0;
};
struct Warp {
  Barrier barriers[64];  // of all 32 lanes, then of two halves, four quarters and so on
  unsigned words[32];    // what the lanes exchange
};
struct Fiber;
struct Block {
  unsigned index = 0, started = 0, alive = 0;
  unsigned grid_barriers = 0;  // that it has arrived at
  // Number of its own barriers before it last arrived at a grid barrier, and before a thread other
  // than 0 last accessed memory: see arrive.
  long arrived_after = -1, touched_after = -1;
  std::deque<Fiber*> waiting;
  Barrier barrier;
  std::vector<Warp> warps;
  std::vector<float4> memory;
};
struct Copy {
  float* to;
  const float* from;
  int count;
  long barriers;  // of the block, and of the grid, before it began
  unsigned grid_barriers;
};

/// Asynchronous copies of a thread that have not happened yet, in groups. Keeps its memory.
struct Copies {
  std::vector<Copy> list;
  std::vector<std::size_t> group_ends;  // of the groups that are complete
  std::size_t landed = 0, groups_landed = 0;
};

/// A stack on which threads of a block run, one after another.
struct Fiber {
  static constexpr std::size_t stack_bytes = 128 << 10;
  Block* block = nullptr;
  unsigned thread = 0;
  std::unique_ptr<char[]> stack{new char[stack_bytes]};
  ucontext_t begin;
  void* place[5];        // of __builtin_setjmp: sanitizers do not slow it down
  bool running = false;  // whether `place` is set
  Copies copies;
};

struct Launch {
  Kernel kernel = nullptr;
  const void* argument = nullptr;
  bool falling = false;
  std::vector<Block>* blocks = nullptr;  // that run at the same time
  std::size_t turn = 0;                  // index of the block that runs
  std::vector<std::unique_ptr<Fiber>> fibers;
  std::vector<Fiber*> idle;
  Fiber* current = nullptr;
  ucontext_t home;
  // Counts events that may end a wait. If it stops, all threads wait forever.
  long progress = 0, seen = 0, turns = 0;
  std::size_t waiting = 0;
};
[[maybe_unused]] Launch launch_;

/// Whether the printed text runs now, rather than this shim.
[[maybe_unused]] bool in_text_ = false;
__attribute__((no_sanitize("thread"))) inline void run_text(bool in_text) { in_text_ = in_text; }
struct Machinery {
  Machinery() { run_text(false); }
  ~Machinery() { run_text(true); }
};
#ifdef ESPALIER_RACES
void watch_launch();
void end_of_launch();
/// `began`: set for an asynchronous copy that is complete now.
void watch(const void* address, int bytes, bool writes, const Copy* began = nullptr);
#else
inline void watch_launch() {}
inline void end_of_launch() {}
inline void watch(const void*, int, bool, const Copy* = nullptr) {}
#endif

inline void enter(Fiber* fiber) {
  launch_.current = fiber;
  blockIdx.x = fiber->block->index;
  threadIdx.x = fiber->thread;
}

/// Lets copies happen up to number `end`.
inline void land(Copies& copies, std::size_t end) {
  for (; copies.landed < end; ++copies.landed) {
    const Copy& copy = copies.list[copies.landed];
    const int bytes = static_cast<int>(sizeof(float)) * copy.count;
    watch(copy.from, bytes, false, &copy);
    watch(copy.to, bytes, true, &copy);
    for (int i = 0; i < copy.count; ++i) copy.to[i] = copy.from[i];
  }
  if (copies.landed < copies.list.size()) return;
  copies.list.clear();
  copies.group_ends.clear();
  copies.landed = copies.groups_landed = 0;
}

/// Runs threads of the block until none is left to start.
inline void work() {
  for (Fiber* fiber = launch_.current;;) {
    Block& block = *fiber->block;
    if (block.started == blockDim.x) break;
    fiber->thread = launch_.falling ? blockDim.x - 1 - block.started : block.started;
    ++block.started;
    enter(fiber);
    run_text(true);
    launch_.kernel(launch_.argument);
    run_text(false);
    land(fiber->copies, fiber->copies.list.size());
    --block.alive;
    ++launch_.progress;
    if (block.alive && block.barrier.arrived == block.alive) {
      block.barrier.arrived = 0;
      ++block.barrier.generation;
    }
  }
}

inline void go_on();

inline void fiber_main() {
  work();
  launch_.idle.push_back(launch_.current);
  launch_.current->running = false;
  go_on();
}

inline void wait(Fiber* fiber) {
  fiber->block->waiting.push_back(fiber);
  ++launch_.waiting;
}

/// Starts a fiber for the next thread of the block.
inline void start(Block& block) {
  if (launch_.idle.empty()) {
    launch_.fibers.push_back(std::make_unique<Fiber>());
    launch_.idle.push_back(launch_.fibers.back().get());
  }
  Fiber* fiber = launch_.idle.back();
  launch_.idle.pop_back();
  fiber->block = &block;
  getcontext(&fiber->begin);
  fiber->begin.uc_stack.ss_sp = fiber->stack.get();
  fiber->begin.uc_stack.ss_size = Fiber::stack_bytes;
  fiber->begin.uc_link = nullptr;
  makecontext(&fiber->begin, fiber_main, 0);
  ++launch_.progress;
  wait(fiber);
}

/// Switches to the fiber of this block that has waited longest, or else to one of the next block,
/// or ends the launch if none waits. Not inlined: __builtin_longjmp must not stand in the function
/// that called __builtin_setjmp.
[[gnu::noinline]] inline void go_on() {
  if (launch_.waiting == 0) setcontext(&launch_.home);
  std::vector<Block>& blocks = *launch_.blocks;
  while (blocks[launch_.turn].waiting.empty()) launch_.turn = (launch_.turn + 1) % blocks.size();
  std::deque<Fiber*>& waiting = blocks[launch_.turn].waiting;
  Fiber* fiber = waiting.front();
  waiting.pop_front();
  --launch_.waiting;
  enter(fiber);
  if (fiber->running) __builtin_longjmp(fiber->place, 1);
  fiber->running = true;
  setcontext(&fiber->begin);
}

/// Lets other threads run: those of this block first, or those of the next block first.
inline void pause(bool of_next = false) {
  if (launch_.progress != launch_.seen) launch_.turns = 0;
  launch_.seen = launch_.progress;
  Fiber* fiber = launch_.current;
  if (fiber->block->started < blockDim.x) start(*fiber->block);
  wait(fiber);
  if (static_cast<std::size_t>(++launch_.turns) > 4 * launch_.waiting) {
    std::fprintf(stderr, "block %u, thread %u waits forever\n", blockIdx.x, threadIdx.x);
    std::abort();
  }
  if (of_next) launch_.turn = (launch_.turn + 1) % launch_.blocks->size();
  if (__builtin_setjmp(fiber->place) == 0) go_on();
}

inline void arrive_and_wait(Barrier& barrier, unsigned count) {
  const long generation = barrier.generation;
  ++launch_.progress;
  if (++barrier.arrived >= count) {
    barrier.arrived = 0;
    ++barrier.generation;
    return;
  }
  while (barrier.generation == generation) pause();
}

inline Barrier& lanes_barrier(unsigned mask) {
  // Each set of lanes has its own barrier.
  const int lanes = __builtin_popcount(mask), first = __builtin_ctz(mask);
  return launch_.current->block->warps[threadIdx.x / 32].barriers[32 / lanes + first / lanes];
}

inline void run_blocks(unsigned first, unsigned end, std::size_t shared_bytes) {
  std::vector<Block> blocks(end - first);
  launch_.blocks = &blocks;
  launch_.turn = 0;
  for (unsigned i = first; i < end; ++i) {
    Block& block = blocks[i - first];
    block.index = launch_.falling ? end - 1 - (i - first) : i;
    block.alive = blockDim.x;
    block.warps.resize((blockDim.x + 31) / 32);
    // Memory that was not written is NaN.
    block.memory.assign((shared_bytes + 15) / 16, {NAN, NAN, NAN, NAN});
    start(block);
  }
  volatile bool done = false;
  getcontext(&launch_.home);
  if (done) return;
  done = true;
  go_on();
}

}  // namespace
}  // namespace shim

/// Runs `kernel`, whose only argument is the pointer *args[0], on a grid of blocks. If cooperative,
/// all blocks run at the same time, so that they may wait for each other.
extern "C" __global__ void espalier_host_launch(void* kernel, unsigned grid, unsigned block,
                                                std::size_t shared, void** args, bool cooperative) {
  static std::mutex one_at_a_time;
  const std::lock_guard lock(one_at_a_time);
  shim::launch_.kernel = reinterpret_cast<shim::Kernel>(kernel);
  shim::launch_.argument = *static_cast<void**>(args[0]);
  shim::launch_.falling = grid % 2 == 1;
  blockDim.x = block;
  gridDim.x = grid;
  const unsigned at_once = cooperative ? grid : 1;
  shim::watch_launch();
  for (unsigned i = 0; i < grid; i += at_once) shim::run_blocks(i, i + at_once, shared);
  shim::end_of_launch();
}

// The functions of CUDA that printed texts use.
namespace {

[[maybe_unused]] inline void __syncthreads() {
  const shim::Machinery here;
  shim::Block& block = *shim::launch_.current->block;
  shim::arrive_and_wait(block.barrier, block.alive);
}
[[maybe_unused]] inline void wait_for_lanes(unsigned mask) {
  shim::arrive_and_wait(shim::lanes_barrier(mask), __builtin_popcount(mask));
}
[[maybe_unused]] inline float __shfl_xor_sync(unsigned mask, float x, int lanes) {
  const shim::Machinery here;
  unsigned* const words = shim::launch_.current->block->warps[threadIdx.x / 32].words;
  std::memcpy(&words[threadIdx.x % 32], &x, sizeof x);
  wait_for_lanes(mask);
  float other;
  std::memcpy(&other, &words[threadIdx.x % 32 ^ lanes], sizeof other);
  wait_for_lanes(mask);
  return other;
}
[[maybe_unused]] inline double __shfl_xor_sync(unsigned mask, double x, int lanes) {
  float half[2];
  std::memcpy(half, &x, sizeof x);
  for (float& part : half) part = __shfl_xor_sync(mask, part, lanes);
  std::memcpy(&x, half, sizeof x);
  return x;
}
[[maybe_unused]] inline unsigned __float_as_uint(float x) {
  unsigned bits;
  std::memcpy(&bits, &x, sizeof bits);
  return bits;
}
[[maybe_unused]] inline float __uint_as_float(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}
[[maybe_unused]] inline float __int_as_float(unsigned bits) {
  float x;
  std::memcpy(&x, &bits, sizeof x);
  return x;
}

// The machine-dependent functions of the prelude.
[[maybe_unused]] inline float* shared_memory() {
  const shim::Machinery here;
  return &shim::launch_.current->block->memory.data()->x;
}
// Cannot be checked: a pointer may lie some rows before its allocation.
[[maybe_unused]] inline void is_global(const void*) {}
[[maybe_unused]] inline void copy_async(float* to, const float* from, int count) {
  const shim::Machinery here;
  const shim::Block& block = *shim::launch_.current->block;
  shim::launch_.current->copies.list.push_back(
      {to, from, count, block.barrier.generation, block.grid_barriers});
  shim::watch(from, 4 * count, false);
  shim::watch(to, 4 * count, true);
}
[[maybe_unused]] inline void copy_4(float* to, const float* from) { copy_async(to, from, 1); }
[[maybe_unused]] inline void copy_16(float* to, const float* from) {
  if (reinterpret_cast<std::uintptr_t>(to) % 16 || reinterpret_cast<std::uintptr_t>(from) % 16) {
    std::fprintf(stderr, "a copy of 16 bytes is not aligned to 16 bytes\n");
    std::abort();
  }
  copy_async(to, from, 4);
}
[[maybe_unused]] inline void copy_group() {
  const shim::Machinery here;
  shim::Copies& copies = shim::launch_.current->copies;
  copies.group_ends.push_back(copies.list.size());
}
[[maybe_unused]] inline void arrive(unsigned* count) {
  const shim::Machinery here;
  shim::Block& block = *shim::launch_.current->block;
  ++block.grid_barriers;
  // Between two barriers of its own, while its other threads access no memory.
  block.arrived_after = block.barrier.generation;
  if (block.touched_after == block.arrived_after) shim::watch(count, 4, false);
  ++*count;
  ++shim::launch_.progress;
}
[[maybe_unused]] inline unsigned arrivals(const unsigned* count) {
  const shim::Machinery here;
  shim::pause(/*of_next=*/true);
  return *count;
}
template <int kLeft>
inline void copy_wait() {
  const shim::Machinery here;
  shim::Copies& copies = shim::launch_.current->copies;
  while (copies.group_ends.size() > copies.groups_landed + kLeft)
    shim::land(copies, copies.group_ends[copies.groups_landed++]);
}

}  // namespace

#ifdef ESPALIER_RACES
#include "tests/support/cuda_races.h"
#endif
