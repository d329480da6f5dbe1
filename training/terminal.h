// How detect_terminal (training/progress.h) decides, as a pure function.
#pragma once

#include <functional>

#include "training/progress.h"

namespace espalier {

/// Gives the value of an environment variable, null if it is not set.
using Environment = std::function<const char*(const char*)>;

/// `choice` wins over FORCE_COLOR (0 or false: off; else, if not empty: on), that over NO_COLOR
/// (if not empty: off), that over TERM=dumb, that over `is_terminal`.
Terminal terminal_of(bool is_terminal, int columns, ColorChoice choice,
                     const Environment& environment);

}  // namespace espalier
