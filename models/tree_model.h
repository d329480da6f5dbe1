// What the zoo's models have in common: a state (h, c) at every labelled place of a tree, and a
// softmax classifier on h. A model says how states come about; the training loop drives it through
// record_loss and record_predictions.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/tree.h"
#include "frontend/model.h"

namespace espalier::models {

/// h [H] and c [H].
struct LstmState {
  Tensor h, c;
};

/// Where an example's labels are: at every node (or token), or at the root (the whole sequence).
enum class LabelsAt : std::uint8_t { every_node, root };

struct ModelOptions {
  int vocabulary = 0;  ///< V, rows of the embedding
  int embed = 300;     ///< E
  int hidden = 150;    ///< H
  int classes = 0;     ///< C
  double dropout = 0;  ///< probability of dropping an element of h before the softmax
  LabelsAt labels_at = LabelsAt::every_node;
};

/// A labelled place of an example and the call that scores its classes [C].
struct Prediction {
  int node = 0;
  int label = 0;
  Call<Tensor> logits;
};

class TreeModel : public Model {
 public:
  virtual ~TreeModel() = default;

  /// Records one example: its states, and a cross entropy at each labelled place as loss. UserError
  /// for a tree that the model cannot read. Not for two threads at once.
  void record_loss(const Instances& instances, const data::Tree& tree);
  /// Records one example and appends the logits of each labelled place, in order of the nodes.
  void record_predictions(const Instances& instances, const data::Tree& tree,
                          std::vector<Prediction>& predictions);

  const ModelOptions& options() const { return options_; }
  Cell<Tensor(LstmState, Index)> loss;  ///< cross entropy of dropout(h) against a label
  Cell<Tensor(LstmState)> predict;      ///< logits [C] of h, without dropout

 protected:
  TreeModel(std::string name, const ModelOptions& options);
  /// Adds out [C, H], out_bias [C] and the cells `loss` and `predict`; the last step of making one.
  void add_classifier();
  /// Records the state of each place that a label may be at: sets states_[node].
  virtual void encode(const Instances& instances, const data::Tree& tree) = 0;

  /// For a model that reads words at leaves only. UserError if inner node `node` has one.
  void check_no_word(const data::Tree& tree, int node) const;

  std::vector<Call<LstmState>> states_;  // by node; reused

 private:
  template <class Visit>
  void visit_labels(const Instances& instances, const data::Tree& tree, Visit visit);

  ModelOptions options_;
};

}  // namespace espalier::models
