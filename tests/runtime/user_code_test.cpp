// What users supply may throw: the exception arrives, whichever thread met it, and the engine goes
// on as if the step had not been asked for.
#include <gtest/gtest.h>

#include <algorithm>
#include <ranges>
#include <stdexcept>
#include <string>
#include <utility>

#include "tests/runtime/engine_runs.h"
#include "tests/support/refusal.h"
#include "training/optimizer.h"

namespace espalier::test {
namespace {

/// A dense param and one whose gradient is rows, both large enough that every thread has a share.
struct TwoParams : Model {
  Cell<Tensor(Index)> loss;

  TwoParams() : Model("two_params") {
    const Param table = param("table", {64, 128}), w = param("w", {256, 128});
    loss = cell("loss", [=](Index i) -> Tensor { return sum(tanh(matmul(w, row(table, i)))); });
  }
};

enum class Where { prepare, begin_step, update, updates_every_row, update_rows, nowhere };

/// Plain SGD that throws where it is told to; updates do so once half of the values are new.
class Throwing final : public Optimizer {
 public:
  Where where = Where::nowhere;

  void prepare(std::span<const StoredParam>) override { meet(Where::prepare); }
  void begin_step(const GradientInfo&) override { meet(Where::begin_step); }
  void update(ir::ParamId, std::size_t, std::span<float> values,
              std::span<const float> gradient) override {
    for (std::size_t i = 0; i < values.size(); ++i) {
      if (i == values.size() / 2) meet(Where::update);
      values[i] -= 0.1F * gradient[i];
    }
  }
  bool updates_every_row(ir::ParamId) const override {
    meet(Where::updates_every_row);
    return true;
  }
  void update_rows(ir::ParamId, std::size_t first_row, std::size_t width, std::span<float> values,
                   std::span<const std::int32_t> rows, std::span<const float> gradients) override {
    for (std::size_t i = 0; i < rows.size(); ++i) {
      if (i == rows.size() / 2) meet(Where::update_rows);
      float* const to = values.data() + (std::size_t(rows[i]) - first_row) * width;
      for (std::size_t j = 0; j < width; ++j) to[j] -= 0.1F * gradients[i * width + j];
    }
    if (rows.empty()) meet(Where::update_rows);
  }

 private:
  void meet(Where here) const {
    if (where == here) throw std::runtime_error("thrown by the user");
  }
};

double step(Engine& engine, const TwoParams& model, Optimizer& optimizer) {
  const Instances minibatch = engine.instances();
  for (int i = 0; i < 20; ++i) minibatch.loss(minibatch(model.loss, i));
  return engine.train_step(minibatch, optimizer).loss;
}

double loss(Engine& engine, const TwoParams& model) {
  const Instances minibatch = engine.instances(Mode::inference);
  for (int i = 0; i < 60; ++i) minibatch.loss(minibatch(model.loss, i));
  return engine.forward(minibatch).loss;
}

TEST(UserCode, MayThrowOnAnyThread) {
  const TwoParams model;
  for (const int threads : {1, 2, 3}) {
    for (const Where where : {Where::prepare, Where::begin_step, Where::update,
                              Where::updates_every_row, Where::update_rows}) {
      if (where == Where::updates_every_row && threads == 1) continue;  // of rows without gradient
      SCOPED_TRACE(testing::Message() << threads << " threads, place " << int(where));
      Engine engine(model.program(), options({"", "phase", "", threads}));
      Throwing optimizer;
      step(engine, model, optimizer);
      const std::vector<float> before(engine.param("w").begin(), engine.param("w").end());
      for (int repeat = 0; repeat < 3; ++repeat) {
        optimizer.where = where;
        EXPECT_EQ(refusal<std::runtime_error>([&] { step(engine, model, optimizer); }),
                  "thrown by the user");
        EXPECT_EQ(engine.step(), 1U);
      }
      optimizer.where = Where::nowhere;
      if (where == Where::prepare || where == Where::begin_step) {
        EXPECT_TRUE(std::ranges::equal(engine.param("w"), before));
      }

      // What the engine computes with is what it says that the params are.
      Engine other(model.program(), options({"", "phase", "", 1}));
      for (const char* name : {"w", "table"})
        std::ranges::copy(std::as_const(engine).param(name), other.param(name).begin());
      EXPECT_EQ(loss(engine, model), loss(other, model));
      Throwing alone;
      EXPECT_EQ(step(engine, model, optimizer), step(other, model, alone));
      EXPECT_TRUE(std::ranges::equal(engine.param("w"), other.param("w")));
      EXPECT_TRUE(std::ranges::equal(engine.param("table"), other.param("table")));
    }
  }
}

TEST(UserCode, MayThrowWhileChildrenAreListed) {
  Model model("sums");
  const Param table = model.param("table", {4, 3});
  const auto leaf = model.cell("leaf", [=](Index i) -> Tensor { return row(table, i); });
  const auto total = model.cell("total", {Shape{3}},
                                [](Children<Tensor> x) -> Tensor { return sum(sum_children(x)); });
  Engine engine(model.program(), options({"", "phase", "", 1}));
  const Instances minibatch = engine.instances();
  const std::vector<int> words{1, 2, 3};
  const auto children = std::views::transform(words, [&](int word) {
    if (word == 3) throw std::runtime_error("thrown by the user");
    return minibatch(leaf, word);
  });
  EXPECT_EQ(refusal<std::runtime_error>([&] { minibatch(total, children); }), "thrown by the user");
  const auto call = minibatch(total, std::vector{minibatch(leaf, 0)});
  double expected = 0;
  for (int j = 0; j < 3; ++j) expected += engine.param("table")[std::size_t(j)];
  EXPECT_NEAR(engine.value(call)[0], expected, 1e-6);
}

}  // namespace
}  // namespace espalier::test
