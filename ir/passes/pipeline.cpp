#include "ir/passes/pipeline.h"

#include <span>

#include "ir/passes/fuse_contractions.h"
#include "ir/passes/gradient.h"
#include "ir/passes/simplify.h"

namespace espalier::ir {
namespace {

struct Pass {
  std::string_view name;
  Cell (*run)(const Cell&);
};

constexpr Pass prepare[] = {
    // First, on the body as it was written: simplify moves slices. Before differentiation, so that
    // the gradient of W·x + U·h is one contraction too.
    {"fuse_contractions", fuse_contractions},
    {"simplify", simplify},
};

constexpr Pass only_inference[] = {
    {"without_dropout", without_dropout},
    {"without_stop_gradients", without_stop_gradients},
};

/// Ends training's list. It takes the forward cell's stop_gradients out and splits the backward
/// cell's contractions (split_contractions.h).
constexpr std::string_view differentiation = "differentiate";

Cell run(std::span<const Pass> passes, Cell cell, const PassObserver& observer) {
  for (const Pass& pass : passes) {
    cell = pass.run(cell);
    if (observer.cell) observer.cell(pass.name, cell);
  }
  return cell;
}

}  // namespace

std::vector<std::string_view> pass_names(Purpose purpose) {
  std::vector<std::string_view> names;
  for (const Pass& pass : prepare) names.push_back(pass.name);
  if (purpose == Purpose::inference)
    for (const Pass& pass : only_inference) names.push_back(pass.name);
  else
    names.push_back(differentiation);
  return names;
}

Cell inference_cell(const Cell& cell, const PassObserver& observer) {
  return run(only_inference, run(prepare, cell, observer), observer);
}

Differentiated training_cells(const Program& program, const Cell& cell,
                              const PassObserver& observer) {
  Differentiated both = differentiate(program, run(prepare, cell, observer));
  if (observer.differentiated) observer.differentiated(differentiation, both);
  return both;
}

}  // namespace espalier::ir
