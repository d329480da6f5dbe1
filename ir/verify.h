// What always holds of a program, checked: called at every border in debug builds and by all tests.
// A violation is a bug of whoever made the program, so it throws InternalError, which names the
// cell and the node.
#pragma once

#include "ir/differentiated.h"
#include "ir/program.h"

namespace espalier::ir {

/// Params, states and cells each have names of their own; states hold numbers per instance; every
/// cell holds.
void verify(const Program& program);

/// Ports and outputs fit the program's states; leaves fit ports and params; operands precede users;
/// each node has the type that its op's shape rule gives and only the attributes that its op reads;
/// no two nodes are equal; none is composite; each is needed by an output.
void verify(const Cell& cell, const Program& program);

/// The same of both halves: residuals lie behind the forward outputs, the backward cell reads what
/// the forward cell gives, and each child's fields have one gradient of their type.
void verify(const Differentiated& cell, const Program& program);

}  // namespace espalier::ir
