// The parts of a step on a hand-made program, without an engine: layout, binding, plan, forecast
// and update.
#include <gtest/gtest.h>

#include <cmath>
#include <optional>

#include "base/disk_cache.h"
#include "codegen/compiler.h"
#include "codegen/cpu/host_targets.h"
#include "frontend/model.h"
#include "runtime/cpu/executor.h"
#include "runtime/step/forecast.h"
#include "runtime/step/gradient_forms.h"
#include "runtime/step/step_layout.h"
#include "training/optimizer.h"

namespace espalier::runtime {
namespace {

constexpr int width = 3, rows = 10;

/// Sums of rows of a table, halved on the way, times a weight.
struct Sums : Model {
  Cell<Tensor(Index)> leaf;
  Cell<Tensor(Tensor, Tensor)> node;
  Cell<Tensor(Tensor)> loss;

  Sums() : Model("sums") {
    const Param table = param("table", {rows, width}, Initializer::uniform(1));
    const Param w = param("w", {width}, Initializer::uniform(1));
    param("unread", {4});
    leaf = cell("leaf", [=](Index i) -> Tensor { return row(table, i); });
    node = cell("node", {Shape{width}, Shape{width}},
                [](Tensor a, Tensor b) -> Tensor { return a * 0.5 + b * 0.5; });
    loss = cell("loss", {Shape{width}}, [=](Tensor x) -> Tensor { return sum(x * w); });
  }
};

class StepParts : public testing::Test {
 protected:
  StepParts() {
    // loss(node(node(0, 1), 1)), and the same with rows 2, 1.
    for (const int first : {0, 2}) {
      const auto a = recorder_.call(0, {}, std::vector<std::int32_t>{first});
      const auto b = recorder_.call(0, {}, std::vector<std::int32_t>{1});
      const auto ab = recorder_.call(1, std::vector{a, b}, {});
      const auto abb = recorder_.call(1, std::vector{ab, b}, {});
      recorder_.loss(recorder_.call(2, std::vector{abb}, {}));
    }
  }

  Memory memory() {
    return {recorder_.program(),
            layout_.graph(),
            layout_.losses(),
            layout_.layout(),
            arenas_,
            params_,
            indices_};
  }
  /// Forward, then backward, as an engine does without looking at memory.
  void run(const StepRequest& request) {
    layout_.lay_out(statistics_);
    layout_.lay_out_gradients(statistics_);
    reserve_forward(memory(), kernels_, plan_, request);
    indices_.place(layout_.layout(), *backend_.executor);
    plan_.clear();
    for (const auto& batch : layout_.layout().batches)
      add_batch(plan_, memory(), forward_kernel(kernels_, request.mode, batch.cell), batch);
    backend_.io->repack(params_);
    backend_.executor->run(plan_, nullptr);
    reserve_backward(memory(), kernels_, plan_);
    indices_.place_gradients(layout_.layout(), *backend_.executor);
    plan_.clear();
    const scheduler::Layout& layout = layout_.layout();
    for (std::size_t b = layout.batches.size(); b-- > 0;) {
      const ir::StateId state =
          recorder_.program().cells[std::size_t(layout.batches[b].cell)].state;
      if (layout.target_count[b] > 0)
        add_reader_sum(plan_, memory(), kernels_.reader_sum(state), state, layout.first_target[b],
                       layout.target_count[b]);
      add_batch(plan_, memory(), *kernels_.training(layout.batches[b].cell).backward,
                layout.batches[b]);
    }
    for (ir::CellId cell = 0; cell < 3; ++cell)
      add_weights(
          plan_, memory(),
          request.accumulates() ? kernels_.added_weights(cell) : *kernels_.training(cell).weights,
          cell);
    backend_.io->seed_losses(memory(), 1);
    backend_.executor->run(plan_, nullptr);
    backend_.update->collect(memory(), kernels_, request);
  }
  std::vector<float> table_gradient() { return backend_.update->dense_gradient(params_, 0); }

