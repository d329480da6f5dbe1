// What the fuzzed readers share: bytes as text, and that a reader either gives something or throws
// UserError. Anything else ends the process: an InternalError, a crash, a property that fails.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "base/error.h"

namespace espalier::fuzz {

inline std::string_view text_of(const std::uint8_t* data, std::size_t size) {
  return {reinterpret_cast<const char*>(data), size};
}

/// Holds for all inputs.
inline void expect(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "expected: %s\n", what);
  std::abort();
}

/// Calls `read`; whether it did not refuse the input. A refusal says something, and first `place`.
template <class Read>
bool accepts(const Read& read, std::string_view place = "") {
  try {
    read();
    return true;
  } catch (const UserError& error) {
    const std::string_view text = error.what();
    expect(!text.empty(), "a refusal that says why");
    expect(text.starts_with(place), "a refusal that says where");
    expect(text.size() < 4000, "a refusal that can be read");
    return false;
  }
}

}  // namespace espalier::fuzz
