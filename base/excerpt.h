// Text from outside, as a message shows it. Used by the readers of programs and of saved models.
#pragma once

#include <string>
#include <string_view>

namespace espalier {

/// `text`, cut when long, with its control characters spelled out.
std::string excerpt(std::string_view text);

}  // namespace espalier
