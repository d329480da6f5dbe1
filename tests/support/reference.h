// What the plain-loop references share: examples, parameters, options and results. Made by
// reference_*.cpp, consumed by tests only. Everything is double precision, one example at a time,
// and depends on std alone, so that no mistake of the library can repeat itself here.
#pragma once

#include <functional>
#include <map>
#include <string>
#include <vector>

namespace espalier::test {

/// Parameter name → values, row-major; also the gradients, under the same names.
using ReferenceParams = std::map<std::string, std::vector<double>>;

/// A node of a tree. `word` is a row of "embed"; a negative label means no loss at this node.
struct ReferenceNode {
  std::vector<int> children;
  int word = -1;
  int label = -1;
};

/// Nodes in postorder: children have smaller numbers, the root is last. Shared children are
/// allowed.
struct ReferenceTree {
  std::vector<ReferenceNode> nodes;
};

/// Words left to right. `labels` holds one label a word, or a single one for the whole sequence.
struct ReferenceSequence {
  std::vector<int> words;
  std::vector<int> labels;
};

/// Where a loss is taken: at every node (token) with a label ≥ 0, or only at the root (last token).
enum class ReferenceLoss { every_node, root };

struct ReferenceOptions {
  ReferenceLoss loss = ReferenceLoss::every_node;
  /// Node → the [H] multipliers of h before the softmax; empty for none. Parents see h undropped.
  std::function<std::vector<double>(int node)> dropout;
};

/// One example's values. Sequences number their tokens as a chain of nodes.
struct ReferenceResult {
  std::vector<std::vector<double>> h, c;    // [nodes][H]
  std::vector<std::vector<double>> logits;  // [nodes][C], empty where no loss is taken
  std::vector<double> node_loss;            // [nodes], 0 where no loss is taken
  double loss = 0;                          // the sum of node_loss
  ReferenceParams gradient;                 // of `loss`: same names and sizes as the parameters
};

struct ReferenceMean {
  double loss = 0;
  ReferenceParams gradient;
  /// The Euclidean norm of all gradients together.
  double gradient_norm() const;
};

/// The average of loss and gradient over a minibatch.
ReferenceMean reference_mean(const std::vector<ReferenceResult>& results);

/// Binary constituency Tree-LSTM; a node has no child (then a word) or two.
/// Params: embed [V,E], w_leaf [3H,E] (i,o,g), b_leaf [3H], u [5H,2H] (i,f_l,f_r,o,g), b [5H],
/// out [C,H], out_bias [C]. Throws std::invalid_argument for a malformed tree or wrong sizes.
ReferenceResult reference_tree_lstm(const ReferenceParams& params, const ReferenceTree& tree,
                                    const ReferenceOptions& options = {});

/// Child-Sum Tree-LSTM (Tai et al. 2015, equations 2–8): any number of children, a word everywhere.
/// Params: embed [V,E], w_iou [3H,E] (i,o,u), u_iou [3H,H], b_iou [3H], w_f [H,E], u_f [H,H],
/// b_f [H], out [C,H], out_bias [C]. Throws std::invalid_argument as above.
ReferenceResult reference_child_sum_tree_lstm(const ReferenceParams& params,
                                              const ReferenceTree& tree,
                                              const ReferenceOptions& options = {});

/// LSTM from h = c = 0. `every_node` needs one label a token; `root` puts labels.back() on the last
/// h. Params: embed [V,E], w [4H,E] (i,f,o,g), u [4H,H], b [4H], out [C,H], out_bias [C]. Throws
/// std::invalid_argument for an empty sequence, missing labels or wrong sizes.
ReferenceResult reference_lstm(const ReferenceParams& params, const ReferenceSequence& sequence,
                               const ReferenceOptions& options = {});

}  // namespace espalier::test
