// A library to preload: allocations of the program fail as these variables say, counted from the
// start of main, in all threads.
//   ESPALIER_FAIL_ALLOCATION=N   the Nth fails; 0: none, and how many there were is told at the end
//   ESPALIER_FAIL_ONWARD=1       all after it, too
#include <dlfcn.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <cstdlib>

extern "C" {

// glibc's own, under the names that it exports them by.
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* old, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);

using Main = int (*)(int, char**, char**);
}

namespace {

std::atomic<bool> counting = false;
std::atomic<long> count = 0;
long first = 0;
bool onward = false;
Main real_main = nullptr;

bool fails() {
  if (!counting) return false;
  const long number = ++count;
  const bool failing = first > 0 && (onward ? number >= first : number == first);
  if (failing) errno = ENOMEM;
  return failing;
}

int counted_main(int argc, char** argv, char** environment) {
  if (const char* text = std::getenv("ESPALIER_FAIL_ALLOCATION")) first = std::atol(text);
  onward = std::getenv("ESPALIER_FAIL_ONWARD") != nullptr;
  counting = true;
  const int status = real_main(argc, argv, environment);
  counting = false;
  if (first == 0) std::fprintf(stderr, "allocations: %ld\n", count.load());
  return status;
}

}  // namespace

extern "C" {

void* malloc(std::size_t size) { return fails() ? nullptr : __libc_malloc(size); }

void* calloc(std::size_t number, std::size_t size) {
  return fails() ? nullptr : __libc_calloc(number, size);
}

void* realloc(void* old, std::size_t size) {
  return size > 0 && fails() ? nullptr : __libc_realloc(old, size);
}

void* memalign(std::size_t alignment, std::size_t size) {
  return fails() ? nullptr : __libc_memalign(alignment, size);
}

void* aligned_alloc(std::size_t alignment, std::size_t size) { return memalign(alignment, size); }

int posix_memalign(void** result, std::size_t alignment, std::size_t size) {
  if (fails()) return ENOMEM;
  *result = __libc_memalign(alignment, size);
  return *result == nullptr ? ENOMEM : 0;
}

// LLVM maps the memory of machine code itself.
void* mmap(void* address, std::size_t size, int protection, int flags, int file, off_t offset) {
  if ((flags & MAP_ANONYMOUS) != 0 && fails()) return MAP_FAILED;
  return reinterpret_cast<void*>(syscall(SYS_mmap, address, size, protection, flags, file, offset));
}

int __libc_start_main(Main main, int argc, char** argv, void (*init)(), void (*fini)(),
                      void (*loader_fini)(), void* stack_end) {
  using Start = int (*)(Main, int, char**, void (*)(), void (*)(), void (*)(), void*);
  real_main = main;
  const auto start = reinterpret_cast<Start>(dlsym(RTLD_NEXT, "__libc_start_main"));
  return start(counted_main, argc, argv, init, fini, loader_fini, stack_end);
}
}
