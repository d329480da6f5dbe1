#include "tests/support/engine_trial.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "codegen/kernel_ir.h"
#include "codegen/target.h"
#include "ir/error.h"
#include "runtime/engine.h"
#include "runtime/random_keys.h"
#include "scheduler/strategy.h"
#include "tests/support/oracle.h"
#include "tests/support/random.h"
#include "tests/support/random_calls.h"
#include "tests/support/rounding.h"

namespace espalier::test {

namespace {

using Floats = std::vector<std::vector<float>>;

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
    for (std::uint64_t i = 0; i < examples_; ++i) record_random(batch, example(i), between);
  }
  void record(const Instances& batch) const {
    record(batch, [](ir::CallId) {});
  }
  /// Some examples come twice.
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
    const StepResult step = engine.gradients(batch);
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
      record_random(batch, example(i));
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

  // ---- the oracle

  struct Expected {
    Oracle::Tensors values;
    double loss = 0;
    Oracle::Tensors gradients;
  };

  /// In double, and with roundings drawn by salts 1, 2, …
  void expect(std::uint64_t salts) {
    if (!recorder_) {
      recorder_.emplace(whole_);
      record(Instances(*recorder_));
      Random random(seed_ + 1);
      Oracle::Tensors params;
      for (const ir::Param& param : whole_.params) {
        auto& values = params.emplace_back();
        for (std::int64_t i = 0; i < param.shape.size(); ++i)
          values.push_back(float(random.real(-0.5, 0.5)));
      }
      oracle_.emplace(whole_, params, [this](const auto& stream, int mask, double p, auto at) {
        // As the engine draws: the key of the instance, and of a value per child its number.
        ir::InstanceGraph one;
        one.add_copy(0, {}, {}, {stream.example, stream.call, 0});
        const ir::InstanceId id = 0;
        std::uint64_t key = 0;
        runtime::draw_keys(seed_, 0, one, {&id, 1}, &key);
        const std::uint32_t counter =
            std::uint32_t(at + stream.element * codegen::child_counter_stride);
        return codegen::random_uniform(key, std::uint32_t(mask), counter) < p ? 0 : 1 / (1 - p);
      });
    }
    const ir::InstanceGraph& graph = recorder_->graph();
    const double scale = 1.0 / double(examples_);
    while (expected_.size() <= salts) {
      oracle_->set_salt(expected_.size());
      Expected& of = expected_.emplace_back();
      for (const Oracle::Tensors& fields : oracle_->forward(graph))
        for (const Oracle::Tensor& field : fields) of.values.push_back(field);
      of.loss = oracle_->loss(graph, recorder_->losses(), scale);
      of.gradients = oracle_->gradients(graph, recorder_->losses(), scale,
                                        expected_.size() == 1 ? &sizes_ : nullptr);
    }
  }

  Fault against_oracle(const Result& got, const std::string& what) {
    std::string found;
    for (const std::uint64_t salts : {3, 12, 40}) {
      expect(salts);
      found = compare(got.values, salts, &Expected::values, nullptr);
      if (found.empty()) found = compare(got.gradients, salts, &Expected::gradients, &sizes_);
      if (found.empty()) return {};
    }
    return {"not what the oracle says", what + ": " + found};
  }

  std::string compare(const Floats& got, std::uint64_t salts, Oracle::Tensors Expected::* of,
                      const Oracle::Tensors* sizes) const {
    const std::string name = sizes ? "gradient" : "value";
    for (std::size_t i = 0; i < got.size(); ++i)
      for (std::size_t e = 0; e < got[i].size(); ++e) {
        const auto at = [&](std::uint64_t salt) { return (expected_[salt].*of)[i][e]; };
        double allowed = 4 * kRounding * std::abs(at(0)) + 1e-9 * kRounding;
        if (sizes) allowed += double(recorder_->size() + 4) * kRounding * (*sizes)[i][e];
        for (std::uint64_t salt = 1; salt <= salts; ++salt)
          allowed = std::max(allowed, 4 * std::abs(at(salt) - at(0)) + 1e-3 * kRounding);
        if (!(std::abs(got[i][e] - at(0)) <= allowed))
          return fmt::format("{} {} at {}: {} instead of {}, {:.2g} off where {:.2g} is allowed",
                             name, i, e, got[i][e], at(0), std::abs(got[i][e] - at(0)), allowed);
      }
    return {};
  }

  const ir::Program& program_;
  std::uint64_t seed_;
  std::uint64_t& runs_;
  EngineOptions options_;
  std::uint64_t examples_ = 0;
  ir::Program whole_ = program_;
  std::optional<ir::Recorder> recorder_;
  std::optional<Oracle> oracle_;
  std::vector<Expected> expected_;  // by salt
  Oracle::Tensors sizes_;
};

}  // namespace

Fault try_engines(const ir::Program& program, std::uint64_t seed,
                  const std::filesystem::path& cache, std::uint64_t& runs) {
  return guarded([&] { return EngineTrial(program, seed, cache, runs).check(); });
}

}  // namespace espalier::test
