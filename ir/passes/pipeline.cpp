#include "ir/passes/pipeline.h"

#include <span>

#include "ir/passes/fuse_contractions.h"
#include "ir/passes/gradient.h"
#include "ir/passes/simplify.h"
#include "ir/passes/split_contractions.h"

namespace espalier::ir {
namespace {

template <class T>
struct Pass {
  std::string_view name;
  T (*run)(const T&);
};

constexpr Pass<Cell> prepare_passes[] = {
    // First, on the body as it was written: simplify moves slices. Before differentiation, so that
    // the gradient of W·x + U·h is one contraction too.
    {"fuse_contractions", fuse_contractions},
    {"simplify", simplify},
};

constexpr Pass<Cell> inference_passes[] = {
    {"without_dropout", without_dropout},
    {"without_stop_gradients", without_stop_gradients},
};

constexpr std::string_view differentiation = "differentiate";

// Not before differentiation, which must see where gradients stop.
constexpr Pass<Cell> forward_passes[] = {
    {"without_stop_gradients", without_stop_gradients},
};

constexpr Pass<BackwardCell> backward_passes[] = {
    {"split_contractions", split_contractions},
};

Cell run(std::span<const Pass<Cell>> passes, Cell cell, const PassObserver& observer) {
  for (const Pass<Cell>& pass : passes) {
    cell = pass.run(cell);
    if (observer.cell) observer.cell({pass.name, PassScope::cell}, cell);
  }
  return cell;
}

}  // namespace

std::vector<PassInfo> passes(Purpose purpose) {
  std::vector<PassInfo> list;
  const auto add = [&](auto passes, PassScope scope) {
    for (const auto& pass : passes) list.push_back({pass.name, scope});
  };
  add(std::span(prepare_passes), PassScope::cell);
  if (purpose == Purpose::inference) {
    add(std::span(inference_passes), PassScope::cell);
  } else {
    list.push_back({differentiation, PassScope::differentiation});
    add(std::span(forward_passes), PassScope::forward);
    add(std::span(backward_passes), PassScope::backward);
  }
  return list;
}

Cell inference_cell(const Cell& cell, const PassObserver& observer) {
  return run(inference_passes, run(prepare_passes, cell, observer), observer);
}

Differentiated training_cells(const Program& program, const Cell& cell,
                              const PassObserver& observer) {
  Differentiated both = differentiate(program, run(prepare_passes, cell, observer));
  const auto observe = [&](std::string_view pass, PassScope scope) {
    if (observer.differentiated) observer.differentiated({pass, scope}, both);
  };
  observe(differentiation, PassScope::differentiation);
  for (const Pass<Cell>& pass : forward_passes) {
    both.forward = pass.run(both.forward);
    observe(pass.name, PassScope::forward);
  }
  for (const Pass<BackwardCell>& pass : backward_passes) {
    both.backward = pass.run(both.backward);
    observe(pass.name, PassScope::backward);
  }
  return both;
}

}  // namespace espalier::ir
