// What `espalier bench step` measures: steps of training or inference over all minibatches again
// and again, beside what the machine can do at most. docs/benchmarks.md says how.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "app/run_config.h"
#include "bench/measure/machine.h"
#include "runtime/engine.h"

namespace espalier::app {

struct StepBenchConfig {
  RunConfig run;  ///< model, data, sizes, engine, minibatch, optimizer, seed
  bool training = true;
  double seconds = 10;  ///< to measure for
  int check_steps = 3;
  /// Whether each measured round has an order of its own, so that no minibatch comes twice.
  bool shuffle = false;
  std::string save_weights, load_weights;  ///< safetensors files; empty: none
  NonFinite non_finite = NonFinite::refuse;
};

/// One measured step. Times are in seconds.
struct StepSample {
  std::size_t minibatch = 0;  ///< of the report's
  double total = 0, record = 0, loss = 0;
  StepStatistics statistics;
};

/// What a minibatch is, whoever runs it.
struct MinibatchFacts {
  std::int64_t trees = 0, nodes = 0, tokens = 0;
  double flops = 0, floor_seconds = 0;  ///< of the measured pass
  double unshared_flops = 0;            ///< had every call been an instance
  std::size_t calls = 0, instances = 0;
  std::size_t batches = 0, lower_bound = 0;
};

/// A cell in one direction, or a sum over readers: means over the profiled steps.
struct PartRow {
  std::string name;  ///< `node.forward`
  double batches = 0, instances = 0;
  double flops = 0, floor_seconds = 0;
  struct Stage {
    double launches = 0, rows = 0, seconds = 0;
  };
  double copied_bytes = 0;
  std::vector<Stage> stages;  ///< of the kernel

  double seconds() const;
  double launches() const;
};

struct StepBenchReport {
  bench::Machine machine;
  std::string target;
  bool on_gpu = false;  ///< then `machine` is not measured, and no floors are known
  int threads = 0, classes = 0, vocabulary = 0;
  std::int64_t params = 0;
  std::vector<double> first_losses;
  std::size_t warmup_steps = 0, rounds = 0;  ///< rounds: over all minibatches; 0: not even one
  std::size_t minibatches_a_round = 0;
  std::vector<MinibatchFacts> minibatches;  ///< of a round; if they are shuffled, of each sample
  std::vector<StepSample> samples;          ///< whole rounds if there is one
  Engine::Compilation compilation;
  /// Of the engine: at the most by the end of the measured steps, and as predicted for the largest
  /// minibatch as a whole before it first ran.
  std::int64_t peak_bytes = 0, forecast_bytes = 0;
  std::int64_t peak_resident_bytes = 0;  ///< of the process
  double bytes_gathered = 0;             ///< a step, mean over the profiled ones
  std::size_t profiled_steps = 0;
  std::vector<PartRow> parts;      ///< in order of their first launch
  std::vector<std::string> notes;  ///< of the data set
  std::vector<std::string> warnings;
};

/// UserErrors pass through.
StepBenchReport bench_step(const StepBenchConfig& config);

}  // namespace espalier::app
