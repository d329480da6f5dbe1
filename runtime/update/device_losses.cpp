#include "runtime/update/device_losses.h"

#include <cmath>

#include "runtime/update/step_kernels.h"

namespace espalier::runtime {
namespace {

/// Calls visit(state, begin, end) for runs of losses of one state.
template <class Visit>
void visit_runs(Placement& placement, const Visit& visit) {
  const auto losses = placement.losses();
  for (std::size_t begin = 0, end; begin < losses.size(); begin = end) {
    const ir::StateId state = placement.state(losses[begin]);
    for (end = begin + 1; end < losses.size() && placement.state(losses[end]) == state;) ++end;
    visit(state, begin, end);
  }
}

std::int64_t stride() { return codegen::row_stride(1); }

}  // namespace

void DeviceLosses::seed(const Memory& memory, Placement& placement, float scale, DevicePlan& plan) {
  if (!seed_) seed_ = plan.compile(seed_kernel(stride()));
  const float* const times = plan.place(std::span<const float>(&scale, 1));
  visit_runs(placement, [&](ir::StateId state, std::size_t begin, std::size_t end) {
    const std::span<const std::int32_t> rows(memory.layout.loss_rows);
    plan.add(
        *seed_,
        {times, plan.place(rows.subspan(begin, end - begin)), memory.arenas.gradient(state, 0)},
        std::int64_t(end - begin));
  });
}

Staged DeviceLosses::staged(Placement& placement, bool seeds) {
  Staged result;
  const int passes = seeds ? 2 : 1;
  result.add(sizeof(float));
  visit_runs(placement, [&](ir::StateId, std::size_t begin, std::size_t end) {
    // Places and rows to gather, rows to seed; and the pointers to them.
    for (int i = 0; i <= passes; ++i) result.add((end - begin) * sizeof(std::int32_t));
    result.add(std::size_t(passes) * 4 * sizeof(void*));
    result.launches += std::size_t(passes);
  });
  return result;
}

void DeviceLosses::begin(double sum) {
  losses_ = 0;
  loss_ = sum;
}

void DeviceLosses::reserve(std::size_t count) {
  results_.reserve(1 + count, /*keep=*/true);  // the norm is there already, and stays
  fetched_.reserve(1 + count);
  places_.reserve(count);
  rows_.reserve(count);
}

void DeviceLosses::gather(const Memory& memory, Placement& placement, DevicePlan& plan) {
  if (losses_ > 0) {  // of an earlier part of the minibatch
    fetch(plan);
    for (std::size_t i = 0; i < losses_; ++i) loss_ += fetched_[1 + i];
  }
  const auto losses = placement.losses();
  losses_ = losses.size();
  reserve(losses_);
  fresh_ = false;
  if (!gather_) gather_ = plan.compile(gather_kernel(stride()));
  visit_runs(placement, [&](ir::StateId state, std::size_t begin, std::size_t end) {
    places_.clear();
    rows_.clear();
    for (std::size_t i = begin; i < end; ++i) {
      places_.push_back(std::int32_t(1 + i));
      rows_.push_back(std::int32_t(memory.layout.rows[losses[i]]));
    }
    plan.add(
        *gather_,
        {plan.place(places_), plan.place(rows_), memory.arenas.value(state, 0), results_.data()},
        std::int64_t(end - begin));
  });
}

void DeviceLosses::fetch(DevicePlan& plan) {
  if (fresh_) return;
  fetched_.resize(1 + losses_);
  plan.memory().read(fetched_.data(), results_.data(), fetched_.size() * sizeof(float));
  fresh_ = true;
}

double DeviceLosses::take(DevicePlan& plan) {
  if (losses_ > 0) fetch(plan);
  double loss = std::exchange(loss_, 0);
  for (std::size_t i = 0; i < losses_; ++i) loss += fetched_[1 + i];
  losses_ = 0;
  return loss;
}

float* DeviceLosses::norm_place() {
  results_.reserve(1, /*keep=*/true);
  fresh_ = false;
  return results_.data();
}

double DeviceLosses::norm(DevicePlan& plan) {
  fetch(plan);
  return fetched_.empty() ? 0 : std::sqrt(double(fetched_[0]));
}

}  // namespace espalier::runtime