  Sums model_;
  ir::Program program_ = model_.program();
  EngineOptions options_;
  ir::Recorder recorder_{program_};
  codegen::Compiler compiler_{codegen::host_target(""), {default_cache_directory()}};
  StepLayout layout_{recorder_, options_};
  std::vector<StoredParam> stored_ = stored_params(program_);
  MemoryCounter fixed_;
  Backend backend_ = make_cpu_backend(stored_, fixed_, 2);
  CellKernels kernels_{program_, compiler_, true};
  ParamStore params_{program_, 3, fixed_};
  Arenas arenas_;
  Indices indices_;
  Plan plan_;
  StepStatistics statistics_;
};

TEST_F(StepParts, LayoutSelectsTheWholeOrAPart) {
  EXPECT_EQ(layout_.graph().size(), 10U);
  EXPECT_FALSE(layout_.all_ran());
  EXPECT_GT(layout_.layout_bytes(), 0U);
  layout_.lay_out(statistics_);
  EXPECT_EQ(layout_.layout_bytes(), 0U);
  layout_.set_ran();
  EXPECT_TRUE(layout_.all_ran());
  EXPECT_EQ(layout_.ran_batches(), layout_.layout().batches.size());
  const auto last = recorder_.losses().last(1);
  layout_.find_part(last);
  layout_.select_part();
  EXPECT_EQ(layout_.graph().size(), 5U);
  EXPECT_EQ(layout_.ran_batches(), 0U);
  layout_.select_whole();
  EXPECT_EQ(layout_.graph().size(), 10U);
  EXPECT_FALSE(layout_.all_ran());
}

TEST_F(StepParts, ReleasedLayoutIsLaidOutAgainEvenIfItIsEmpty) {
  recorder_.clear();
  layout_.select_whole();
  layout_.lay_out(statistics_);
  layout_.release();
  EXPECT_TRUE(layout_.layout().cells.empty());
  layout_.lay_out(statistics_);
  EXPECT_EQ(layout_.layout().cells.size(), 3U);
}

TEST_F(StepParts, PlanBindsWhatTheLayoutSays) {
  run({.mode = Mode::training, .gradients = Gradients::first});
  const auto table = params_.values(0), w = params_.values(1);
  backend_.io->begin_losses(0.25);
  backend_.io->gather_losses(memory());
  double loss = 0.25;
  for (const int first : {0, 2})
    for (int j = 0; j < width; ++j)
      loss +=
          (0.25 * table[std::size_t(first * width + j)] + 0.75 * table[std::size_t(width + j)]) *
          w[std::size_t(j)];
  EXPECT_NEAR(backend_.io->take_loss(), loss, 1e-6);
  EXPECT_EQ(backend_.io->take_loss(), 0);

  const std::vector<float> gradient = table_gradient();
  const float expected[] = {0.25F, 1.5F, 0.25F};
  for (int i = 0; i < rows; ++i)
    for (int j = 0; j < width; ++j)
      EXPECT_NEAR(gradient[std::size_t(i * width + j)], i < 3 ? expected[i] * w[std::size_t(j)] : 0,
                  1e-6);
  for (const Launch& launch : plan_.launches()) {
    EXPECT_LE(launch.pointers + launch.kernel->kernel.buffers.size(), plan_.pointers().size());
    EXPECT_LE(launch.row_begin, launch.row_end);
  }
}

TEST_F(StepParts, UpdateAddsToWhatWasCollectedOrBeginsAnew) {
  const StepRequest first{.mode = Mode::training, .gradients = Gradients::first};
  run(first);
  const std::vector<float> once = table_gradient(), w = backend_.update->dense_gradient(params_, 1);
  const double norm = backend_.update->norm();
  layout_.select_whole();
  run({.mode = Mode::training, .gradients = Gradients::more});
  const std::vector<float> twice = table_gradient();
  for (std::size_t i = 0; i < once.size(); ++i) EXPECT_EQ(twice[i], 2 * once[i]);
  for (std::size_t i = 0; i < w.size(); ++i)
    EXPECT_NEAR(backend_.update->dense_gradient(params_, 1)[i], 2 * w[i], 1e-6);
  EXPECT_NEAR(backend_.update->norm(), 2 * norm, 1e-6);
  layout_.select_whole();
  run(first);
  EXPECT_EQ(table_gradient(), once);
  EXPECT_EQ(backend_.update->norm(), norm);

  // Plain gradient descent changes the rows that were read, and no param that nothing reaches.
  StandardOptimizer optimizer({.rule = {.lr = 1}});
  const std::vector<float> before(params_.values(0).begin(), params_.values(0).end());
  backend_.update->apply(params_, optimizer);
  for (std::size_t i = 0; i < before.size(); ++i)
    EXPECT_FLOAT_EQ(params_.values(0)[i], before[i] - once[i]);
  EXPECT_EQ(backend_.update->dense_gradient(params_, 2), std::vector<float>(4, 0.F));
}

TEST_F(StepParts, FormsOfGradientsAreThoseOfTheProgramBeforeKernelsAreCompiled) {
  GradientForms forms(stored_);
  for (const bool compiled : {false, true}) {
    if (compiled) kernels_.training(2);
    forms.classify(kernels_);
    EXPECT_EQ(forms.form(0), GradientForm::rows);
    EXPECT_EQ(forms.form(1), GradientForm::whole);
    EXPECT_EQ(forms.form(2), GradientForm::none);
    EXPECT_EQ(forms.has_rows(0), compiled);
    EXPECT_EQ(forms.written(1), compiled);
  }
  EXPECT_EQ(forms.width(0), std::size_t(width));
  EXPECT_EQ(forms.row_count(0), std::size_t(rows));
}

TEST_F(StepParts, ForecastIsWhatIsReserved) {
  for (const auto gradients : {Gradients::first, Gradients::more}) {
    const StepRequest request{.mode = Mode::training, .gradients = gradients};
    layout_.select_whole();
    make_fixed(memory(), kernels_, backend_, request);
    indices_.reserve(recorder_.program());
    layout_.lay_out(statistics_);
    layout_.lay_out_gradients(statistics_);
    const auto held = [&] {
      return arenas_.memory().bytes + fixed_.bytes +
             std::int64_t(plan_.bytes() + backend_.update->bytes());
    };
    const std::int64_t others = held() - arenas_.memory().bytes;
    const MemoryForecast expected = forecast(memory(), kernels_, plan_, backend_, request);
    EXPECT_EQ(arenas_.memory().forecast, nullptr);
    run(request);
    EXPECT_NEAR(double(expected.bytes + others), double(held()), 0.05 * double(held()));
    EXPECT_GE(expected.peak_bytes, expected.bytes);
    EXPECT_GE(expected.bytes + others, held());
  }
}

}  // namespace
}  // namespace espalier::runtime
