#include "data/tolerated.h"

#include <fmt/core.h>

#include <algorithm>

namespace espalier::data {

void Tolerated::add(std::string_view kind, std::int64_t count) {
  if (count == 0) return;
  const auto known =
      std::ranges::find(counts_, kind, [](const auto& entry) { return entry.first; });
  if (known == counts_.end())
    counts_.emplace_back(kind, count);
  else
    known->second += count;
}

std::string Tolerated::to_text() const {
  std::string text;
  for (const auto& [kind, count] : counts_)
    text += fmt::format("{}{} ({})", text.empty() ? "" : ", ", kind, count);
  return text;
}

}  // namespace espalier::data
