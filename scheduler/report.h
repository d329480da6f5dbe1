// The report behind `espalier schedule`: the batches of a minibatch, what they read and how, and
// how far the schedule is from the least number of batches. Made from a complete layout; printed as
// text, as a Graphviz graph, or as JSON. Deterministic, for golden tests.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "ir/access.h"
#include "ir/instances.h"
#include "scheduler/layout.h"

namespace espalier::scheduler {

struct ScheduleReport {
  /// What a batch reads through one port.
  struct Read {
    std::string port;
    ir::PortKind kind = ir::PortKind::index;
    ir::Access access = ir::Access::gathered;
    std::size_t rows = 0;
  };
  struct Batch {
    std::string cell;
    std::uint32_t size = 0;
    std::uint32_t level = 0;  ///< one more than the highest level of the batches that feed it
    std::vector<Read> reads;  ///< in port order
  };
  /// Batch `to` reads `rows` outputs of batch `from`.
  struct Edge {
    std::uint32_t from = 0, to = 0;
    std::size_t rows = 0;
  };

  std::string program, strategy;
  std::size_t examples = 0, instances = 0, lower_bound = 0;
  std::vector<Batch> batches;
  std::vector<Edge> edges;  ///< by `to`, then `from`
  /// Rows of earlier outputs (Child and Children ports) by Access.
  std::array<std::size_t, 3> rows{};

  std::size_t rows_read(ir::Access access) const { return rows[static_cast<std::size_t>(access)]; }
  /// Batches over the lower bound, ≥ 1; 1 without instances.
  double ratio() const;
};

/// `layout` holds all instances of `graph`; the lower bound counts all of them too.
ScheduleReport schedule_report(std::string_view strategy, const ir::InstanceGraph& graph,
                               const ir::Program& program, const Layout& layout);

/// A summary, then one line a batch.
std::string to_text(const ScheduleReport& report);
/// Graphviz: a node `cell × size` per batch, batches of a level side by side; an edge is labelled
/// with its rows.
std::string to_dot(const ScheduleReport& report);
/// One object with the members of ScheduleReport under their names, and `ratio`.
std::string to_json(const ScheduleReport& report);

std::string_view to_string(ir::Access access);

}  // namespace espalier::scheduler
