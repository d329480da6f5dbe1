#include "codegen/cpu/memory.h"

#include <llvm/Support/ErrorHandling.h>
#include <unistd.h>

#include <cstdio>
#include <new>
#include <string_view>

namespace espalier::codegen {
namespace {

thread_local int depth = 0;
std::new_handler previous = nullptr;

[[noreturn]] void end_process() {
  // What has been printed so far is kept; nothing else is safe to run.
  std::fflush(nullptr);
  constexpr std::string_view text = "espalier: error: out of memory while compiling a kernel\n";
  [[maybe_unused]] const ssize_t written = ::write(STDERR_FILENO, text.data(), text.size());
  ::_exit(1);
}

/// Of failing `operator new`, in any thread: outside LLVM all is as if it were not there.
void on_failed_new() {
  if (depth > 0) end_process();
  if (previous == nullptr) throw std::bad_alloc();
  previous();
}

/// LLVM takes much of its memory by malloc.
void on_failed_malloc(void*, const char*, bool) { end_process(); }

void install_handlers() {
  static const bool once = [] {
    previous = std::set_new_handler(on_failed_new);
    llvm::install_bad_alloc_error_handler(on_failed_malloc);
    return true;
  }();
  (void)once;
}

}  // namespace

InLlvm::InLlvm() {
  install_handlers();
  ++depth;
}

InLlvm::~InLlvm() { --depth; }

}  // namespace espalier::codegen
