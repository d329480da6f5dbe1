#include "training/metrics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "base/error.h"

namespace espalier {
namespace {

constexpr int kNeutral = 2;

/// What a table shows of each label.
std::vector<std::string> label_names(int classes, std::span<const std::string> names) {
  user_check(names.empty() || static_cast<int>(names.size()) == classes,
             "confusion matrix: found {} names, expected {}", names.size(), classes);
  std::vector<std::string> result(names.begin(), names.end());
  for (int label = static_cast<int>(result.size()); label < classes; ++label)
    result.push_back(std::to_string(label));
  return result;
}

/// RFC 4180.
std::string csv_field(const std::string& text) {
  if (text.find_first_of(",\"\r\n") == text.npos) return text;
  std::string quoted = "\"";
  for (char c : text) quoted.append(c == '"' ? 2 : 1, c);
  return quoted + '"';
}

}  // namespace

int argmax(std::span<const float> values) {
  int best = 0;
  for (int i = 1; i < static_cast<int>(values.size()); ++i)
    if (values[i] > values[best] || (std::isnan(values[best]) && !std::isnan(values[i]))) best = i;
  return best;
}

ConfusionMatrix::ConfusionMatrix(int classes) : classes_(classes) {
  user_check(classes > 0, "confusion matrix: found {} classes, expected at least 1", classes);
  counts_.assign(static_cast<std::size_t>(classes) * static_cast<std::size_t>(classes), 0);
}

void ConfusionMatrix::add(int truth, int predicted) {
  for (int label : {truth, predicted})
    user_check(label >= 0 && label < classes_, "confusion matrix: found label {}, expected 0 to {}",
               label, classes_ - 1);
  ++counts_[at(truth, predicted)];
}

std::int64_t ConfusionMatrix::total() const {
  return std::accumulate(counts_.begin(), counts_.end(), std::int64_t{0});
}

std::int64_t ConfusionMatrix::correct() const {
  std::int64_t sum = 0;
  for (int label = 0; label < classes_; ++label) sum += count(label, label);
  return sum;
}

double ConfusionMatrix::accuracy() const {
  const std::int64_t all = total();
  if (all == 0) return std::numeric_limits<double>::quiet_NaN();
  return static_cast<double>(correct()) / static_cast<double>(all);
}

std::string ConfusionMatrix::to_text(std::span<const std::string> given) const {
  const std::vector<std::string> names = label_names(classes_, given);
  const std::string corner = "truth \\ predicted";
  std::size_t first = corner.size(), width = 5;
  for (const std::string& name : names) {
    first = std::max(first, name.size());
    width = std::max(width, name.size());
  }
  for (std::int64_t count : counts_) width = std::max(width, std::to_string(count).size());

  std::string text = fmt::format("{:<{}}", corner, first);
  for (const std::string& name : names) text += fmt::format("  {:>{}}", name, width);
  text += '\n';
  for (int truth = 0; truth < classes_; ++truth) {
    text += fmt::format("{:<{}}", names[truth], first);
    for (int predicted = 0; predicted < classes_; ++predicted)
      text += fmt::format("  {:>{}}", count(truth, predicted), width);
    text += '\n';
  }
  return text;
}

std::string ConfusionMatrix::to_csv(std::span<const std::string> given) const {
  const std::vector<std::string> names = label_names(classes_, given);
  std::string text = "truth\\predicted";
  for (const std::string& name : names) text += ',' + csv_field(name);
  text += '\n';
  for (int truth = 0; truth < classes_; ++truth) {
    text += csv_field(names[truth]);
    for (int predicted = 0; predicted < classes_; ++predicted)
      text += fmt::format(",{}", count(truth, predicted));
    text += '\n';
  }
  return text;
}

void SentimentMetrics::add(int label, std::span<const float> logits, bool root) {
  user_check(logits.size() == 5, "sentiment: found {} scores, expected 5", logits.size());
  const int predicted = argmax(logits);
  nodes_.add(label, predicted);
  if (!root) return;
  roots_.add(label, predicted);
  if (label == kNeutral) return;
  const double largest = *std::ranges::max_element(logits);
  const auto weight = [&](int i) { return std::exp(logits[i] - largest); };
  binary_.add(label > kNeutral, weight(3) + weight(4) > weight(0) + weight(1));
}

}  // namespace espalier
