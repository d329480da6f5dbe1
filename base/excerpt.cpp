#include "base/excerpt.h"

#include <fmt/format.h>

#include <algorithm>

namespace espalier {

std::string excerpt(std::string_view text) {
  constexpr std::size_t longest = 60;
  std::size_t end = std::min(text.size(), longest);
  while (end < text.size() && end > 0 && (text[end] & 0xC0) == 0x80) --end;  // whole characters
  std::string shown;
  for (const char c : text.substr(0, end)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte < 0x20 || byte == 0x7F)
      shown += fmt::format("\\x{:02X}", byte);
    else
      shown += c;
  }
  return end < text.size() ? shown + "…" : shown;
}

}  // namespace espalier
