// The report behind `espalier schedule`: the batches of a minibatch, what they read and how, and
// how far the schedule is from the least number of batches. Made from a complete layout, in a few
// bytes a batch; printed as text, as a Graphviz graph, or as JSON. Deterministic, for golden tests.
#pragma once

#include <array>
#include <cstdint>
#include <iosfwd>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "ir/record/instance_graph.h"
#include "scheduler/layout.h"

namespace espalier::scheduler {

struct ScheduleReport {
  /// A cell of the program, by CellId.
  struct Cell {
    std::string name;
    std::vector<std::pair<std::string, ir::PortKind>> ports;
  };
  /// What a batch reads through one port.
  struct Read {
    std::uint32_t rows = 0;
    Access access = Access::gathered;
  };
  struct Batch {
    ir::CellId cell = -1;
    std::uint32_t size = 0;
    std::uint32_t level = 0;       ///< one more than the highest level of the batches that feed it
    std::uint32_t first_read = 0;  ///< in `reads`: one for each port of its cell, in port order
  };
  /// Batch `to` reads `rows` outputs of batch `from`.
  struct Edge {
    std::uint32_t from = 0, to = 0;
    std::uint32_t rows = 0;
  };

  std::string program, strategy;
  std::size_t examples = 0, instances = 0, lower_bound = 0;
  std::vector<Cell> cells;
  std::vector<Batch> batches;
  std::vector<Read> reads;
  std::vector<Edge> edges;  ///< by `to`, then `from`
  /// Rows of earlier outputs (Child and Children ports) by Access.
  std::array<std::size_t, 3> rows{};

  std::size_t rows_read(Access access) const { return rows[static_cast<std::size_t>(access)]; }
  /// Batches over the lower bound, ≥ 1; 1 without instances.
  double ratio() const;
};

/// `layout` holds all instances of `graph`; the lower bound counts all of them too.
ScheduleReport schedule_report(std::string_view strategy, const ir::InstanceGraph& graph,
                               const ir::Program& program, const Layout& layout);

// They print as they go, as a million batches are not held as text.
/// A summary, then one line a batch.
void print_text(std::ostream& out, const ScheduleReport& report);
/// Graphviz: a node `cell × size` per batch, batches of a level side by side; an edge is labelled
/// with its rows.
void print_dot(std::ostream& out, const ScheduleReport& report);
/// One object: program, strategy, examples, instances, lower_bound, ratio, rows, batches with the
/// names of their cells and what they read, edges.
void print_json(std::ostream& out, const ScheduleReport& report);

std::string_view to_string(Access access);

}  // namespace espalier::scheduler
