// What may be written to a stream: a moving bar, colours, block characters. Decided once by the
// command from its options, the environment and the stream.
#pragma once

#include <cstdint>
#include <functional>

namespace espalier {

enum class ColorChoice : std::uint8_t { automatic, always, never };

struct Terminal {
  bool interactive = false;  ///< lines may be written over
  bool color = false;
  bool unicode = false;
  int columns = 80;
};

/// Gives the value of an environment variable, null if it is not set.
using Environment = std::function<const char*(const char*)>;

/// `--color` wins over FORCE_COLOR (0 or false: off; else, if not empty: on), that over NO_COLOR
/// (if not empty: off), that over TERM=dumb, that over whether it is a terminal.
Terminal terminal_of(bool is_terminal, int columns, ColorChoice choice,
                     const Environment& environment);

/// The same for a file descriptor of this process.
Terminal detect_terminal(int descriptor, ColorChoice choice = ColorChoice::automatic);

}  // namespace espalier
