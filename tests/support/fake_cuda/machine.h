// The one device of the stand-in for libcuda.so.1: its memory, and the work that waits on its only
// stream. driver.cpp has the calls about the device, modules and memory, streams.cpp those that
// work.
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
/// Blocks that fit a multiprocessor at once.
int blocks_each(std::size_t shared_bytes);
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
  std::vector<Operation>* captured = nullptr;
  CUresult failed = CUDA_SUCCESS;
  long clock = 0;

  std::size_t total() const;
  /// Runs what waits.
  CUresult drain();
  CUresult add(Operation operation);
  static bool holds(const std::map<std::uintptr_t, Allocation>& all, std::uintptr_t address,
                    std::size_t bytes);

 private:
  void protect(int how);
};
Machine& machine();

/// Held by every call that touches the machine.
extern std::mutex mutex;
using Lock = std::lock_guard<std::mutex>;

/// Whether the calling thread has a context.
bool& is_current();

}  // namespace espalier::fake
