// The passes that lead from a cell as it was recorded to what is lowered: which ones, in which
// order. The engine runs them (runtime/step/cell_kernels.h) and `espalier ir` prints what each one
// gives; nothing else decides which passes run. Hoisting (hoist.h) comes before them: it splits
// cells of a program and is the recorder's. Tested by tests/ir/pipeline_test.cpp.
#pragma once

#include <functional>
#include <string_view>
#include <vector>

#include "ir/differentiated.h"
#include "ir/program.h"

namespace espalier::ir {

enum class Purpose : std::uint8_t { inference, training };

/// The names of the passes in the order in which they run.
std::vector<std::string_view> pass_names(Purpose purpose);

/// Called after each pass with its name and its result. Either may be empty.
struct PassObserver {
  std::function<void(std::string_view pass, const Cell&)> cell;
  std::function<void(std::string_view pass, const Differentiated&)> differentiated;
};

/// What inference lowers.
Cell inference_cell(const Cell& cell, const PassObserver& observer = {});

/// What training lowers: the forward cell, the backward cell, and in that the contributions from
/// which weight gradients are summed.
Differentiated training_cells(const Program& program, const Cell& cell,
                              const PassObserver& observer = {});

}  // namespace espalier::ir
