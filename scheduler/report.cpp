#include "scheduler/report.h"

#include <fmt/core.h>

#include <algorithm>

#include "ir/print.h"

namespace espalier::scheduler {
namespace {

using ir::Access;
using ir::InstanceId;

/// A string literal of JSON, and of Graphviz.
std::string quoted(std::string_view text) {
  std::string result = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') result += '\\';
    if (static_cast<unsigned char>(c) < 0x20) {
      result += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      result += c;
    }
  }
  return result + '"';
}

}  // namespace

std::string_view to_string(Access access) {
  switch (access) {
    case Access::shared:
      return "shared";
    case Access::contiguous:
      return "contiguous";
    case Access::gathered:
      return "gathered";
  }
  return "";
}

double ScheduleReport::ratio() const {
  return lower_bound == 0 ? 1.0
                          : static_cast<double>(batches.size()) / static_cast<double>(lower_bound);
}

ScheduleReport schedule_report(std::string_view strategy, const ir::InstanceGraph& graph,
                               const ir::Program& program, const Layout& layout) {
  ScheduleReport report;
  report.program = program.name;
  report.strategy = strategy;
  report.examples = graph.examples();
  report.instances = graph.size();
  report.lower_bound = lower_bound(graph);

  std::vector<std::uint32_t> batch_of(graph.size()), sources;
  for (std::uint32_t b = 0; b < layout.batches.size(); ++b) {
    const PlacedBatch& placed = layout.batches[b];
    const ir::Cell& cell = program.cells[placed.cell];
    ScheduleReport::Batch& batch = report.batches.emplace_back();
    batch.cell = cell.name;
    batch.size = placed.size;
    for (std::size_t p = 0; p < cell.ports.size(); ++p) {
      const ScheduleReport::Read read{cell.ports[p].name, cell.ports[p].kind,
                                      layout.access(b, p, program),
                                      layout.values(b, p, program).size()};
      if (read.kind != ir::PortKind::index)
        report.rows[static_cast<std::size_t>(read.access)] += read.rows;
      batch.reads.push_back(read);
    }

    sources.clear();
    for (std::uint32_t k = 0; k < placed.size; ++k) {
      const InstanceId i = layout.cells[placed.cell].instances[placed.cell_row + k];
      batch_of[i] = b;
      for (InstanceId operand : graph.operands(i)) sources.push_back(batch_of[operand]);
    }
    std::sort(sources.begin(), sources.end());
    for (auto run = sources.begin(); run != sources.end();) {
      const auto end = std::upper_bound(run, sources.end(), *run);
      report.edges.push_back({*run, b, static_cast<std::size_t>(end - run)});
      batch.level = std::max(batch.level, report.batches[*run].level + 1);
      run = end;
    }
  }
  return report;
}

std::string to_text(const ScheduleReport& report) {
  std::string text = fmt::format(
      "{}, strategy {}: {} examples, {} instances in {} batches; lower bound {}, ratio {:.2f}\n"
      "rows read: {} contiguous, {} gathered, {} shared\n",
      report.program, report.strategy, report.examples, report.instances, report.batches.size(),
      report.lower_bound, report.ratio(), report.rows_read(Access::contiguous),
      report.rows_read(Access::gathered), report.rows_read(Access::shared));
  if (report.batches.empty()) return text;

  std::size_t width = 4;
  for (const auto& batch : report.batches) width = std::max(width, batch.cell.size());
  text += fmt::format("\n{:>5}  {:>5}  {:<{}}  {:>6}  {}\n", "batch", "level", "cell", width,
                      "size", "reads");
  for (std::size_t b = 0; b < report.batches.size(); ++b) {
    const ScheduleReport::Batch& batch = report.batches[b];
    text +=
        fmt::format("{:>5}  {:>5}  {:<{}}  {:>6}", b, batch.level, batch.cell, width, batch.size);
    std::string_view separator = "  ";
    for (const ScheduleReport::Read& read : batch.reads) {
      text += fmt::format("{}{} {} {}", separator, read.port, read.rows, to_string(read.access));
      separator = ", ";
    }
    text += '\n';
  }
  return text;
}

std::string to_dot(const ScheduleReport& report) {
  std::string text = fmt::format("digraph {} {{\n  rankdir=LR;\n  node [shape=box];\n",
                                 quoted(report.program + " " + report.strategy));
  std::vector<std::vector<std::size_t>> levels;
  for (std::size_t b = 0; b < report.batches.size(); ++b) {
    const ScheduleReport::Batch& batch = report.batches[b];
    text += fmt::format("  b{} [label={}];\n", b,
                        quoted(fmt::format("{} × {}", batch.cell, batch.size)));
    levels.resize(std::max<std::size_t>(levels.size(), batch.level + 1));
    levels[batch.level].push_back(b);
  }
  for (const auto& level : levels) {
    text += "  { rank=same;";
    for (const std::size_t b : level) text += fmt::format(" b{};", b);
    text += " }\n";
  }
  for (const ScheduleReport::Edge& edge : report.edges)
    text += fmt::format("  b{} -> b{} [label=\"{}\"];\n", edge.from, edge.to, edge.rows);
  return text + "}\n";
}

std::string to_json(const ScheduleReport& report) {
  std::string text = fmt::format(
      "{{\n  \"program\": {},\n  \"strategy\": {},\n  \"examples\": {},\n  \"instances\": {},\n"
      "  \"lower_bound\": {},\n  \"ratio\": {},\n"
      "  \"rows\": {{\"shared\": {}, \"contiguous\": {}, \"gathered\": {}}},\n  \"batches\": [",
      quoted(report.program), quoted(report.strategy), report.examples, report.instances,
      report.lower_bound, report.ratio(), report.rows_read(Access::shared),
      report.rows_read(Access::contiguous), report.rows_read(Access::gathered));
  std::string_view separator = "\n";
  for (const ScheduleReport::Batch& batch : report.batches) {
    text += fmt::format("{}    {{\"cell\": {}, \"size\": {}, \"level\": {}, \"reads\": [",
                        separator, quoted(batch.cell), batch.size, batch.level);
    separator = "";
    for (const ScheduleReport::Read& read : batch.reads) {
      text += fmt::format("{}{{\"port\": {}, \"kind\": {}, \"access\": {}, \"rows\": {}}}",
                          separator, quoted(read.port), quoted(to_string(read.kind)),
                          quoted(to_string(read.access)), read.rows);
      separator = ", ";
    }
    text += "]}";
    separator = ",\n";
  }
  text += "\n  ],\n  \"edges\": [";
  separator = "\n";
  for (const ScheduleReport::Edge& edge : report.edges) {
    text += fmt::format("{}    {{\"from\": {}, \"to\": {}, \"rows\": {}}}", separator, edge.from,
                        edge.to, edge.rows);
    separator = ",\n";
  }
  return text + "\n  ]\n}\n";
}

}  // namespace espalier::scheduler
