#include "app/recipes.h"

#include <algorithm>

#include "app/ranges.h"
#include "models/models.h"

namespace espalier::app {
namespace {

/// Short steps, many of them: many examples teach more than many epochs.
void set_listops(RunConfig& config) {
  if (config.data.generated()) config.data.examples = generated_examples;
  config.hidden = 128;
  config.embed = 32;
  config.batch = 64;
  config.epochs = config.data.generated() ? 6 : 20;
  config.optimizer = "adam";
  config.lr = 0.005;
  config.schedule.kind = "linear";
  config.clip = 5;
}

/// A tagger, with its loss at every word.
void set_conllu(RunConfig& config) {
  config.hidden = 256;
  config.embed = 256;
  config.dropout = 0.3;
  config.labels_at = models::LabelsAt::every_node;
  config.batch = 64;
  config.epochs = 3;  // more overfit
  config.optimizer = "adam";
  config.lr = 0.005;
  config.schedule.kind = "linear";
  config.clip = 5;
}

/// Tai et al. 2015, for SST.
void set_usual(RunConfig& config) {
  config.embed_lr = 0.1;
  config.l2 = 1e-4;
  config.dropout = 0.5;
  // A sequence model has no state at inner nodes.
  if (models::find_model(config.model).reads != models::Reads::sequences)
    config.labels_at = models::LabelsAt::every_node;
}

constexpr Recipe table[] = {{"listops", set_listops}, {"conllu", set_conllu}};

}  // namespace

std::span<const Recipe> recipes() { return table; }

RunConfig recipe(std::string_view data, std::string_view model) {
  RunConfig config;
  config.model = model;
  config.data.spec = data;
  const auto row = std::ranges::find(table, data.substr(0, data.find(':')), &Recipe::format);
  row == std::end(table) ? set_usual(config) : row->set(config);
  return config;
}

}  // namespace espalier::app
