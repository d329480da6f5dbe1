// The only device of the stand-in for libcuda.so.1: its memory, and the work queued on its only
// stream. Used by driver.cpp and streams.cpp, which implement the driver's calls. Calls that touch
// the machine hold `mutex`.
#pragma once

#include <cuda.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <map>
#include <mutex>
#include <vector>

#define FAKE extern "C" __attribute__((visibility("default"))) CUresult

namespace espalier::fake {

using Operation = std::function<CUresult()>;
constexpr std::size_t page = 4096;
constexpr std::size_t usual_shared_bytes = 48 << 10, most_shared_bytes = 227 << 10;

int multiprocessors();
/// Blocks that run on a multiprocessor at the same time.
int blocks_each(std::size_t shared_bytes);
/// Prints the message and aborts.
[[noreturn]] void fail(const char* what);

struct Allocation {
  char* pages = nullptr;
  std::size_t mapped = 0, size = 0;
};

struct Function {
  void* kernel = nullptr;
  void (*launch)(void*, unsigned, unsigned, std::size_t, void**, bool) = nullptr;
  std::size_t shared_bytes = usual_shared_bytes;
};

struct Machine {
  std::map<std::uintptr_t, Allocation> device, pinned;  // by address
  std::size_t used = 0;
  std::vector<Operation> queue;
  std::vector<Operation>* captured = nullptr;  // the graph that is being captured
  CUresult failed = CUDA_SUCCESS;              // the first error, which stays
  long clock = 0;                              // milliseconds

  std::size_t total() const;
  /// Runs everything in the queue.
  CUresult drain();
  /// Appends to the queue or to the captured graph.
  CUresult add(Operation operation);
  /// Whether one of the allocations contains these bytes.
  static bool holds(const std::map<std::uintptr_t, Allocation>& all, std::uintptr_t address,
                    std::size_t bytes);

 private:
  void protect(int how);
};
Machine& machine();

extern std::mutex mutex;
using Lock = std::lock_guard<std::mutex>;

/// Whether the calling thread has a current context.
bool& is_current();

}  // namespace espalier::fake
