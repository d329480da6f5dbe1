// What other programs call our flags, so that a command line written from habit is answered with
// the right one. Used where a flag is not known.
#pragma once

#include <span>
#include <string>
#include <string_view>

namespace espalier::app {

/// What to say of a flag that is none of `names`: the name it has here, or the nearest one. All
/// with their dashes; `names` is not empty.
std::string unknown_flag(std::string_view flag, std::span<const std::string> names);

}  // namespace espalier::app
