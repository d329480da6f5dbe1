#include "tests/support/engine_trial.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "codegen/target.h"
#include "ir/error.h"
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

class EngineTrial {
 public:
  EngineTrial(const ir::Program& program, std::uint64_t seed, const std::filesystem::path& cache,
              std::uint64_t& runs)
      : program_(program), seed_(seed), runs_(runs) {
    const auto targets = codegen::host_targets();
    options_.strategy = "unbatched";
    options_.share = false;
    const std::uint64_t group = seed / engine_seeds_per_program;
    options_.hoist = group / 3 % 2 == 1;
    options_.granularity = group / 6 % 8 == 7 ? ir::Granularity::op : ir::Granularity::cell;
    options_.target = targets[group % targets.size()].name;
    options_.seed = seed;
    options_.cache_directory = cache;
    options_.debug.verify = true;
    examples_ = 2 + seed % 4;
  }

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
      const std::string what = fmt::format("{}, {} threads{}", options.strategy, options.threads,
                                           options.share ? ", shared" : "");
      const Result result = run(options, i == seed_ % 3 ? Extra::other_before : Extra::none);
      if (Fault fault = same(result, wanted, what)) return fault;
      if (Fault fault = against_oracle(result, what)) return fault;
      if (i != seed_ / 4 % strategies.size()) continue;
      options.threads = 3 - options.threads;
      const Result again = run(options);
      if (Fault fault = same(again, wanted, what + " and the other number")) return fault;
      if (again.gradients != result.gradients)
        return {"gradients differ with threads", difference(again.gradients, result.gradients)};
      options.threads = 3 - options.threads;
      const Result between = run(options, Extra::values_between);
      if (Fault fault = same(between, wanted, what + ", values between")) return fault;
      if (Fault fault = against_oracle(between, what + ", values between")) return fault;
      if (Fault fault = in_parts(options, wanted, what)) return fault;
    }
    return {};
  }

 private:
  enum class Extra { none, other_before, values_between };

  void set_params(Engine& engine) const {
    Random random(seed_ + 1);
    for (const ir::Param& param : engine.program().params)
      for (float& value : engine.parameter(param.name)) value = float(random.real(-0.5, 0.5));
  }

  template <class Between>
  void record(const Instances& batch, const Between& between) const {
    for (std::uint64_t i = 0; i < examples_; ++i) record_random(batch, example(i), i, between);
  }
  void record(const Instances& batch) const {
    record(batch, [](ir::CallId) {});
  }
  /// Some examples come twice, under another name.
  std::uint64_t example(std::uint64_t i) const { return seed_ * 10 + i % 3; }

  static Floats values(Engine& engine, const Instances& batch) {
    Floats result;
    ir::Recorder& recorder = batch.recorder();
    for (ir::CallId call = 0; call < batch.size(); ++call) {
      const auto& fields = recorder.source().states[std::size_t(recorder.state(call))].fields;
      for (int field = 0; field < int(fields.size()); ++field) {
        const auto read = engine.value(recorder.handle(call), field);
        result.emplace_back(read.begin(), read.end());
      }
    }
    return result;
  }

  Result run(const EngineOptions& options, Extra extra = Extra::none) const {
    ++runs_;
    Engine engine(program_, options);
    set_params(engine);
    if (extra == Extra::other_before) {
      const Instances other = engine.instances();
      for (std::uint64_t i = 0; i < examples_ + 2; ++i) record_random(other, seed_ * 10 + 5 + i);
      engine.gradients(other);
      engine.set_step(0);
    }
    const Instances batch = engine.instances();
    record(batch, [&](ir::CallId call) {
      if (extra == Extra::values_between) engine.value(batch.recorder().handle(call));
    });
    return finish(engine, batch);
  }

  Result finish(Engine& engine, const Instances& batch) const {
    const StepResult step = engine.gradients(batch, scale());
    Result result{{}, step.loss, {}, step.statistics};
    if (step.statistics.parts <= 1) result.values = values(engine, batch);
    for (const ir::Param& param : program_.params)
      result.gradients.push_back(engine.gradient(param.name));
    return result;
  }

  /// Each example by itself gives what it gives among others.
  Fault alone(const Result& wanted) {
    ++runs_;
    Engine engine(program_, options_);
    set_params(engine);
    Floats all;
    for (std::uint64_t i = 0; i < examples_; ++i) {
      const Instances batch = engine.instances();
      record_random(batch, example(i), i);
      for (auto& value : values(engine, batch)) all.push_back(std::move(value));
    }
    if (all == wanted.values) return {};
    return {"an example sees its company", difference(all, wanted.values)};
  }

  Fault in_parts(EngineOptions options, const Result& wanted, const std::string& what) {
    std::int64_t needed = 0;
    {
      Engine engine(program_, options);
      const Instances batch = engine.instances();
      record(batch);
      needed = engine.predict_bytes(batch);
    }
    for (const double share : {0.9, 0.7}) {
      options.memory_limit = std::int64_t(double(needed) * share);
      try {
        const Result result = run(options);
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
      oracle_.emplace(program_, std::move(params), seed_, scale(),
                      [this](const Instances& batch) { record(batch); });
    }
    for (const std::string& found :
         {oracle_->values(got.values), oracle_->loss(got.loss), oracle_->gradients(got.gradients)})
      if (!found.empty()) return {"not what the oracle says", what + ": " + found};
    return {};
  }

  double scale() const { return 1.0 / double(examples_); }

  const ir::Program& program_;
  std::uint64_t seed_;
  std::uint64_t& runs_;
  EngineOptions options_;
  std::uint64_t examples_ = 0;
  std::optional<OracleCheck> oracle_;
};

}  // namespace

Fault try_engines(const ir::Program& program, std::uint64_t seed,
                  const std::filesystem::path& cache, std::uint64_t& runs) {
  return guarded([&] { return EngineTrial(program, seed, cache, runs).check(); });
}

}  // namespace espalier::test
