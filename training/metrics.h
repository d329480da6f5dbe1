// What a classifier got right: accuracies and the confusion matrix. Filled by the evaluation of an
// epoch, example by example; printed by the command. Labels are 0 … classes − 1.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace espalier {

/// The index of the largest value, the first of equal ones; 0 if there is NaN only. `values` is not
/// empty.
int argmax(std::span<const float> values);

class ConfusionMatrix {
 public:
  explicit ConfusionMatrix(int classes);

  /// UserError unless both are labels.
  void add(int truth, int predicted);

  int classes() const { return classes_; }
  std::int64_t count(int truth, int predicted) const { return counts_[at(truth, predicted)]; }
  std::int64_t total() const;
  std::int64_t correct() const;
  /// correct / total; NaN if nothing was added.
  double accuracy() const;

  /// A table with a row a true label and a column a predicted one. `names` are [classes], or empty
  /// for the labels themselves.
  std::string to_text(std::span<const std::string> names = {}) const;
  /// The same as CSV, `truth\predicted` first, names quoted where they need it.
  std::string to_csv(std::span<const std::string> names = {}) const;

 private:
  std::size_t at(int truth, int predicted) const {
    return static_cast<std::size_t>(truth) * static_cast<std::size_t>(classes_) +
           static_cast<std::size_t>(predicted);
  }

  int classes_;
  std::vector<std::int64_t> counts_;  // [truth, predicted]
};

/// The metrics of SST (Socher et al. 2013; Tai et al. 2015): five-way accuracy of roots and of all
/// labelled nodes, and binary accuracy of roots. The binary task leaves out neutral roots and
/// compares the probability of the labels 0 and 1 with that of 3 and 4.
class SentimentMetrics {
 public:
  /// Adds a node with its five scores before the softmax. UserError unless 0 ≤ `label` < 5.
  void add(int label, std::span<const float> logits, bool root);

  const ConfusionMatrix& roots() const { return roots_; }
  const ConfusionMatrix& nodes() const { return nodes_; }
  /// Of the roots that are not neutral: 0 negative, 1 positive.
  const ConfusionMatrix& binary_roots() const { return binary_; }

 private:
  ConfusionMatrix roots_{5}, nodes_{5}, binary_{2};
};

}  // namespace espalier
