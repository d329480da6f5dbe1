#include "bench/measure/statistics.h"

#include <algorithm>

namespace espalier::bench {

Spread spread(std::vector<double> values) {
  if (values.empty()) return {};
  std::ranges::sort(values);
  const auto at = [&](double part) {
    const double position = part * static_cast<double>(values.size() - 1);
    const auto below = static_cast<std::size_t>(position);
    const std::size_t above = std::min(below + 1, values.size() - 1);
    return values[below] +
           (position - static_cast<double>(below)) * (values[above] - values[below]);
  };
  return {at(0.5), values.front(), at(0.25), at(0.75), values.back()};
}

}  // namespace espalier::bench
