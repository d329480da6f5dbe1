// The Child-Sum Tree-LSTM of Tai et al. 2015, equations 2–8: any number of children, whose order
// does not matter, and a forget gate for each. Over dependency trees, where every node has a word,
// it is their Dependency Tree-LSTM. One row of models/models.cpp.
#pragma once

#include <vector>

#include "models/tree_model.h"

namespace espalier::models {

/// Params: embed [V, E], w_iou [3H, E], u_iou [3H, H] and b_iou [3H] (gates i, o, u), w_f [H, E],
/// u_f [H, H], b_f [H], out [C, H], out_bias [C].
class ChildSumTreeLstm : public TreeModel {
 public:
  explicit ChildSumTreeLstm(const ModelOptions& options);

  Cell<LstmState(Index, Children<LstmState>)> node;  ///< a node with a word
  Cell<LstmState(Children<LstmState>)> inner;        ///< a node without one: its x is zero

 protected:
  void encode(const Instances& instances, const data::Tree& tree) override;

 private:
  std::vector<Call<LstmState>> children_;  // of one node; reused
};

}  // namespace espalier::models
