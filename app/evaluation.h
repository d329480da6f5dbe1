// What a model gets right on a split of a data set: run batched, without dropout, argmax over the
// logits. Used after each epoch, at the end of training and by `espalier eval`. The numbers depend
// neither on how the trees are batched nor on the machine's load.
#pragma once

#include <cstdint>
#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "data/dataset.h"
#include "models/tree_model.h"
#include "runtime/engine.h"
#include "training/metrics.h"

namespace espalier::app {

struct Evaluation {
  models::LabelsAt labels_at = models::LabelsAt::every_node;  ///< where the model's loss counts
  ConfusionMatrix roots, nodes;                 ///< nodes: every labelled place, roots too
  std::optional<ConfusionMatrix> binary_roots;  ///< of SST
  std::int64_t not_finite = 0;  ///< labelled nodes with a NaN or an infinity in their scores
  std::int64_t examples = 0;
  double seconds = 0;

  /// Of the predictions that the loss is about, as metric_name says; NaN if nothing has a label
  /// there. What chooses the best epoch.
  double accuracy() const;
};

/// Where accuracy() counts: `all nodes` or `roots`.
std::string_view metric_name(models::LabelsAt labels_at);

/// Whether the binary metric of SST makes sense.
bool is_sentiment(const data::Dataset& dataset);

Evaluation evaluate(Engine& engine, models::TreeModel& model, std::span<const data::Tree> trees,
                    bool sentiment);

/// `test accuracy 0.4620 at the roots of 2210 trees`, and a line each for binary roots and all
/// nodes where there are such.
std::string to_text(const Evaluation& evaluation, std::string_view split);
nlohmann::ordered_json to_json(const Evaluation& evaluation);

}  // namespace espalier::app
