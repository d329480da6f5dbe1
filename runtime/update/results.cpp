#include "runtime/update/results.h"

#include <cmath>

namespace espalier::runtime {

void Results::reserve(std::size_t losses) {
  results_.reserve(1 + losses, /*keep=*/true);  // the norm may be there already
  fetched_.reserve(1 + losses);
}

float* Results::for_norm() {
  results_.reserve(1, /*keep=*/true);
  fresh_ = false;
  return results_.data();
}

float* Results::for_losses(std::size_t count) {
  losses_ = count;
  reserve(count);
  fresh_ = false;
  return results_.data();
}

void Results::fetch() {
  if (fresh_) return;
  fetched_.resize(1 + losses_);
  memory_.read(fetched_.data(), results_.data(), fetched_.size() * sizeof(float));
  fresh_ = true;
}

std::span<const float> Results::losses() {
  if (losses_ == 0) return {};
  fetch();
  return std::span(fetched_).subspan(1, losses_);
}

double Results::norm() {
  fetch();
  return fetched_.empty() ? 0 : std::sqrt(double(fetched_[0]));
}

}  // namespace espalier::runtime
