// The message of what an action throws, for tests of error texts.
#pragma once

#include <string>

#include "base/error.h"

namespace espalier::test {

/// The message of the `Error` that `action` throws; a note that there was none otherwise.
template <class Error = UserError, class Action>
std::string refusal(Action&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.what();
  }
  return "(nothing thrown)";
}

}  // namespace espalier::test
