// Programs as text: what `espalier ir` dumps, what is saved beside a model's weights, and what
// golden tests compare. `parse(print(p)) == p` (ir/text/parse.h, which states the grammar) holds
// for every program that ir/verify.h accepts. Differentiated cells are printed for reading only.
#pragma once

#include <string>
#include <string_view>

#include "ir/program.h"

namespace espalier::ir {

struct Differentiated;

std::string print(const Program& program);

/// One cell of `program`.
std::string print(const Cell& cell, const Program& program);

/// Both halves: the forward cell with `keep` behind its `return`, then the backward cell with the
/// gradient of each child field and the contributions to each param.
std::string print(const Differentiated& cell, const Program& program);

}  // namespace espalier::ir
