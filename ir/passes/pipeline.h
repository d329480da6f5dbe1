// The passes that turn a recorded cell into the cells that are lowered: which passes, in which
// order. The engine runs them (runtime/step/cell_kernels.h) and `espalier ir` prints the result of
// each; no other place decides which passes run. Hoisting (hoist.h) comes before them: it splits
// the cells of a program, and the recorder must know of it. Tested by tests/ir/pipeline_test.cpp.
#pragma once

#include <cstdint>
#include <functional>
#include <string_view>
#include <vector>

#include "ir/differentiated.h"
#include "ir/program.h"

namespace espalier::ir {

enum class Purpose : std::uint8_t { inference, training };

/// What a pass rewrites: the cell, before it is differentiated or for inference; the cell into its
/// two halves; or one of the halves.
enum class PassScope : std::uint8_t { cell, differentiation, forward, backward };

struct PassInfo {
  std::string_view name;
  PassScope scope;

  bool operator==(const PassInfo&) const = default;
};

/// The passes in the order in which they run.
std::vector<PassInfo> passes(Purpose purpose);

/// Called after each pass with its result. Either member may be empty.
struct PassObserver {
  std::function<void(const PassInfo&, const Cell&)> cell;
  /// From differentiation on.
  std::function<void(const PassInfo&, const Differentiated&)> differentiated;
};

/// The cell that is lowered for inference.
Cell inference_cell(const Cell& cell, const PassObserver& observer = {});

/// The two cells that are lowered for training: forward and backward. The weight gradients are
/// lowered from the contributions of the backward cell; no pass rewrites them further.
Differentiated training_cells(const Program& program, const Cell& cell,
                              const PassObserver& observer = {});

}  // namespace espalier::ir
