#include "tests/support/fake_cuda/machine.h"

#include <sys/mman.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>

namespace espalier::fake {

namespace {

constexpr std::size_t reserved_shared_bytes = 1 << 10;  // of each block
constexpr int most_blocks_each = 2;

// In static thread-local storage. For libraries loaded later, thread-local storage would be
// allocated dynamically; LeakSanitizer mistakes one in 64 such blocks for those of an older C
// library, reads a size before them, and crashes.
[[gnu::tls_model("initial-exec")]] thread_local bool current = false;

}  // namespace

int multiprocessors() {
  const char* const given = std::getenv("ESPALIER_FAKE_CUDA_MULTIPROCESSORS");
  return given ? std::atoi(given) : 2;
}

int blocks_each(std::size_t shared_bytes) {
  const std::size_t most = most_shared_bytes + reserved_shared_bytes;
  return int(
      std::min<std::size_t>(most_blocks_each, most / (shared_bytes + reserved_shared_bytes)));
}

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "stand-in for the CUDA driver: %s\n", what);
  std::abort();
}

std::size_t Machine::total() const {
  const char* bytes = std::getenv("ESPALIER_FAKE_CUDA_BYTES");
  return bytes ? std::strtoull(bytes, nullptr, 10) : std::size_t{4} << 30;
}

void Machine::protect(int how) {
  for (auto& [address, allocation] : device)
    if (mprotect(allocation.pages, allocation.mapped - page, how) != 0) fail("mprotect");
}

CUresult Machine::drain() {
  if (!queue.empty()) {
    protect(PROT_READ | PROT_WRITE);
    std::vector<Operation> todo;
    todo.swap(queue);
    for (Operation& operation : todo) {
      if (failed == CUDA_SUCCESS) failed = operation();
      ++clock;
    }
    protect(PROT_NONE);
  }
  return failed;
}

CUresult Machine::add(Operation operation) {
  if (failed != CUDA_SUCCESS) return failed;
  (captured ? *captured : queue).push_back(std::move(operation));
  return CUDA_SUCCESS;
}

bool Machine::holds(const std::map<std::uintptr_t, Allocation>& all, std::uintptr_t address,
                    std::size_t bytes) {
  auto after = all.upper_bound(address);
  if (after == all.begin()) return false;
  const auto& [begin, allocation] = *--after;
  return address + bytes <= begin + allocation.size;
}

std::mutex mutex;
Machine& machine() {
  static Machine one;
  return one;
}
bool& is_current() { return current; }

}  // namespace espalier::fake
