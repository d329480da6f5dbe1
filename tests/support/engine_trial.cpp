#include "tests/support/engine_trial.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <optional>
#include <string>
#include <utility>

#include "base/error.h"
#include "codegen/cpu/host_targets.h"
#include "codegen/kernel/target.h"
#include "ir/record/recorder.h"
#include "runtime/engine.h"
#include "scheduler/strategy.h"
#include "tests/support/oracle_check.h"
#include "tests/support/random.h"
#include "tests/support/random_calls.h"

namespace espalier::test {

namespace {

using Floats = OracleCheck::Floats;

/// What a minibatch gives.
struct Result {
  Floats values;  ///< of all calls, field by field; none of a minibatch in parts
  double loss = 0;
  Floats gradients;
  StepStatistics statistics;
};

/// The trial of one seed.
class SeedTrial {
 public:
  SeedTrial(const ir::Program& program, std::uint64_t seed, EngineOptions options,
            std::map<std::string, Engine>& engines, std::uint64_t& minibatches)
      : program_(program),
        seed_(seed),
        options_(std::move(options)),
        examples_(2 + seed % 4),
        engines_(engines),
        minibatches_(minibatches) {}

  Fault check() {
    const Result wanted = run(options_);
    for (const auto& values : {wanted.values, wanted.gradients})
      for (const auto& of : values)
        for (const float x : of)
          if (!std::isfinite(x)) return {};  // numbers have grown out of bounds: nothing to compare
    if (Fault fault = against_oracle(wanted, "the reference")) return fault;
    if (Fault fault = alone(wanted)) return fault;
    const auto strategies = scheduler::strategies();
    for (std::size_t i = 0; i < strategies.size(); ++i) {
      EngineOptions options = options_;
      options.strategy = strategies[i].name;
      options.threads = 1 + int((i + seed_) % 2);
      options.share = (i + seed_ / 2) % 2 == 0;
      const std::string what = text_of(options);
      const Result result = run(options);
      if (Fault fault = same(result, wanted, what)) return fault;
      if (Fault fault = against_oracle(result, what)) return fault;
      if (i != seed_ / 4 % strategies.size()) continue;
      options.threads = 3 - options.threads;
      const Result again = run(options);
      if (Fault fault = same(again, wanted, what + " and the other number")) return fault;
      if (again.gradients != result.gradients)
        return {"gradients differ with threads", difference(again.gradients, result.gradients)};
      options.threads = 3 - options.threads;
      const Result between = run(options, Between::values);
      if (Fault fault = same(between, wanted, what + ", values between")) return fault;
      if (Fault fault = against_oracle(between, what + ", values between")) return fault;
      if (seed_ % 8 != 0) continue;  // makes engines of its own
      if (Fault fault = in_parts(options, wanted, what)) return fault;
    }
    return {};
  }

 private:
  enum class Between { nothing, values };

  static std::string text_of(const EngineOptions& options) {
    return fmt::format("{}, {} threads{}", options.strategy, options.threads,
                       options.share ? ", shared" : "");
  }

  void prepare(Engine& engine) const {
    engine.set_step(0);  // of which dropout draws
    Random random(seed_ + 1);
    for (const ir::Param& param : engine.program().params)
      for (float& value : engine.param(param.name)) value = float(random.real(-0.5, 0.5));
  }

  Engine& engine(const EngineOptions& options) {
    Engine& result = engines_.try_emplace(text_of(options), program_, options).first->second;
    prepare(result);
    return result;
  }

  template <class Each>
  void record(const Instances& minibatch, const Each& each) const {
    for (std::uint64_t i = 0; i < examples_; ++i) record_random(minibatch, example(i), i, each);
  }
  void record(const Instances& minibatch) const {
    record(minibatch, [](ir::CallId) {});
  }
  /// Some examples come twice, under another name.
  std::uint64_t example(std::uint64_t i) const { return seed_ * 10 + i % 3; }

  static Floats values(Engine& engine, const Instances& minibatch) {
    Floats result;
    ir::Recorder& recorder = minibatch.recorder();
    for (ir::CallId call = 0; call < minibatch.size(); ++call) {
      const auto& fields = recorder.source().states[std::size_t(recorder.state(call))].fields;
      for (int field = 0; field < int(fields.size()); ++field) {
        const auto read = engine.value(recorder.handle(call), field);
        result.emplace_back(read.begin(), read.end());
      }
    }
    return result;
  }

  Result run(const EngineOptions& options, Between between = Between::nothing) {
    return run(engine(options), between);
  }

  Result run(Engine& engine, Between between = Between::nothing) {
    ++minibatches_;
    const Instances minibatch = engine.instances();
    record(minibatch, [&](ir::CallId call) {
      if (between == Between::values) engine.value(minibatch.recorder().handle(call));
    });
    const StepResult step = engine.gradients(minibatch, scale());
    Result result{{}, step.loss, {}, step.statistics};
    if (step.statistics.parts <= 1) result.values = values(engine, minibatch);
    for (const ir::Param& param : program_.params)
      result.gradients.push_back(engine.gradient(param.name));
    return result;
  }

