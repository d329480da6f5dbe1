// The programs of docs/tutorial.md. The lines between `// snippet: NAME` and `// end` appear there
// verbatim; here they are compiled and run.
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdio>
#include <random>
#include <set>
#include <span>
#include <string>
#include <vector>

#include "tests/data/support.h"
#include "tests/docs/markdown.h"
#include "tests/support/golden.h"
// snippet: headers
#include "data/minibatches.h"
#include "data/tree.h"
#include "frontend/model.h"
#include "ir/text/print.h"
#include "runtime/engine.h"
#include "training/checkpoint.h"
#include "training/engine_task.h"
#include "training/metrics.h"
#include "training/optimizer.h"

using namespace espalier;
// end

namespace {

// snippet: examples
/// Adds a random nested list to `builder` and returns its largest digit.
int grow(data::TreeBuilder& builder, std::mt19937& random, std::uint32_t depth) {
  if (depth == 0) {
    const int digit = static_cast<int>(random() % 10);
    builder.leaf(digit);
    return digit;
  }
  const int length = 1 + static_cast<int>(random() % 4);
  int largest = 0;
  for (int i = 0; i < length; ++i)
    largest = std::max(largest, grow(builder, random, random() % depth));
  builder.node(length);
  return largest;
}

std::vector<data::Tree> nested_lists(std::size_t count, std::uint32_t seed) {
  std::mt19937 random(seed);
  data::TreeBuilder builder;
  std::vector<data::Tree> trees;
  while (trees.size() < count) {
    const int largest = grow(builder, random, 3);
    trees.push_back(builder.finish());
    trees.back().set_label(trees.back().root(), largest);
  }
  return trees;
}
// end

// snippet: model
struct Attention : Model {
  Cell<Tensor(Index)> leaf;
  Cell<Tensor(Children<Tensor>)> node;
  Cell<Tensor(Tensor)> scores;
  Cell<Tensor(Tensor, Index)> loss;

  Attention(int words, int d, int classes) : Model("attention") {
    const Param embed = param("embed", {words, d});
    const Param key = param("key", {d, d}), query = param("query", {d}, Initializer::uniform(0.5));
    const Param value = param("value", {d, d}), bias = param("bias", {d});
    const Param out = param("out", {classes, d});

    leaf = cell("leaf", [=](Index word) -> Tensor { return tanh(row(embed, word)); });
    node = cell("node", {Shape{d}}, [=](Children<Tensor> h) -> Tensor {
      const Tensor score = dot(query, tanh(matmul(key, h)));  // one number for each child
      const Tensor weight = softmax_children(score);          // the same, and their sum is 1
      const Tensor seen = sum_children(weight * h);           // [d], once for the instance
      return tanh(matmul(value, seen) + bias);
    });
    scores = cell("scores", {Shape{d}}, [=](Tensor h) -> Tensor { return matmul(out, h); });
    loss = cell("loss", {Shape{d}}, [=](Tensor h, Index label) -> Tensor {
      return cross_entropy(matmul(out, h), label);
    });
  }

