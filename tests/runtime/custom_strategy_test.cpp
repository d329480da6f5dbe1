// A user's own strategy: an object given to the engine, with no edit of the tree.
#include <gtest/gtest.h>

#include "scheduler/strategy.h"
#include "tests/runtime/engine_runs.h"
#include "tests/support/refusal.h"

namespace espalier::test {
namespace {

/// Batches of at most three consecutive instances of one cell that do not read each other.
class Threes final : public scheduler::Strategy {
 public:
  void run(const ir::InstanceGraph& graph, const scheduler::CellGraph&,
           scheduler::Schedule& schedule) const override {
    ++runs;
    schedule.batches.clear();
    schedule.order.clear();
    ir::InstanceId begin = graph.done();
    for (ir::InstanceId id = begin; id < graph.size(); ++id) {
      bool joins = id > begin && id - begin < 3 && graph.cell(id) == graph.cell(begin);
      for (const ir::InstanceId operand : graph.operands(id)) joins = joins && operand < begin;
      if (!joins) {
        begin = id;
        const auto at = std::uint32_t(schedule.order.size());
        schedule.batches.push_back({graph.cell(id), at, at});
      }
      schedule.order.push_back(id);
      ++schedule.batches.back().end;
    }
  }
  mutable int runs = 0;
};

TEST(CustomStrategy, RunsAndGivesTheForwardBitsOfUnbatched) {
  for (const models::ModelInfo& info : models::models()) {
    const std::string name(info.name);
    SCOPED_TRACE(name);
    const auto model = make_model(name, 12, 20);
    const auto trees = random_forest(name, 3, 12);
    Engine unbatched(model->program(), options({name, "unbatched", "", 1}));
    const auto own = std::make_shared<Threes>();
    EngineOptions settings = options({name, "no such name", "", 2});
    EXPECT_NE(refusal([&] { Engine(model->program(), settings); }), "(nothing thrown)");
    settings.custom_strategy = own;
    Engine engine(model->program(), settings);
    for (Engine* each : {&unbatched, &engine}) randomize(*each, 4);
    const Outcome expected = outcome(unbatched, *model, trees, all(trees));
    const Outcome actual = outcome(engine, *model, trees, all(trees));
    EXPECT_EQ(own->runs, 1);
    EXPECT_EQ(actual.loss, expected.loss);
    EXPECT_EQ(actual.losses, expected.losses);
    // Gradients are sums in the order of the batches.
    EXPECT_NEAR(actual.norm, expected.norm, 1e-5 * expected.norm);
  }
}

}  // namespace
}  // namespace espalier::test
