// The zoo's models against plain loops: logits, loss and every gradient, at both granularities, in
// double. Nothing of the engine takes part.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>
#include <string>

#include "base/error.h"
#include "ir/record/recorder.h"
#include "ir/verify.h"
#include "models/models.h"
#include "tests/support/oracle.h"
#include "tests/support/reference.h"
#include "tests/support/reference_examples.h"
#include "tests/support/refusal.h"

namespace espalier::test {
namespace {

using models::LabelsAt;
using models::ModelOptions;
using models::TreeModel;

const ReferenceDims kDims{.vocab = 6, .embed = 3, .hidden = 4, .classes = 3};

/// The same example for a model and for its reference.
struct Example {
  data::Tree tree;
  ReferenceTree nodes;         // of the tree models
  ReferenceSequence sequence;  // of the lstm
};

data::Tree to_data(const ReferenceTree& from) {
  data::TreeBuilder builder;
  for (const ReferenceNode& node : from.nodes) {
    if (node.children.empty())
      builder.leaf(node.word, node.label);
    else
      builder.node(static_cast<int>(node.children.size()), node.label);
  }
  data::Tree tree = builder.finish();
  for (int i = 0; i < tree.size(); ++i) tree.set_word(i, from.nodes[i].word);
  return tree;
}

/// One row per model of the table: what it is compared with.
struct Peer {
  ReferenceShapes (*shapes)(const ReferenceDims&);
  Example (*example)(ReferenceRandom&);
  ReferenceResult (*run)(const ReferenceParams&, const Example&, const ReferenceOptions&);
  /// The reference's number of node `node`.
  int (*place)(const Example&, int node);
};

Example binary_example(ReferenceRandom& random) {
  Example example;
  example.nodes = random_binary_tree(1 + random.below(6), kDims, random);
  if (example.nodes.nodes.size() > 3) example.nodes.nodes[1].label = -1;
  example.tree = to_data(example.nodes);
  return example;
}

Example any_example(ReferenceRandom& random) {
  Example example;
  example.nodes = random_tree(1 + random.below(8), 4, kDims, random);
  example.tree = to_data(example.nodes);
  return example;
}

/// A node over all tokens; a single token is a tree by itself.
Example sequence_example(ReferenceRandom& random) {
  Example example;
  example.sequence = random_sequence(1 + random.below(7), kDims, random);
  const auto& [words, labels] = example.sequence;
  data::TreeBuilder builder;
  for (std::size_t i = 0; i < words.size(); ++i) builder.leaf(words[i], labels[i]);
  if (words.size() > 1) builder.node(static_cast<int>(words.size()), labels.back());
  example.tree = builder.finish();
  return example;
}

int same_place(const Example&, int node) { return node; }

const std::map<std::string, Peer, std::less<>> kPeers = {
    {"tree_lstm",
     {tree_lstm_shapes, binary_example,
      [](const ReferenceParams& p, const Example& e, const ReferenceOptions& o) {
        return reference_tree_lstm(p, e.nodes, o);
      },
      same_place}},
    {"child_sum_tree_lstm",
     {child_sum_tree_lstm_shapes, any_example,
      [](const ReferenceParams& p, const Example& e, const ReferenceOptions& o) {
        return reference_child_sum_tree_lstm(p, e.nodes, o);
      },
      same_place}},
    {"lstm",
     {lstm_shapes, sequence_example,
      [](const ReferenceParams& p, const Example& e, const ReferenceOptions& o) {
        return reference_lstm(p, e.sequence, o);
      },
      [](const Example& e, int node) {
        const int last = static_cast<int>(e.sequence.words.size()) - 1;
        return std::min(node, last);  // the root has the last token's state
      }}},
};

std::unique_ptr<TreeModel> make(std::string_view name, LabelsAt labels_at, double dropout) {
  return models::find_model(name).make({.vocabulary = kDims.vocab,
                                        .embed = kDims.embed,
                                        .hidden = kDims.hidden,
                                        .classes = kDims.classes,
                                        .dropout = dropout,
                                        .labels_at = labels_at});
}

/// Any fixed multiplier of where a mask is.
double multiplier(std::uint64_t example, int place, std::int64_t position) {
  return static_cast<double>((example * 31 + static_cast<std::uint64_t>(place * 7 + position * 5)) %
                             4) /
         2;
}

struct Case {
  std::string model;
  LabelsAt labels_at;
  double dropout;
  ir::Granularity granularity;
};

class Zoo : public testing::TestWithParam<Case> {};

std::vector<Case> cases() {
  std::vector<Case> all;
  for (const models::ModelInfo& model : models::models())
    for (LabelsAt labels_at : {LabelsAt::every_node, LabelsAt::root})
      for (double dropout : {0.0, 0.5})
        for (auto granularity : {ir::Granularity::cell, ir::Granularity::op})
          all.push_back({std::string(model.name), labels_at, dropout, granularity});
  return all;
}

INSTANTIATE_TEST_SUITE_P(Models, Zoo, testing::ValuesIn(cases()), [](const auto& info) {
  const Case& c = info.param;
  return c.model + (c.labels_at == LabelsAt::root ? "_root" : "_every") +
         (c.dropout > 0 ? "_dropout" : "") +
         (c.granularity == ir::Granularity::op ? "_op" : "_cell");
});

void expect_near(const std::vector<double>& a, const std::vector<double>& b,
                 const std::string& what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  for (std::size_t i = 0; i < a.size(); ++i)
    EXPECT_NEAR(a[i], b[i], 1e-13 * std::max(1.0, std::fabs(b[i]))) << what << "[" << i << "]";
}

TEST_P(Zoo, EqualsPlainLoops) {
  const Case& c = GetParam();
  const Peer& peer = kPeers.at(c.model);
  const auto model = make(c.model, c.labels_at, c.dropout);
  ir::verify(model->program());
  ir::Program program = model->program();
  ir::Recorder recorder(program, c.granularity);
  const Instances g(recorder);
  ReferenceRandom random(17);
  const ReferenceParams params = random_params(peer.shapes(kDims), random);

  std::vector<Example> examples;
  std::vector<std::vector<models::Prediction>> predictions(8);
  std::map<std::pair<std::uint64_t, std::uint32_t>, int> places;  // of the streams of masks
  for (std::size_t e = 0; e < predictions.size(); ++e) {
    examples.push_back(peer.example(random));
    g.begin_example(e);
    const std::size_t losses = recorder.losses().size();
    model->record_loss(g, examples[e].tree);
    std::vector<ir::InstanceId> marked(recorder.losses().begin(), recorder.losses().end());
    model->record_predictions(g, examples[e].tree, predictions[e]);
    ASSERT_EQ(marked.size() - losses, predictions[e].size());
    for (std::size_t k = 0; k < predictions[e].size(); ++k) {
      const auto stream = recorder.graph().stream(marked[losses + k]);
      places[{e, stream.call}] = peer.place(examples[e], predictions[e][k].node);
    }
  }
  ir::verify(recorder.program());
  ir::verify(recorder.graph(), recorder.program());

  Oracle::Tensors values;
  for (const ir::Param& param : program.params) values.push_back(params.at(param.name));
  Oracle oracle(
      recorder.program(), values,
      [&](const ir::InstanceGraph::Stream& stream, int, double probability, std::int64_t position) {
        EXPECT_EQ(probability, c.dropout);
        return multiplier(stream.example, places.at({stream.example, stream.call}), position);
      });
  const auto outputs = oracle.forward(recorder.graph());

  double loss = 0;
  ReferenceParams gradient;
  for (const auto& [name, value] : params) gradient[name].assign(value.size(), 0.0);
  for (std::size_t e = 0; e < examples.size(); ++e) {
    ReferenceOptions options;
    options.loss = c.labels_at == LabelsAt::root ? ReferenceLoss::root : ReferenceLoss::every_node;
    const auto dropped = [&](int place) {
      std::vector<double> mask;
      for (int k = 0; k < kDims.hidden; ++k) mask.push_back(multiplier(e, place, k));
      return mask;
    };
    const ReferenceResult undropped = peer.run(params, examples[e], options);
    if (c.dropout > 0) options.dropout = dropped;
    const ReferenceResult expected = peer.run(params, examples[e], options);
    loss += expected.loss;
    for (auto& [name, sum] : gradient)
      for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += expected.gradient.at(name)[i];
    for (const models::Prediction& prediction : predictions[e]) {
      const auto [instance, field] = recorder.instance(prediction.logits.id, 0);
      const auto place = static_cast<std::size_t>(peer.place(examples[e], prediction.node));
      expect_near(outputs[instance][static_cast<std::size_t>(field)], undropped.logits[place],
                  "logits of node " + std::to_string(prediction.node));
    }
  }
  EXPECT_NEAR(oracle.loss(recorder.graph(), recorder.losses()), loss, 1e-12 * loss);
  const auto gradients = oracle.gradients(recorder.graph(), recorder.losses());
  for (std::size_t p = 0; p < gradients.size(); ++p)
    expect_near(gradients[p], gradient.at(program.params[p].name), program.params[p].name);
}

TEST(ZooChildSum, ANodeWithoutWordReadsZeros) {
  ReferenceRandom random(3);
  const Peer& peer = kPeers.at("child_sum_tree_lstm");
  ReferenceParams params = random_params(peer.shapes(kDims), random);
  std::fill_n(params["embed"].begin(), kDims.embed, 0.0);
  Example example = any_example(random);
  while (example.tree.size() < 6) example = any_example(random);
  for (int i = 0; i < example.tree.size(); ++i) {
    if (example.tree.is_leaf(i)) continue;
    example.nodes.nodes[static_cast<std::size_t>(i)].word = 0;
    example.tree.set_word(i, data::Tree::kNone);
  }
  const auto model = make("child_sum_tree_lstm", LabelsAt::every_node, 0);
  ir::Program program = model->program();
  ir::Recorder recorder(program);
  model->record_loss(Instances(recorder), example.tree);
  Oracle::Tensors values;
  for (const ir::Param& param : program.params) values.push_back(params.at(param.name));
  Oracle oracle(program, values);
  const ReferenceResult expected = peer.run(params, example, {});
  EXPECT_NEAR(oracle.loss(recorder.graph(), recorder.losses()), expected.loss, 1e-12);
  const auto gradients = oracle.gradients(recorder.graph(), recorder.losses());
  for (std::size_t p = 1; p < gradients.size(); ++p)  // row 0 of embed is the reference's device
    expect_near(gradients[p], expected.gradient.at(program.params[p].name), program.params[p].name);
}

TEST(ZooTable, ParamsAreThoseOfTheReference) {
  for (const models::ModelInfo& info : models::models()) {
    SCOPED_TRACE(info.name);
    EXPECT_FALSE(info.summary.empty());
    const auto model = make(info.name, LabelsAt::root, 0);
    EXPECT_EQ(model->name(), info.name);
    const ReferenceShapes shapes = kPeers.at(std::string(info.name)).shapes(kDims);
    const auto& params = model->program().params;
    ASSERT_EQ(params.size(), shapes.size());
    for (std::size_t i = 0; i < params.size(); ++i) {
      EXPECT_EQ(params[i].name, shapes[i].first);
      const std::vector<std::int64_t> extents(shapes[i].second.begin(), shapes[i].second.end());
      EXPECT_EQ(params[i].shape, ir::Shape(std::span(extents)));
    }
  }
}

TEST(ZooTable, ShapesDoNotOverflow) {
  for (const models::ModelInfo& info : models::models())
    // Gates of 3, 4 or 5 times these widths are few if they are counted in 32 bits.
    for (const int hidden : {(1 << 30) + 1, 1'431'655'766, 858'993'460, INT32_MAX}) {
      const std::string message = test::refusal(
          [&] { info.make({.vocabulary = 2, .embed = 2, .hidden = hidden, .classes = 2}); });
      EXPECT_NE(message.find("an extent must lie in 1 … 2147483647, found "), std::string::npos)
          << info.name << ": " << message;
    }
  EXPECT_NE(test::refusal([] {
              models::models()[0].make(
                  {.vocabulary = INT32_MAX, .embed = 1000, .hidden = 2, .classes = 2});
            }).find("a shape of more than 2^40 elements"),
            std::string::npos);
}

TEST(ZooTable, AnUnknownModelIsRefusedWithTheNearest) {
  try {
    models::find_model("tree_lsm");
    FAIL();
  } catch (const UserError& error) {
    EXPECT_STREQ(error.what(), "no model is called 'tree_lsm'; the nearest is 'tree_lstm'");
  }
}

struct Refusal : testing::Test {
  std::string of(std::string_view name, const data::Tree& tree) {
    const auto model = make(name, LabelsAt::every_node, 0);
    ir::Program program = model->program();
    ir::Recorder recorder(program);
    try {
      model->record_loss(Instances(recorder), tree);
    } catch (const UserError& error) {
      return error.what();
    }
    return "";
  }
};

TEST_F(Refusal, NamesTheNode) {
  data::TreeBuilder builder;
  for (int word : {0, 1, 2}) builder.leaf(word);
  builder.node(3, 0);
  const data::Tree ternary = builder.finish();
  EXPECT_EQ(of("tree_lstm", ternary), "tree_lstm reads binary trees: node 3 has 3 children");
  EXPECT_EQ(of("child_sum_tree_lstm", ternary), "");
  EXPECT_EQ(of("lstm", ternary), "");
  EXPECT_EQ(of("lstm", data::Tree()), "lstm: the example is empty");
  builder.leaf(1);
  builder.leaf(2);
  builder.node(2, 0, /*word=*/3);
  const data::Tree dependencies = builder.finish();
  for (const std::string name : {"tree_lstm", "lstm"})
    EXPECT_EQ(of(name, dependencies),
              name + " reads words at the leaves: inner node 2 has one, as in a dependency tree");
  EXPECT_EQ(of("child_sum_tree_lstm", dependencies), "");
  builder.leaf(6, 0);
  const data::Tree unknown = builder.finish();
  for (const models::ModelInfo& info : models::models())
    EXPECT_TRUE(of(info.name, unknown).ends_with("found 6, but param 'embed' has 6 rows"));
  builder.leaf(5, 3);
  const data::Tree label = builder.finish();
  for (const models::ModelInfo& info : models::models())
    EXPECT_TRUE(of(info.name, label).starts_with("cell 'loss', port 'index': found 3"));
}

TEST(ZooDepth, ATreeAHundredThousandDeepIsRecorded) {
  data::TreeBuilder builder;
  builder.leaf(0);
  for (int i = 0; i < 100000; ++i) {
    builder.leaf(1);
    builder.node(2, 1);
  }
  const data::Tree tree = builder.finish();
  for (const models::ModelInfo& info : models::models()) {
    const auto model = make(info.name, LabelsAt::root, 0);
    ir::Program program = model->program();
    ir::Recorder recorder(program);
    model->record_loss(Instances(recorder), tree);
    EXPECT_EQ(recorder.losses().size(), 1u);
  }
}

}  // namespace
}  // namespace espalier::test
