#include "tests/support/oracle_check.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "codegen/kernel/kernel.h"
#include "ir/record/recorder.h"
#include "runtime/step/random_keys.h"
#include "tests/support/rounding.h"

namespace espalier::test {

namespace {

constexpr std::uint64_t salts[] = {3, 12, 40};  // more where the fewer do not do

/// Masks as an engine draws them at its first step.
Oracle::Mask mask_of_engine(std::uint64_t seed) {
  return [seed](const ir::InstanceGraph::Stream& stream, int mask, double probability,
                std::int64_t position) {
    ir::InstanceGraph one;
    one.add_copy(0, {}, {}, {stream.example, stream.call, 0});
    const ir::InstanceId id = 0;
    std::uint64_t key = 0;
    runtime::draw_keys(seed, 0, one, {&id, 1}, &key);
    const auto counter = std::uint32_t(position + stream.element * codegen::child_counter_stride);
    const bool drop = codegen::random_uniform(key, std::uint32_t(mask), counter) < probability;
    return drop ? 0 : 1 / (1 - probability);
  };
}

}  // namespace

OracleCheck::OracleCheck(const ir::Program& program, Oracle::Tensors params, std::uint64_t seed,
                         double scale, const std::function<void(const Instances&)>& record)
    : program_(program),
      scale_(scale),
      recorder_(program_),
      oracle_(program_, std::move(params), mask_of_engine(seed)) {
  record(Instances(recorder_));
}

void OracleCheck::expect(std::uint64_t count) {
  const ir::InstanceGraph& graph = recorder_.graph();
  while (expected_.size() <= count) {
    const bool exact = expected_.empty();
    oracle_.set_salt(expected_.size());
    Expected& of = expected_.emplace_back();
    const std::vector<Oracle::Tensors> states = oracle_.forward(graph);
    for (const Oracle::Tensors& fields : states)
      of.values.insert(of.values.end(), fields.begin(), fields.end());
    for (const ir::InstanceId loss : recorder_.losses()) {
      of.loss += scale_ * states[loss][0][0];
      if (exact) loss_size_ += std::abs(scale_ * states[loss][0][0]);
    }
    of.gradients = oracle_.gradients(graph, recorder_.losses(), scale_, exact ? &sizes_ : nullptr);
  }
}

std::string OracleCheck::compare(const std::string& what, const Floats& got,
                                 Oracle::Tensors Expected::* of, const Oracle::Tensors* sizes) {
  std::string found;
  for (const std::uint64_t count : salts) {
    expect(count);
    found.clear();
    for (std::size_t i = 0; i < got.size() && found.empty(); ++i)
      for (std::size_t e = 0; e < got[i].size() && found.empty(); ++e) {
        const auto at = [&](std::uint64_t salt) { return (expected_[salt].*of).at(i).at(e); };
        double allowed = 4 * kRounding * std::abs(at(0)) + 1e-3 * kRounding;
        if (sizes) allowed += double(recorder_.size() + 4) * kRounding * (*sizes)[i][e];
        for (std::uint64_t salt = 1; salt <= count; ++salt)
          allowed = std::max(allowed, 4 * std::abs(at(salt) - at(0)));
        if (!(std::abs(got[i][e] - at(0)) <= allowed))
          found = fmt::format("{} {} at {}: {} instead of {}, {:.2g} off where {:.2g} is allowed",
                              what, i, e, got[i][e], at(0), std::abs(got[i][e] - at(0)), allowed);
      }
    if (found.empty()) break;
  }
  return found;
}

std::string OracleCheck::values(const Floats& got) {
  return compare("value", got, &Expected::values, nullptr);
}

std::string OracleCheck::gradients(const Floats& got) {
  expect(0);
  return compare("gradient", got, &Expected::gradients, &sizes_);
}

std::string OracleCheck::loss(double got) {
  std::string found;
  for (const std::uint64_t count : salts) {
    expect(count);
    const double wanted = expected_[0].loss;
    double allowed = 4 * kRounding * loss_size_;
    for (std::uint64_t salt = 1; salt <= count; ++salt)
      allowed = std::max(allowed, 4 * std::abs(expected_[salt].loss - wanted));
    if (std::abs(got - wanted) <= allowed) return {};
    found = fmt::format("loss {} instead of {}, {:.2g} off where {:.2g} is allowed", got, wanted,
                        std::abs(got - wanted), allowed);
  }
  return found;
}

}  // namespace espalier::test