  Call<Tensor> encode(const Instances& g, data::TreeRef t) const {
    if (t.leaf()) return g(leaf, t.word());
    std::vector<Call<Tensor>> children;
    for (const data::TreeRef child : t.children()) children.push_back(encode(g, child));
    return g(node, children);
  }
};
// end

// snippet: fold
Call<Tensor> encode_deep(const Attention& model, const Instances& g, const data::Tree& tree) {
  return fold(
      tree, [&](int i) { return g(model.leaf, tree.word(i)); },
      [&](int, std::span<Call<Tensor>> children) { return g(model.node, children); });
}
// end

// snippet: accuracy
double accuracy(Engine& engine, const Attention& model, const std::vector<data::Tree>& trees) {
  const Instances g = engine.instances(Mode::inference);
  std::vector<Call<Tensor>> scores;
  for (const data::TreeRef tree : trees) scores.push_back(g(model.scores, model.encode(g, tree)));

  ConfusionMatrix results(10);
  for (std::size_t i = 0; i < trees.size(); ++i)
    results.add(trees[i].label(trees[i].root()), argmax(engine.value(scores[i])));
  return results.accuracy();
}
// end

// snippet: save
void save(const std::string& folder, const Engine& engine, int d) {
  SavedModel saved;
  saved.name = "attention";
  saved.program = ir::print(engine.program());
  saved.settings = {{"hidden", std::int64_t{d}}};
  save_model(folder, saved, {}, param_tensors(engine));
}
// end

TEST(Tutorial, TrainsAttention) {
  const data::TemporaryFolder temporary;
  const std::string folder = temporary / "largest";
  // snippet: train
  const int d = 32;
  const std::vector<data::Tree> training = nested_lists(2000, 1), test = nested_lists(500, 2);
  const Attention model(10, d, 10);
  Engine engine(model.program(), {.strategy = "phase", .threads = 2});

  OptimizerOptions options{.rule = update_rule("adam"), .clip_norm = 5};
  options.rule.lr = 0.01;
  StandardOptimizer optimizer(options);

  data::Minibatches minibatches(static_cast<int>(training.size()), 50);
  for (int epoch = 0; epoch < 5; ++epoch) {
    minibatches.start_epoch(epoch);
    double loss = 0;
    for (int i = 0; i < minibatches.size(); ++i) {
      const Instances g = engine.instances();
      for (const int example : minibatches[i]) {
        const data::TreeRef tree = training[example];
        g.begin_example(example);
        g.loss(g(model.loss, model.encode(g, tree), tree.label()));
      }
      loss += engine.train_step(g, optimizer).loss;
    }
    std::printf("epoch %d: loss %.3f, test accuracy %.3f\n", epoch + 1, loss / minibatches.size(),
                accuracy(engine, model, test));
  }
  save(folder, engine, d);
  // end
  EXPECT_GT(accuracy(engine, model, test), 0.95);

  std::vector<float> scores;
  {
    const Instances g = engine.instances(Mode::inference);
    const std::span<const float> value =
        engine.value(g(model.scores, encode_deep(model, g, test[0])));
    scores.assign(value.begin(), value.end());
  }
  {
    // snippet: load
    const SavedModel saved = load_model(folder);
    const int d = static_cast<int>(setting<std::int64_t>(saved.settings, "hidden"));
    const Attention model(10, d, 10);
    Engine engine(model.program());
    set_params(engine, load_weights(folder, engine.program().params));
    // end
    const Instances g = engine.instances(Mode::inference);
    const std::span<const float> value = engine.value(g(model.scores, model.encode(g, test[0])));
    EXPECT_EQ(std::vector<float>(value.begin(), value.end()), scores);
  }
}

// snippet: go on
/// Takes the steps from `first` up to `last` of a run that is saved in `folder`.
void train_steps(const std::string& folder, const std::vector<data::Tree>& trees, int first,
                 int last) {
  const Attention model(10, 16, 10);
  Engine engine(model.program());
  StandardOptimizer optimizer({.rule = update_rule("adam")});
  if (first > 0) {
    set_params(engine, load_weights(folder, engine.program().params));
    restore_training_state(folder + "/training.safetensors", engine, optimizer);
  }
  for (int step = first; step < last; ++step) {
    const Instances g = engine.instances();
    for (std::size_t i = 0; i < trees.size(); ++i) {
      const data::TreeRef tree = trees[i];
      g.begin_example(i);
      g.loss(g(model.loss, model.encode(g, tree), tree.label()));
    }
    engine.train_step(g, optimizer);
  }
  save(folder, engine, 16);
  save_training_state(folder + "/training.safetensors", engine, optimizer);
}
// end

TEST(Tutorial, ARunThatStopsGoesOnToTheSameBits) {
  const data::TemporaryFolder temporary;
  const std::vector<data::Tree> trees = nested_lists(32, 5);
  train_steps(temporary / "whole", trees, 0, 8);
  train_steps(temporary / "parts", trees, 0, 3);
  train_steps(temporary / "parts", trees, 3, 8);
  for (const char* file : {"model.safetensors", "training.safetensors"}) {
    const Safetensors whole(temporary / "whole/" + file), parts(temporary / "parts/" + file);
    ASSERT_EQ(whole.tensors().size(), parts.tensors().size());
    for (const SafeTensor& tensor : whole.tensors())
      EXPECT_EQ(parts.find(tensor.name)->bytes, tensor.bytes) << tensor.name;
  }
}

// snippet: pairs
/// Trees with the same label should be close together, others at least 1 apart.
void record_pair(const Instances& g, const Attention& model, data::TreeRef a, data::TreeRef b) {
  const Call<Tensor> distance = mean(squared_error(model.encode(g, a), model.encode(g, b)));
  g.loss(a.label() == b.label() ? distance : relu(1.0 - distance));
}
// end

TEST(Tutorial, ComputesOutsideCells) {
  const std::vector<data::Tree> trees = nested_lists(32, 3);
  const Attention model(10, 16, 10);
  Engine engine(model.program());
  OptimizerOptions options{.rule = update_rule("adam")};
  options.rule.lr = 0.01;
  StandardOptimizer optimizer(options);
  double first = 0, last = 0;
  for (int step = 0; step < 40; ++step) {
    const Instances g = engine.instances();
    for (std::size_t i = 0; i + 1 < trees.size(); ++i)
      record_pair(g, model, trees[i], trees[i + 1]);
    last = engine.train_step(g, optimizer).loss;
    if (step == 0) first = last;
  }
  EXPECT_LT(last, first / 2);
}

// snippet: sequence
struct State {
  Tensor h, c;
};

struct Counter : Model {
  Cell<State()> start;
  Cell<State(Index, State)> step;
  Cell<Tensor(State)> scores;
  Cell<Tensor(State, Index)> loss;

