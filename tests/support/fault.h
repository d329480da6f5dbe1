// What a trial of a random program finds wrong.
#pragma once

#include <algorithm>
#include <exception>
#include <string>

namespace espalier::test {

/// What is wrong, in two words and in full; empty if nothing is.
struct Fault {
  std::string kind, what;
  explicit operator bool() const { return !kind.empty(); }
};

/// What `check` finds; an error is a fault whose kind is its text without numbers.
template <class Check>
Fault guarded(const Check& check) {
  try {
    return check();
  } catch (const std::exception& error) {
    std::string kind = error.what();
    std::erase_if(kind, [](char c) { return c >= '0' && c <= '9'; });
    return {kind.substr(0, 120), error.what()};
  }
}

}  // namespace espalier::test
