// docs/ops.md, the reference of all ops, written from the table; tests/ir/reference_test.cpp keeps
// the file and the table equal.
#pragma once

#include <string>

namespace espalier::ir {

/// Markdown: a table per op class with each op's operands and attributes, meaning, error bound and
/// whether a gradient flows.
std::string op_reference();

}  // namespace espalier::ir
