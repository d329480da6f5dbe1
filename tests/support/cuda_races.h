// Finds races in a text that cuda_shim.h runs: accesses to the same bytes, at least one of them a
// write, by threads of a block without a __syncthreads between them, or by different blocks without
// a barrier of all blocks between them. Included by the shim if the text is compiled with
// -DESPALIER_RACES and -fsanitize=thread; the calls that this flag inserts before each access come
// here instead of to the sanitizer. Prints each pair of places once. A launch with races aborts at
// its end.
#pragma once

#include <dlfcn.h>

#include <memory>
#include <set>
#include <unordered_map>
#include <utility>

namespace shim {
namespace {

#define UNWATCHED __attribute__((no_sanitize("thread"), noinline))

/// Which thread last wrote or read two bytes, and when: the number of the launch, of barriers of
/// the grid and of barriers of the block before it.
struct Access {
  static constexpr unsigned several = 0xffff;
  unsigned launch = 0, grid_barriers = 0;
  long barriers = 0;
  unsigned short block = 0, thread = 0;  ///< or `several`
  const void* place = nullptr;           ///< address in the code
};
struct Cell {
  Access write, read;
};
constexpr std::size_t page_cells = 2048;

struct Watch {
  unsigned launch = 0;
  std::unordered_map<std::uintptr_t, std::unique_ptr<Cell[]>> pages;
  std::uintptr_t last_page = 0;
  Cell* last = nullptr;
  std::set<std::pair<const void*, const void*>> found;
};
Watch watch_;

const char* name_of(const void* place) {
  Dl_info info;
  return place && dladdr(place, &info) && info.dli_sname ? info.dli_sname : "?";
}

/// Whether `other` and the access `now`, which began at `began`, may happen in any order.
bool unordered(const Access& other, const Access& now, const Access& began, bool shared) {
  if (other.launch != now.launch) return false;
  // Shared memory of blocks that run one after another may have the same address.
  if (other.block != now.block) return !shared && other.grid_barriers >= began.grid_barriers;
  return other.thread != now.thread && other.barriers >= began.barriers;
}

void report(const Access& first, bool wrote, const Access& now, bool writes, const void* address) {
  if (!watch_.found.emplace(first.place, now.place).second) return;
  const auto print = [](const Access& access, bool written) {
    std::fprintf(stderr, "%s in %s by block %d, thread %d", written ? "written" : "read",
                 name_of(access.place), access.block == Access::several ? -1 : int(access.block),
                 access.thread == Access::several ? -1 : int(access.thread));
  };
  std::fprintf(stderr, "race at %p: ", address);
  print(first, wrote);
  std::fprintf(stderr, ", and ");
  print(now, writes);
  std::fprintf(stderr, "\n");
}

void access(Cell& cell, const Access& now, const Access& began, bool writes, bool shared,
            const void* address) {
  if (unordered(cell.write, now, began, shared)) report(cell.write, true, now, writes, address);
  if (writes) {
    if (unordered(cell.read, now, began, shared)) report(cell.read, false, now, writes, address);
    cell.write = now;
    return;
  }
  Access& read = cell.read;
  const bool of_blocks = !shared && read.launch == now.launch &&
                         read.grid_barriers == now.grid_barriers && read.block != now.block;
  const bool of_threads = !of_blocks && read.launch == now.launch && read.block == now.block &&
                          read.barriers == now.barriers && read.thread != now.thread;
  read = now;
  if (of_blocks) read.block = Access::several;
  if (of_threads) read.thread = Access::several;
}

UNWATCHED void watch_launch() { ++watch_.launch; }
UNWATCHED void end_of_launch() {
  if (!watch_.found.empty()) std::abort();
}

/// Thread 0 arrives at a barrier of all blocks on behalf of its whole block. Reports other threads
/// that go on without waiting for it.
void check_arrival(Block& block, const Fiber& fiber, const void* place) {
  if (fiber.thread != 0) block.touched_after = block.barrier.generation;
  if (block.arrived_after != block.barrier.generation ||
      block.touched_after != block.arrived_after || !watch_.found.emplace(place, nullptr).second)
    return;
  std::fprintf(stderr, "race: block %u arrives at a barrier while thread %u goes on in %s\n",
               block.index, fiber.thread, name_of(place));
}

UNWATCHED void watch_at(const void* address, int bytes, bool writes, const Copy* began,
                        const void* place) {
  const bool was_in_text = in_text_;  // no call may come before it is false
  in_text_ = false;
  Fiber& fiber = *launch_.current;
  Block& block = *fiber.block;
  const auto at = reinterpret_cast<std::uintptr_t>(address);
  const auto within = [&](const void* begin, std::size_t size) {
    return at - reinterpret_cast<std::uintptr_t>(begin) < size;
  };
  bool own = within(fiber.stack.get(), Fiber::stack_bytes);
  for (const Dimensions* numbers : {&threadIdx, &blockIdx, &blockDim, &gridDim})
    own |= within(numbers, sizeof *numbers);
  if (!own) {
    check_arrival(block, fiber, place);
    const bool shared = within(block.memory.data(), 16 * block.memory.size());
    Access now{watch_.launch,
               block.grid_barriers,
               block.barrier.generation,
               static_cast<unsigned short>(block.index),
               static_cast<unsigned short>(fiber.thread),
               place};
    Access since = now;
    if (began) {
      since.barriers = began->barriers;
      since.grid_barriers = began->grid_barriers;
    }
    for (std::uintptr_t cell = at / 2; cell < (at + bytes + 1) / 2; ++cell) {
      const std::uintptr_t page = cell / page_cells;
      if (!watch_.last || watch_.last_page != page) {
        auto& cells = watch_.pages[page];
        if (!cells) cells = std::make_unique<Cell[]>(page_cells);
        watch_.last_page = page;
        watch_.last = cells.get();
      }
      access(watch_.last[cell % page_cells], now, since, writes, shared, address);
    }
  }
  in_text_ = was_in_text;
}

UNWATCHED void watch(const void* address, int bytes, bool writes, const Copy* began) {
  watch_at(address, bytes, writes, began, __builtin_return_address(0));
}

}  // namespace
}  // namespace shim

#define CALLED extern "C" UNWATCHED __attribute__((visibility("hidden"))) void
#define WATCHED(name, bytes, writes)                                                \
  CALLED __tsan_##name(void* address) {                                             \
    if (shim::in_text_)                                                             \
      shim::watch_at(address, bytes, writes, nullptr, __builtin_return_address(0)); \
  }
WATCHED(read1, 1, false)
WATCHED(read2, 2, false)
WATCHED(read4, 4, false)
WATCHED(read8, 8, false)
WATCHED(read16, 16, false)
WATCHED(write1, 1, true)
WATCHED(write2, 2, true)
WATCHED(write4, 4, true)
WATCHED(write8, 8, true)
WATCHED(write16, 16, true)
#define WATCHED_RANGE(name, writes)                                                      \
  CALLED __tsan_##name(void* address, unsigned long bytes) {                             \
    if (shim::in_text_)                                                                  \
      shim::watch_at(address, int(bytes), writes, nullptr, __builtin_return_address(0)); \
  }
WATCHED_RANGE(read_range, false)
WATCHED_RANGE(write_range, true)
CALLED __tsan_init() {}
CALLED __tsan_func_entry(void*) {}
CALLED __tsan_func_exit() {}
