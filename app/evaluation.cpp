#include "app/evaluation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "training/progress.h"

namespace espalier::app {
namespace {

constexpr std::size_t kBatch = 128;

nlohmann::ordered_json rows(const ConfusionMatrix& matrix) {
  auto json = nlohmann::ordered_json::array();
  for (int truth = 0; truth < matrix.classes(); ++truth) {
    auto row = nlohmann::ordered_json::array();
    for (int predicted = 0; predicted < matrix.classes(); ++predicted)
      row.push_back(matrix.count(truth, predicted));
    json.push_back(std::move(row));
  }
  return json;
}

/// One run over trees: what it sums up.
class Evaluator {
 public:
  Evaluator(Engine& engine, models::TreeModel& model, bool sentiment)
      : engine_(engine),
        model_(model),
        sentiment_(sentiment),
        result_{.labels_at = model.options().labels_at,
                .roots = ConfusionMatrix(model.options().classes),
                .nodes = ConfusionMatrix(model.options().classes),
                .binary_roots = {}} {}

  /// Adds up trees from `first` on, `count` at the most: fewer, or in halves, if the memory limit
  /// asks for it. Gives their number.
  std::size_t add(std::span<const data::Tree> trees, std::size_t first, std::size_t count) {
    const auto batch = trees.subspan(first, count);
    const Instances instances = engine_.instances(Mode::inference);
    predictions_.clear();
    ends_.clear();
    do {
      const std::size_t i = ends_.size();
      instances.begin_example(first + i);
      model_.record_predictions(instances, batch[i], predictions_);
      ends_.push_back(predictions_.size());
    } while (ends_.size() < count && !engine_.recorded_enough());
    count = ends_.size();
    const std::int64_t limit = engine_.options().memory_limit;
    if (limit > 0 && count > 1 && engine_.forecast_bytes(instances) > limit) {
      for (std::size_t done = 0; done < count;)
        done += add(trees, first + done, std::min(count / 2, count - done));
      return count;
    }
    for (std::size_t i = 0, at = 0; i < count; ++i)
      for (; at < ends_[i]; ++at) add(predictions_[at], batch[i].root());
    return count;
  }

  Evaluation finish() {
    if (sentiment_) result_.binary_roots = metrics_.binary_roots();
    return std::move(result_);
  }

 private:
  void add(const models::Prediction& prediction, int root) {
    const std::span<const float> logits = engine_.value(prediction.logits);
    const int predicted = argmax(logits);
    if (!std::ranges::all_of(logits, [](float x) { return std::isfinite(x); }))
      ++result_.not_finite;
    result_.nodes.add(prediction.label, predicted);
    if (prediction.node != root) return;
    result_.roots.add(prediction.label, predicted);
    if (sentiment_) metrics_.add(prediction.label, logits, true);
  }

  Engine& engine_;
  models::TreeModel& model_;
  bool sentiment_;
  Evaluation result_;
  SentimentMetrics metrics_;
  std::vector<models::Prediction> predictions_;
  std::vector<std::size_t> ends_;  // of each tree's predictions
};

}  // namespace

double Evaluation::accuracy() const {
  return labels_at == models::LabelsAt::root ? roots.accuracy() : nodes.accuracy();
}

std::string_view metric_name(models::LabelsAt labels_at) {
  return labels_at == models::LabelsAt::root ? "roots" : "all nodes";
}

bool is_sentiment(const data::Dataset& dataset) { return dataset.fine_sentiment; }

Evaluation evaluate(Engine& engine, models::TreeModel& model, std::span<const data::Tree> trees,
                    bool sentiment) {
  const double begun = steady_seconds();
  Evaluator evaluator(engine, model, sentiment);
  for (std::size_t first = 0; first < trees.size();)
    first += evaluator.add(trees, first, std::min(kBatch, trees.size() - first));
  Evaluation result = evaluator.finish();
  result.examples = std::ssize(trees);
  result.seconds = steady_seconds() - begun;
  return result;
}

std::string to_text(const Evaluation& evaluation, std::string_view split) {
  std::string text;
  if (evaluation.roots.total() > 0)
    text += fmt::format("{} accuracy {:.4f} at the roots of {} trees\n", split,
                        evaluation.roots.accuracy(), evaluation.roots.total());
  if (evaluation.binary_roots && evaluation.binary_roots->total() > 0)
    text += fmt::format("{} accuracy {:.4f} binary, {} roots that are not neutral\n", split,
                        evaluation.binary_roots->accuracy(), evaluation.binary_roots->total());
  if (evaluation.nodes.total() > evaluation.roots.total())
    text += fmt::format("{} accuracy {:.4f} at all {} labelled nodes\n", split,
                        evaluation.nodes.accuracy(), evaluation.nodes.total());
  return text;
}

nlohmann::ordered_json to_json(const Evaluation& evaluation) {
  nlohmann::ordered_json json = {{"metric", metric_name(evaluation.labels_at)},
                                 {"accuracy", evaluation.accuracy()},
                                 {"root_accuracy", evaluation.roots.accuracy()},
                                 {"roots", evaluation.roots.total()}};
  if (evaluation.binary_roots) {
    json["binary_accuracy"] = evaluation.binary_roots->accuracy();
    json["binary_roots"] = evaluation.binary_roots->total();
  }
  json["node_accuracy"] = evaluation.nodes.accuracy();
  json["nodes"] = evaluation.nodes.total();
  json["non_finite_nodes"] = evaluation.not_finite;
  json["examples"] = evaluation.examples;
  json["seconds"] = evaluation.seconds;
  json["confusion"] = rows(evaluation.roots.total() > 0 ? evaluation.roots : evaluation.nodes);
  return json;
}

}  // namespace espalier::app
