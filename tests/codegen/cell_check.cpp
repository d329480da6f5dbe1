#include "tests/codegen/cell_check.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <memory>

#include "base/disk_cache.h"
#include "codegen/compiler.h"
#include "codegen/cpu/host_targets.h"
#include "codegen/kernel/interpreter.h"
#include "codegen/kernel/print.h"
#include "codegen/kernel/split_rows.h"
#include "codegen/kernel/verify.h"
#include "codegen/kernel/verify_memory.h"
#include "ir/passes/fuse_contractions.h"
#include "ir/passes/pipeline.h"
#include "ir/passes/simplify.h"
#include "ir/text/print.h"
#include "tests/support/rounding.h"

namespace espalier::test {

using codegen::Kernel;

namespace {

/// Errors grow where they meet a number above 1; with few roundings they came to 1.2 of these, with
/// hundreds to 0.03.
constexpr double kSlack = 2;
constexpr double before = -77;  // what param gradients hold before the kernels add to them

/// Values with so many roundings behind them, each at most of the size of the largest value; with
/// none, to the bit.
void expect_close(const std::vector<float>& actual, const std::vector<double>& expected,
                  double roundings, const std::string& what) {
  ASSERT_EQ(actual.size(), expected.size()) << what;
  double scale = 1;
  for (double x : expected) scale = std::max(scale, std::abs(x));
  const double tolerance = kSlack * roundings * kRounding * scale;
  for (std::size_t i = 0; i < actual.size(); ++i)
    EXPECT_NEAR(actual[i], expected[i], tolerance)
        << what << " at " << i << ", " << roundings << " roundings";
}

}  // namespace

Runner interpreter() {
  return {{"interpreter", "", "", 16, 32, true},
          [](const Kernel& kernel, int stage, void* const* buffers, std::int64_t begin,
             std::int64_t end) { codegen::interpret(kernel, stage, buffers, begin, end); }};
}

std::vector<Runner> compiled_runners() {
  std::vector<Runner> runners;
  for (const codegen::Target& target : codegen::host_targets()) {
    const auto compiler = std::make_shared<codegen::Compiler>(
        target, codegen::CompilerOptions{default_cache_directory()});
    runners.push_back({target, [compiler](const Kernel& kernel, int stage, void* const* buffers,
                                          std::int64_t begin, std::int64_t end) {
                         const auto& made = compiler->compile(kernel).stages[std::size_t(stage)];
                         made.run(buffers, begin, end, 0, made.parts);
                       }});
  }
  return runners;
}

CellCheck::CellCheck(const ir::Program& program, const ir::Cell& source,
                     std::vector<CellInputs> inputs, Random& random, const Runner& runner)
    : program_(program),
      runner_(runner),
      cell_(ir::without_dropout(ir::simplify(ir::fuse_contractions(source)))),
      d_(ir::training_cells(program, cell_)),
      inputs_(std::move(inputs)),
      random_(random),
      storage_(codegen::backward_storage(d_.backward)),
      harness_(program, cell_, inputs_, random) {
  const codegen::Target& target = runner.target;
  forward_ = codegen::lower_forward(program, d_.forward, target);
  backward_ = codegen::lower_backward(cell_, d_.backward, target);
  weights_ = codegen::lower_weight_gradient(
      cell_, d_.backward, std::vector<bool>(d_.backward.contributions.size(), true));
  if (runner.form)
    for (Kernel* kernel : {&forward_, &backward_, &weights_})
      *kernel = runner.form(std::move(*kernel));
  if (target.kind == codegen::TargetKind::cuda) weights_ = codegen::split_rows(weights_);
}

void CellCheck::run() {
  for (const Kernel* kernel : {&forward_, &backward_, &weights_}) {
    ASSERT_NO_THROW(codegen::verify_kernel(*kernel)) << codegen::print_kernel(*kernel);
    ASSERT_NO_THROW(codegen::verify_memory(*kernel)) << codegen::print_kernel(*kernel);
  }
  check_forward();
  check_backward();
  if (::testing::Test::HasFailure())
    ADD_FAILURE() << ir::print(program_) << codegen::print_kernel(forward_)
                  << codegen::print_kernel(backward_) << codegen::print_kernel(weights_);
}

void CellCheck::check_forward() {
  harness_.run(forward_, runner_.run);
  const std::vector<double> depth = rounding_depth(cell_.graph, most_children());
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    const auto expected = outputs(cell_, inputs_[i]);
    for (std::size_t f = 0; f < expected.size(); ++f)
      expect_close(harness_.output(int(i), int(f)), expected[f],
                   depth[std::size_t(cell_.outputs[f])], "output");
  }
}

