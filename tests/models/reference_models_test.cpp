// The zoo's models, compiled and batched, against plain-loop references in double: outputs, loss
// and the gradient of every param.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "base/disk_cache.h"
#include "codegen/compiler.h"
#include "models/models.h"
#include "runtime/engine.h"
#include "tests/support/reference_examples.h"

namespace espalier::test {
namespace {

constexpr ReferenceDims dims{.vocab = 13, .embed = 21, .hidden = 18, .classes = 5};

data::Tree to_tree(const ReferenceTree& tree) {
  data::TreeBuilder builder;
  for (const ReferenceNode& node : tree.nodes) {
    if (node.children.empty())
      builder.leaf(node.word, node.label);
    else
      builder.node(int(node.children.size()), node.label);
  }
  data::Tree result = builder.finish();
  for (int i = 0; i < result.size(); ++i) result.set_word(i, tree.nodes[std::size_t(i)].word);
  return result;
}

/// A sequence as the leaves of one flat tree whose root has the last token's label.
data::Tree to_tree(const ReferenceSequence& sequence) {
  data::TreeBuilder builder;
  for (std::size_t i = 0; i < sequence.words.size(); ++i)
    builder.leaf(sequence.words[i], sequence.labels[i]);
  builder.node(int(sequence.words.size()), sequence.labels.back());
  return builder.finish();
}

struct Example {
  data::Tree tree;
  ReferenceResult expected;
};

/// Random examples of a model with what its reference makes of them.
std::vector<Example> examples(const std::string& model, const ReferenceParams& params,
                              ReferenceLoss loss, ReferenceRandom& random) {
  std::vector<Example> result;
  const ReferenceOptions options{.loss = loss, .dropout = {}};
  for (int i = 0; i < 6; ++i) {
    if (model == "tree_lstm") {
      const ReferenceTree tree = random_binary_tree(1 + random.below(9), dims, random);
      result.push_back({to_tree(tree), reference_tree_lstm(params, tree, options)});
    } else if (model == "child_sum_tree_lstm") {
      const ReferenceTree tree = random_tree(1 + random.below(14), 4, dims, random);
      result.push_back({to_tree(tree), reference_child_sum_tree_lstm(params, tree, options)});
    } else {
      const ReferenceSequence sequence = random_sequence(1 + random.below(12), dims, random);
      result.push_back({to_tree(sequence), reference_lstm(params, sequence, options)});
    }
  }
  return result;
}

ReferenceShapes shapes(const std::string& model) {
  if (model == "tree_lstm") return tree_lstm_shapes(dims);
  if (model == "child_sum_tree_lstm") return child_sum_tree_lstm_shapes(dims);
  return lstm_shapes(dims);
}

struct Case {
  std::string model;
  ReferenceLoss loss;
};

class ModelsEqualReferences : public ::testing::TestWithParam<Case> {};

TEST_P(ModelsEqualReferences, OutputsLossAndGradients) {
  const auto& [name, loss] = GetParam();
  ReferenceRandom random(11);
  ReferenceParams params = random_params(shapes(name), random);
  for (auto& [param, values] : params)
    for (double& value : values) value = float(value);
  const auto labels_at =
      loss == ReferenceLoss::root ? models::LabelsAt::root : models::LabelsAt::every_node;
  const auto model = models::find_model(name).make({.vocabulary = dims.vocab,
                                                    .embed = dims.embed,
                                                    .hidden = dims.hidden,
                                                    .classes = dims.classes,
                                                    .dropout = 0,
                                                    .labels_at = labels_at});
  EngineOptions options;
  options.threads = 2;
  options.cache_directory = default_cache_directory();
  Engine engine(model->program(), options);
  for (const ir::Param& param : engine.program().params) {
    const std::vector<double>& values = params.at(param.name);
    ASSERT_EQ(engine.param(param.name).size(), values.size()) << param.name;
    std::ranges::copy(values, engine.param(param.name).begin());
  }
  const std::vector<Example> all = examples(name, params, loss, random);
  std::vector<ReferenceResult> results;
  for (const Example& example : all) results.push_back(example.expected);

  // Outputs: the logits of every labelled place.
  Instances minibatch = engine.instances(Mode::inference);
  std::size_t places = 0;
  for (const Example& example : all) {
    std::vector<models::Prediction> predictions;
    model->record_predictions(minibatch, example.tree, predictions);
    for (const models::Prediction& prediction : predictions) {
      // A sequence's root stands for its last token.
      const std::size_t node =
          std::min(std::size_t(prediction.node), example.expected.logits.size() - 1);
      const auto logits = engine.value(prediction.logits);
      for (int c = 0; c < dims.classes; ++c)
        EXPECT_NEAR(logits[std::size_t(c)], example.expected.logits[node][std::size_t(c)], 4e-6);
      ++places;
    }
  }
  EXPECT_GE(places, all.size());

  minibatch = engine.instances();
  for (const Example& example : all) {
    minibatch.begin_example(places++);
    model->record_loss(minibatch, example.tree);
  }
  const StepResult step = engine.gradients(minibatch);
  const ReferenceMean mean = reference_mean(results);
  EXPECT_NEAR(step.loss, mean.loss, 1e-6 * mean.loss);
  EXPECT_NEAR(step.gradient_norm, mean.gradient_norm(), 4e-6 * mean.gradient_norm());
  for (const auto& [param, expected] : mean.gradient) {
    const std::vector<float> actual = engine.gradient(param);
    double largest = 1e-3;
    for (double x : expected) largest = std::max(largest, std::abs(x));
    for (std::size_t i = 0; i < expected.size(); ++i)
      ASSERT_NEAR(actual[i], expected[i], 64 * 0x1p-24 * largest) << param << " at " << i;
  }
}

std::vector<Case> cases() {
  std::vector<Case> result;
  for (const models::ModelInfo& info : models::models())
    for (const ReferenceLoss loss : {ReferenceLoss::every_node, ReferenceLoss::root})
      result.push_back({std::string(info.name), loss});
  return result;
}

INSTANTIATE_TEST_SUITE_P(
    Zoo, ModelsEqualReferences, ::testing::ValuesIn(cases()), [](const auto& info) {
      return info.param.model + (info.param.loss == ReferenceLoss::root ? "_root" : "_every_node");
    });

}  // namespace
}  // namespace espalier::test
