// The middle and the spread of repeated measurements.
#pragma once

#include <vector>

namespace espalier::bench {

struct Spread {
  double median = 0, min = 0, q1 = 0, q3 = 0, max = 0;
};

/// Quartiles between two values are interpolated. All 0 of no values.
Spread spread(std::vector<double> values);

}  // namespace espalier::bench
