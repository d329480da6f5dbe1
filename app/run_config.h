// Everything that decides a run, resolved: what the user gave, filled up by the recipe for the data
// set. Made by flags.cpp from the command line, or from a saved model's settings; kept with every
// run as config.json. The same RunConfig gives the same bits.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "data/dataset.h"
#include "ir/record/recorder.h"
#include "models/tree_model.h"
#include "runtime/step/options.h"
#include "training/checkpoint.h"
#include "training/optimizer.h"
#include "training/rate_schedule.h"

namespace espalier::app {

struct DataConfig {
  std::string spec;     ///< as data::load_dataset takes it; of a saved model, with its whole path
  int examples = 0;     ///< listops: expressions to draw; else the limit of train; 0: usual, all
  int max_tokens = 60;  ///< listops: of an expression
  std::uint64_t seed = 42;  ///< listops

  bool generated() const;
};

/// The same data, named from any folder: with its whole path.
std::string absolute_spec(const std::string& spec);

/// The data set for a model, with its train split cut to the limit. UserErrors of
/// data::load_dataset; a tree that the model cannot read is one, and data without any label.
data::Dataset load(const DataConfig& config, std::string_view model,
                   data::LoadOptions options = {});

/// An engine's options where the user says nothing: a GPU if there is one, all cores, and the
/// user's kernel cache.
EngineOptions default_engine();

ir::RecordOptions record_options(const EngineOptions& options);

/// The first model of the table.
std::string_view default_model();

struct RunConfig {
  std::string model{default_model()};
  DataConfig data;
  EngineOptions engine = default_engine();

  int hidden = 150, embed = 300;
  double dropout = 0;
  models::LabelsAt labels_at = models::LabelsAt::root;

  int batch = 25, epochs = 10, patience = 0;
  std::string optimizer = "adagrad";
  double lr = 0.05;
  double momentum = 0;
  std::optional<double> embed_lr;  ///< plain SGD for the embedding; none: as all other params
  double l2 = 0;                   ///< not on the embedding
  double clip = 0;
  RateSchedule schedule;
  std::uint64_t seed = 42;
};

models::ModelOptions model_options(const RunConfig& config, const data::Dataset& dataset);
OptimizerOptions optimizer_options(const RunConfig& config);

/// The engine's options under the names of their flags.
nlohmann::ordered_json to_json(const EngineOptions& options);
/// All of it, under the names of the flags with _ for -.
nlohmann::ordered_json to_json(const RunConfig& config);

/// What a saved model is built again from, and its data loaded.
Settings saved_settings(const RunConfig& config, const data::Dataset& dataset);

/// A saved model's side of the above. UserError for a setting that is missing, of another type, or
/// outside the range of its flag.
struct SavedRun {
  models::ModelOptions model;
  DataConfig data;
  int batch = 0;
  data::LoadOptions load;  ///< with the classes and label names, and the vocabulary if there is one
};
SavedRun saved_run(const SavedModel& saved, const std::string& folder);

}  // namespace espalier::app