  /// Each example by itself gives what it gives among others.
  Fault alone(const Result& wanted) {
    ++minibatches_;
    Engine& engine = this->engine(options_);
    Floats all;
    for (std::uint64_t i = 0; i < examples_; ++i) {
      const Instances minibatch = engine.instances();
      record_random(minibatch, example(i), i);
      for (auto& value : values(engine, minibatch)) all.push_back(std::move(value));
    }
    if (all == wanted.values) return {};
    return {"an example sees its company", difference(all, wanted.values)};
  }

  Fault in_parts(EngineOptions options, const Result& wanted, const std::string& what) {
    std::int64_t needed = 0;
    {
      Engine fresh(program_, options);
      const Instances minibatch = fresh.instances();
      record(minibatch);
      needed = fresh.forecast_bytes(minibatch);
    }
    for (const double share : {0.9, 0.7}) {
      options.memory_limit = std::int64_t(double(needed) * share);
      try {
        Engine limited(program_, options);
        prepare(limited);
        const Result result = run(limited);
        const std::string in = fmt::format("{}, {} parts", what, result.statistics.parts);
        if (result.loss != wanted.loss)
          return {"the loss differs in parts",
                  fmt::format("{}: {} instead of {}", in, result.loss, wanted.loss)};
        if (Fault fault = against_oracle(result, in)) return fault;
      } catch (const UserError&) {
        return {};  // one example takes more
      }
    }
    return {};
  }

  static std::string difference(const Floats& got, const Floats& wanted) {
    if (got.size() != wanted.size())
      return fmt::format("{} values instead of {}", got.size(), wanted.size());
    for (std::size_t i = 0; i < got.size(); ++i)
      for (std::size_t e = 0; e < got[i].size(); ++e)
        if (e >= wanted[i].size() || got[i][e] != wanted[i][e])
          return fmt::format("value {} at {}: {} instead of {}", i, e, got[i][e],
                             e < wanted[i].size() ? wanted[i][e] : NAN);
    return "a NaN, or of another size";
  }

  static Fault same(const Result& got, const Result& wanted, const std::string& what) {
    if (got.values != wanted.values)
      return {"values differ", what + ": " + difference(got.values, wanted.values)};
    if (got.loss != wanted.loss)
      return {"the loss differs", fmt::format("{}: {} instead of {}", what, got.loss, wanted.loss)};
    return {};
  }

  Fault against_oracle(const Result& got, const std::string& what) {
    if (!oracle_) {
      Random random(seed_ + 1);
      Oracle::Tensors params;
      for (const ir::Param& param : program_.params) {
        auto& values = params.emplace_back();
        for (std::int64_t i = 0; i < param.shape.size(); ++i)
          values.push_back(float(random.real(-0.5, 0.5)));
      }
      oracle_.emplace(program_, std::move(params), options_.seed, scale(),
                      [this](const Instances& minibatch) { record(minibatch); });
    }
    for (const std::string& found :
         {oracle_->values(got.values), oracle_->loss(got.loss), oracle_->gradients(got.gradients)})
      if (!found.empty()) return {"not what the oracle says", what + ": " + found};
    return {};
  }

  double scale() const { return 1.0 / double(examples_); }

  const ir::Program& program_;
  std::uint64_t seed_;
  EngineOptions options_;
  std::uint64_t examples_;
  std::map<std::string, Engine>& engines_;
  std::uint64_t& minibatches_;
  std::optional<OracleCheck> oracle_;
};

}  // namespace

class EngineTrial::Engines {
 public:
  Engines(const ir::Program& program, std::uint64_t group, const std::filesystem::path& cache)
      : program_(program) {
    const auto targets = codegen::host_targets();
    options_.strategy = "unbatched";
    options_.threads = 1;
    options_.share = false;
    options_.hoist = group / 3 % 2 == 1;
    options_.granularity = group / 6 % 8 == 7 ? ir::Granularity::op : ir::Granularity::cell;
    options_.target = targets[group % targets.size()].name;
    options_.seed = group;
    options_.cache_directory = cache;
    options_.debug.verify = true;
  }

  Fault check(std::uint64_t seed) {
    Fault fault = guarded(
        [&] { return SeedTrial(program_, seed, options_, engines_, minibatches_).check(); });
    if (fault) engines_.clear();  // whatever state that left them in
    return fault;
  }
  std::uint64_t minibatches() const { return minibatches_; }

 private:
  const ir::Program& program_;
  EngineOptions options_;
  std::map<std::string, Engine> engines_;
  std::uint64_t minibatches_ = 0;
};

EngineTrial::EngineTrial(const ir::Program& program, std::uint64_t group,
                         const std::filesystem::path& cache)
    : engines_(std::make_unique<Engines>(program, group, cache)) {}
EngineTrial::~EngineTrial() = default;

Fault EngineTrial::check(std::uint64_t seed) { return engines_->check(seed); }
std::uint64_t EngineTrial::minibatches() const { return engines_->minibatches(); }

}  // namespace espalier::test