  Counter(int words, int d) : Model("counter") {
    declare_state<State>(Shape{d}, Shape{d});
    const Param embed = param("embed", {words, d}), out = param("out", {words, d});
    const Param w = param("w", {4 * d, 2 * d}), b = param("b", {4 * d});

    start = cell("start", [=]() -> State { return {constant(0, {d}), constant(0, {d})}; });
    step = cell("step", [=](Index word, State before) -> State {
      auto [i, f, o, g] = split<4>(matmul(w, concat(row(embed, word), before.h)) + b);
      Tensor c = sigmoid(f) * before.c + sigmoid(i) * tanh(g);
      return {.h = sigmoid(o) * tanh(c), .c = c};
    });
    scores = cell("scores", [=](State s) -> Tensor { return matmul(out, s.h); });
    loss = cell("loss", [=](State s, Index next) -> Tensor {
      return cross_entropy(matmul(out, s.h), next);
    });
  }

  /// Each word is to be predicted from the words before it.
  void record(const Instances& g, std::span<const int> words) const {
    Call<State> state = g(start);
    for (std::size_t i = 0; i + 1 < words.size(); ++i) {
      state = g(step, words[i], state);
      g.loss(g(loss, state, words[i + 1]));
    }
  }
};
// end

// snippet: generate
/// Continues `words` with the most likely next word, up to the word `last`.
std::vector<int> generate(Engine& engine, const Counter& model, std::vector<int> words, int last) {
  const Instances g = engine.instances(Mode::inference);
  Call<State> state = g(model.start);
  for (const int word : words) state = g(model.step, word, state);
  while (words.back() != last && words.size() < 100) {
    words.push_back(argmax(engine.value(g(model.scores, state))));
    state = g(model.step, words.back(), state);
  }
  return words;
}
// end

TEST(Tutorial, GeneratesSequences) {
  // Counting up or down: the first word says which.
  constexpr int up = 10, down = 11, stop = 12;
  std::vector<std::vector<int>> sequences;
  for (int first = 0; first < 10; ++first) {
    sequences.push_back({up});
    for (int word = first; word < 10; ++word) sequences.back().push_back(word);
    sequences.back().push_back(stop);
    sequences.push_back({down});
    for (int word = first; word >= 0; --word) sequences.back().push_back(word);
    sequences.back().push_back(stop);
  }
  const Counter model(13, 24);
  Engine engine(model.program());
  OptimizerOptions options{.rule = update_rule("adam")};
  options.rule.lr = 0.01;
  StandardOptimizer optimizer(options);
  for (int step = 0; step < 150; ++step) {
    const Instances g = engine.instances();
    for (const std::vector<int>& words : sequences) model.record(g, words);
    engine.train_step(g, optimizer, 1.0 / 20);
  }
  EXPECT_EQ(generate(engine, model, {down, 3}, stop), (std::vector<int>{down, 3, 2, 1, 0, stop}));
  EXPECT_EQ(generate(engine, model, {up, 6}, stop), (std::vector<int>{up, 6, 7, 8, 9, stop}));
}

std::string shape_error() {
  return data::refusal([] {
    Model model("example");
    const int d = 32;
    const Param out = model.param("out", {10, 64});
    // snippet: wrong shape
    model.cell("scores", {Shape{d}}, [=](Tensor h) -> Tensor { return matmul(out, h); });
    // end
  });
}

// snippet: unit
struct Unit : Model {
  Cell<Tensor(Index)> unit;

  Unit() : Model("unit") {
    const Param embed = param("embed", {10, 4}, Initializer::constant(0));
    unit = cell("unit", [=](Index word) -> Tensor {
      const Tensor x = row(embed, word);
      return x / sqrt(dot(x, x));
    });
  }
};
// end

std::string nan_error() {
  return data::refusal([] {
    // snippet: check finite
    const Unit model;
    Engine engine(model.program(), {.debug = {.check_finite = true}});
    const Instances g = engine.instances();
    g.begin_example(17);
    g(model.unit, 3);
    engine.forward(g);
    // end
  });
}

std::string node_text() {
  const Attention model(10, 32, 10);
  return ir::print(model.program().cells[std::size_t(model.node.id())], model.program());
}

TEST(Tutorial, ShowsWhatIsTestedHere) {
  std::map<std::string, std::string> texts =
      test::snippets(test::read_document("tests/docs/tutorial_test.cpp"));
  texts["shape error"] = shape_error() + "\n";
  texts["nan"] = nan_error() + "\n";
  texts["node"] = node_text();
  std::set<std::string> unseen;
  for (const auto& [name, text] : texts) unseen.insert(name);

  const std::string expected = test::with_blocks(
      test::read_document("docs/tutorial.md"), [&](const test::MarkdownBlock& block) {
        EXPECT_TRUE(!block.name.empty() || block.language != "cpp") << block.text;
        if (block.name.empty()) return block.text;
        EXPECT_TRUE(texts.contains(block.name)) << block.name;
        unseen.erase(block.name);
        return texts[block.name];
      });
  test::expect_golden("docs/tutorial.md", expected);
  EXPECT_EQ(unseen, std::set<std::string>());
}

}  // namespace
