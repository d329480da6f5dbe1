// Text from outside, made fit for an error message. Used by the readers of programs and of saved
// models.
#pragma once

#include <string>
#include <string_view>

namespace espalier {

/// `text`, shortened if it is long, with control characters escaped.
std::string excerpt(std::string_view text);

}  // namespace espalier
