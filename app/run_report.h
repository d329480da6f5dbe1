// What a training run measured, and how it is told: a few lines on stdout, one JSON object with
// everything, a table of the epochs. Filled by the train command step by step.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "app/evaluation.h"
#include "app/run_config.h"
#include "data/dataset.h"
#include "runtime/engine.h"
#include "training/loop.h"

namespace espalier::app {

/// Sums over the steps of a run or of an epoch.
struct StepTotals {
  std::int64_t steps = 0, allocations = 0, compilations = 0;
  /// Of the steps that compiled nothing: what throughput is computed from.
  std::int64_t warm_examples = 0;
  double warm_seconds = 0;
  double record_seconds = 0;

  /// 0 if every step compiled something.
  double examples_per_second() const;
};

struct RunReport {
  RunReport(const RunConfig& of, const data::Dataset& on) : config(of), dataset(on) {}

  const RunConfig& config;
  const data::Dataset& dataset;
  std::int64_t params = 0;  ///< numbers that are trained
  std::string target;
  int threads = 0;

  TrainingResult training;
  StepTotals totals;
  std::vector<StepTotals> epochs;
  Engine::Compilation compilation;  ///< with that for the evaluations
  std::optional<Evaluation> test;   ///< none after an interrupt
  double seconds = 0;               ///< from reading the data to the test accuracy
};

/// The results, a line each.
std::string to_text(const RunReport& report);
nlohmann::ordered_json to_json(const RunReport& report);
/// A row an epoch, with a header.
std::string epochs_csv(const RunReport& report);

/// `8544 train, 1101 dev, 2210 test trees; 18280 tokens, 5 classes`
std::string describe(const data::Dataset& dataset);

/// A line on stderr for each of an engine's warnings.
void say_warnings(std::span<const std::string> warnings);

/// The same for what was tolerated in a data set's files.
void say_notes(std::span<const std::string> notes);

/// UserError if `file` cannot be written; to be known before hours of training. Empty and "-" can.
void check_writable(const std::string& file);
/// As text for a file. Bytes that are not UTF-8, such as a file's name may hold, become U+FFFD.
std::string json_text(const nlohmann::ordered_json& json);
/// Writes to a file, atomically, to what is there if that is no file, or to stdout for `-`.
void write_json(const std::string& file, const nlohmann::ordered_json& json);

}  // namespace espalier::app
