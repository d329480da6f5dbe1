#include "base/error.h"

#include <algorithm>
#include <numeric>
#include <vector>

namespace espalier {
namespace {

constexpr std::size_t kLongest = 60;

}  // namespace

std::size_t edit_distance(std::string_view a, std::string_view b) {
  // Names from outside may have any length, and the time grows with the product of both.
  a = a.substr(0, kLongest);
  b = b.substr(0, kLongest);
  std::vector<std::size_t> row(b.size() + 1);
  std::iota(row.begin(), row.end(), 0);
  for (std::size_t i = 1; i <= a.size(); ++i) {
    std::size_t diagonal = std::exchange(row[0], i);
    for (std::size_t j = 1; j <= b.size(); ++j) {
      const std::size_t above = row[j];
      row[j] = std::min({above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1])});
      diagonal = above;
    }
  }
  return row.back();
}

std::string nearest_name(std::string_view name, std::span<const std::string_view> names) {
  const auto best = std::ranges::min_element(
      names, {}, [&](std::string_view other) { return edit_distance(name, other); });
  return best == names.end() ? std::string() : std::string(*best);
}

}  // namespace espalier
