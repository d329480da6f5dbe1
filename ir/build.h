// Small steps in making a program by hand, shared by the tracer, the recorder's one-op cells and
// the expansion to one-op cells.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "ir/program.h"

namespace espalier::ir {

/// "index", "child" or "children".
std::string_view to_string(PortKind kind);

/// The state of one tensor of that type, called e.g. "f32[5]"; appended if it is not there.
StateId tensor_state(Program& program, const Type& type);

/// Appends a port and gives its position. It is called "child", "children" or "index"; where there
/// are several of a kind, "child1", "child2", ….
int add_port(Cell& cell, PortKind kind, StateId state);

/// `base`, or `base_2`, `base_3`, … if a cell of the program has that name.
std::string unused_cell_name(const Program& program, const std::string& base);

/// Whether the cell's state is not computed but recorded: it has no ports, and each field is its
/// `input`. Instances have no kernel; the engine writes their rows.
bool is_input(const Cell& cell);
/// The numbers that an instance of an input cell records.
std::size_t input_size(const Program& program, const Cell& cell);

}  // namespace espalier::ir