int CellCheck::most_children() const {
  int most = 0;
  for (const CellInputs& input : inputs_)
    for (const int children : input.children) most = std::max(most, children);
  return most;
}

std::vector<double> CellCheck::backward_depth() const {
  double kept = 0;
  const std::vector<double> forward = rounding_depth(d_.forward.graph, most_children());
  for (const ir::NodeId node : d_.forward.outputs)
    kept = std::max(kept, forward[std::size_t(node)]);
  return rounding_depth(d_.backward.graph, most_children(), kept);
}

void CellCheck::check_backward() {
  std::vector<std::vector<std::vector<double>>> cotangents;
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    auto& own = cotangents.emplace_back();
    for (const ir::Type& field : program_.states[std::size_t(cell_.state)].fields) {
      own.push_back(random_.reals(field.shape.size(), -1, 1));
      for (double& x : own.back()) x = float(x);
    }
  }
  harness_.set_cotangents(cotangents);
  harness_.run(backward_, runner_.run);
  harness_.run(weights_, runner_.run);
  const std::vector<double> depth = backward_depth();
  std::map<std::pair<int, int>, double> roundings;
  for (const ir::ChildGradient& g : d_.backward.child_gradients)
    roundings[{g.port, g.field}] = depth[std::size_t(g.output)];
  std::vector<std::vector<double>> dense;
  for (const ir::Param& param : program_.params)
    dense.emplace_back(std::size_t(param.shape.size()), 0.0);
  for (std::size_t i = 0; i < inputs_.size(); ++i) {
    const Gradients expected = backward(program_, d_, inputs_[i], cotangents[i]);
    for (const auto& [port, gradient] : expected.ports)
      if (cell_.ports[std::size_t(port.first)].kind != ir::PortKind::index)
        expect_close(harness_.child_gradient(int(i), port.first, port.second), gradient,
                     roundings.at(port), "gradient of port " + std::to_string(port.first));
    for (std::size_t p = 0; p < dense.size(); ++p)
      for (std::size_t e = 0; e < dense[p].size(); ++e) dense[p][e] += expected.params[p][e];
  }
  check_params(dense, depth);
}

double CellCheck::param_roundings(ir::ParamId param, const std::vector<double>& depth) const {
  double deepest = 0, terms = 0;
  for (const ir::ParamContribution& c : d_.backward.contributions) {
    if (c.param != param) continue;
    deepest = std::max(deepest, depth[std::size_t(c.left)]);
    if (c.right >= 0) deepest = std::max(deepest, depth[std::size_t(c.right)]);
    const ir::Type& left = d_.backward.graph[c.left].type;
    const bool several = c.right >= 0 && left.shape.rank() == 2;
    for (const CellInputs& input : inputs_)
      terms += (several ? left.shape[0] : 1) *
               (left.children == ir::per_instance ? 1 : input.children[std::size_t(left.children)]);
  }
  return deepest + terms + 1;
}

void CellCheck::check_params(std::vector<std::vector<double>>& dense,
                             const std::vector<double>& depth) {
  std::vector<bool> written(dense.size(), false);
  for (const ir::ParamContribution& c : d_.backward.contributions) {
    if (c.kind != ir::ParamContribution::Kind::rows) {
      written[std::size_t(c.param)] = true;
      continue;
    }
    const std::int64_t n = d_.backward.graph[c.left].type.shape.size();
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const auto row = harness_.contribution(int(i), storage_.contribution(c.left), n, -1);
      const auto at = std::size_t(inputs_[i].ports.at({c.index_port, 0})[0]) * std::size_t(n);
      for (std::size_t e = 0; e < row.size(); ++e)
        dense[std::size_t(c.param)][at + e] -= double(row[e]);
    }
  }
  for (std::size_t p = 0; p < dense.size(); ++p) {
    std::vector<float> actual(dense[p].size(), 0.F);
    if (written[p]) {
      for (double& x : dense[p]) x += before;
      actual = harness_.param_gradient(int(p));
    }
    expect_close(actual, dense[p], param_roundings(ir::ParamId(p), depth),
                 "gradient of param " + program_.params[p].name);
  }
}

std::vector<CellInputs> as_floats(std::vector<CellInputs> inputs) {
  for (CellInputs& input : inputs) {
    for (auto& [port, data] : input.ports)
      for (double& x : data) x = float(x);
    input.params = inputs[0].params;
    for (auto& data : input.params)
      for (double& x : data) x = float(x);
  }
  return inputs;
}

}  // namespace espalier::test
