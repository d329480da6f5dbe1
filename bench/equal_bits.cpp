// Shows that two builds give the same bits at the same speed, for scripts/compare-builds.
//
//   equal_bits [TARGET]   hashes of all calls' values (unless split), losses, first gradients,
//                         weights and predictions of every model, trained in every way
//   equal_bits --time     milliseconds of whole training steps, medians
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <cinttypes>
#include <cstdio>
#include <filesystem>
#include <random>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "data/tree.h"
#include "models/models.h"
#include "runtime/engine.h"
#include "scheduler/strategy.h"
#include "training/optimizer.h"

namespace {

using namespace espalier;

/// FNV-1a, 64 bits.
struct Hash {
  std::uint64_t value = 0xcbf29ce484222325;

  template <class Number>
  void add(std::span<const Number> numbers) {
    for (const std::byte byte : std::as_bytes(numbers))
      value = (value ^ static_cast<std::uint64_t>(byte)) * 0x100000001b3;
  }
};

/// Random trees of `least` to `most` words, the lower ones more frequent, with a label at every
/// node: such as the model reads, with up to four children and words at inner nodes if it may.
std::vector<data::Tree> random_trees(models::Reads reads, int count, int least, int most,
                                     const models::ModelOptions& options, int seed) {
  std::mt19937 random(seed);
  const auto below = [&](int bound) { return static_cast<int>(random() % bound); };
  const auto word = [&] { return below(1 + below(1 + below(options.vocabulary))); };
  const bool any = reads == models::Reads::trees;
  std::vector<data::Tree> trees;
  data::TreeBuilder builder;
  for (; count > 0; --count) {
    for (int words = least + below(most - least + 1), height = 0; words > 0 || height > 1;) {
      const int label = below(options.classes);
      if (height < 2 || (words > 0 && below(2) == 0)) {
        builder.leaf(word(), label);
        --words;
        ++height;
      } else {
        const int arity = any ? std::min(height, 1 + below(words > 0 ? 4 : 2) + (words == 0)) : 2;
        builder.node(arity, label, any && below(3) == 0 ? word() : data::Tree::kNone);
        height -= arity - 1;
      }
    }
    trees.push_back(builder.finish());
  }
  return trees;
}

void record(models::TreeModel& model, const Instances& instances,
            std::span<const data::Tree> trees) {
  for (std::size_t i = 0; i < trees.size(); ++i) {
    instances.begin_example(i);
    model.record_loss(instances, trees[i]);
  }
}

/// Trains for a few steps and prints what came of it. Gives the bytes that the engine took.
std::int64_t print_hashes(const models::ModelInfo& info, const EngineOptions& options) {
  const bool by_op = options.granularity == ir::Granularity::op;
  const models::ModelOptions sizes{
      .vocabulary = 50, .embed = 30, .hidden = 45, .classes = 5, .dropout = 0.3};
  const auto model = info.make(sizes);
  const auto trees = random_trees(info.reads, by_op ? 8 : 40, 3, 20, sizes, 1);
  Engine engine(model->program(), options);
  StandardOptimizer optimizer({.rule = update_rule("adam"), .clip_norm = 5});

  Hash values, losses, gradients, weights, predictions;
  StepStatistics statistics;
  for (int step = 0; step < 5; ++step) {
    const Instances minibatch = engine.instances();
    record(*model, minibatch, trees);
    std::vector<models::Prediction> places;
    model->record_predictions(minibatch, trees.back(), places);
    const StepResult result = engine.train_step(minibatch, optimizer);
    losses.add<double>(std::array{result.loss, result.gradient_norm});
    statistics = result.statistics;
    if (step > 0) continue;
    for (const ir::Param& param : model->program().params)
      gradients.add<float>(engine.gradient(param.name));
    ir::CallHandle call = places.front().logits;
    for (call.id = 0; call.id < minibatch.size() && statistics.parts == 1; ++call.id) {
      values.add<float>(engine.value(call));
      if (engine.value(call).size() == 45) values.add<float>(engine.value(call, 1));  // h and c
    }
  }
  for (const ir::Param& param : model->program().params)
    weights.add<float>(std::as_const(engine).param(param.name));
  for (const data::Tree& tree : trees) {
    std::vector<models::Prediction> places;
    model->record_predictions(engine.instances(Mode::inference), tree, places);
    for (const models::Prediction& place : places)
      predictions.add<float>(engine.value(place.logits));
  }

  std::printf("%-19s %-9s %d threads, share %d, hoist %d, by %-4s %-8s %4zu batches, %d parts:",
              std::string(info.name).c_str(), options.strategy.c_str(), options.threads,
              options.share, options.hoist, by_op ? "op" : "cell",
              options.memory_limit > 0 ? "limited" : "", statistics.batches, statistics.parts);
  for (const Hash& hash : {values, losses, gradients, weights, predictions})
    std::printf(" %016" PRIx64, hash.value);
  std::printf("\n");
  return statistics.peak_bytes;
}

void print_all_hashes(EngineOptions options) {
  for (const models::ModelInfo& info : models::models())
    for (const scheduler::StrategyInfo& strategy : scheduler::strategies())
      for (int way = 0; way < 12; ++way) {
        options.strategy = strategy.name;
        options.threads = 1 + way % 2;
        options.share = way / 2 % 2 != 0;
        options.hoist = way < 4;
        options.granularity = way < 8 ? ir::Granularity::cell : ir::Granularity::op;
        options.memory_limit = 0;
        options.memory_limit = print_hashes(info, options) * 2 / 3;  // splits the minibatch
        print_hashes(info, options);
      }
}

void print_time(const models::ModelInfo& info, int hidden, int embed, int batch,
                const EngineOptions& options) {
  const models::ModelOptions sizes{
      .vocabulary = 16'000, .embed = embed, .hidden = hidden, .classes = 5, .dropout = 0.5};
  const auto model = info.make(sizes);
  // Minibatches take turns, so that no branch predictor learns one by heart.
  std::vector<std::vector<data::Tree>> minibatches;
  for (int seed = 0; seed < 10; ++seed)
    minibatches.push_back(random_trees(info.reads, batch, 4, 34, sizes, seed));
  Engine engine(model->program(), options);
  StandardOptimizer optimizer({.rule = update_rule("adagrad")});

  std::vector<double> times;
  for (int step = 0; step < 50; ++step) {
    const auto begin = std::chrono::steady_clock::now();
    const Instances minibatch = engine.instances();
    record(*model, minibatch, minibatches[step % minibatches.size()]);
    engine.train_step(minibatch, optimizer);
    const std::chrono::duration<double, std::milli> time = std::chrono::steady_clock::now() - begin;
    if (step >= 10) times.push_back(time.count());
  }
  std::ranges::nth_element(times, times.begin() + times.size() / 2);
  std::printf("%s %d/%d, batch %d, %d threads: %.3f ms\n", std::string(info.name).c_str(), hidden,
              embed, batch, options.threads, times[times.size() / 2]);
}

}  // namespace

int main(int argc, char** argv) {
  const std::string argument = argc == 2 ? argv[1] : "";
  EngineOptions options;  // kernels are kept for this process alone
  options.cache_directory =
      std::filesystem::temp_directory_path() / ("equal_bits." + std::to_string(getpid()));
  if (argument == "--time") {
    for (const models::ModelInfo& info : models::models()) {
      options.threads = 1;
      print_time(info, 150, 300, 25, options);
      print_time(info, 64, 64, 25, options);
      options.threads = 2;
      print_time(info, 150, 300, 25, options);
    }
  } else {
    options.target = argument;
    print_all_hashes(options);
  }
  std::filesystem::remove_all(options.cache_directory);
}
