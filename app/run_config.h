// Everything that decides a run, resolved: what the user gave, filled up by the recipe for the data
// set. Made by flags.cpp from the command line, or from a saved model's settings; kept with every
// run as config.json. The same RunConfig gives the same bits.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "data/loader.h"
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

  bool generated() const { return spec == "listops"; }
};

/// The same data, named from any folder: with its whole path.
std::string absolute_spec(const std::string& spec);

/// The data set for a model, with its train split cut to the limit. UserErrors of
/// data::load_dataset; a tree that the model cannot read is one, and data without any label.
data::Dataset load(const DataConfig& config, std::string_view model,
                   data::LoadOptions options = {});

struct EngineConfig {
  std::string strategy = "phase";
  std::string granularity = "cell";  ///< or op
  bool share = true;                 ///< equal calls run once
  bool hoist = true;                 ///< what depends on indices alone runs as one batch
  int threads = 0;                   ///< 0: all cores
  std::string target;                ///< empty: the widest
  std::string device = "auto";       ///< cpu, cuda, auto
  std::int64_t memory_limit = 0;     ///< bytes; 0: none
  bool check_finite = false;
  bool check_launches = false;        ///< on a GPU, wait for each launch
  bool cuda_graphs = true;            ///< on a GPU, replay sequences of launches
  std::string persistent = "auto";    ///< on a GPU, one kernel walks many launches: auto, on, off
  std::string contractions = "auto";  ///< on a GPU, who multiplies: tile, cublas, auto
  bool tf32 = false;                  ///< on a GPU, factors of products are rounded to TF32
  bool bf16 = false;                  ///< … or to bfloat16
};

ir::RecordOptions record_options(const EngineConfig& config);
/// With the user's kernel cache.
EngineOptions engine_options(const EngineConfig& config, std::uint64_t seed);

struct RunConfig {
  std::string model = "tree_lstm";
  DataConfig data;
  EngineConfig engine;

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

/// What is used for such data and such a model where the user says nothing. SST and PTB: the recipe
/// of Tai et al. 2015. CoNLL-U: a tagger, with its loss at every word.
RunConfig recipe(std::string_view data, std::string_view model);

models::ModelOptions model_options(const RunConfig& config, const data::Dataset& dataset);
OptimizerOptions optimizer_options(const RunConfig& config);

std::string_view to_string(models::LabelsAt labels_at);
/// UserError for anything but every-node and root.
models::LabelsAt labels_at_of(std::string_view name);

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
