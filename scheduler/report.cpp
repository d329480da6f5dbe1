#include "scheduler/report.h"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>
#include <numeric>
#include <ostream>

#include "ir/build.h"
#include "ir/text/print.h"

namespace espalier::scheduler {
namespace {

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

  for (const ir::Cell& cell : program.cells) {
    ScheduleReport::Cell& named = report.cells.emplace_back(cell.name);
    for (const ir::Port& port : cell.ports) named.ports.emplace_back(port.name, port.kind);
  }

  std::vector<std::uint32_t> batch_of(graph.size()), sources;
  // As a vector that grows holds up to three times what is in it.
  std::size_t reads = 0;
  for (const PlacedBatch& batch : layout.batches) reads += program.cells[batch.cell].ports.size();
  report.batches.reserve(layout.batches.size());
  report.reads.reserve(reads);
  report.edges.reserve(graph.all_operands().size());
  for (std::uint32_t b = 0; b < layout.batches.size(); ++b) {
    const PlacedBatch& placed = layout.batches[b];
    ScheduleReport::Batch& batch = report.batches.emplace_back(
        placed.cell, placed.size, 0, static_cast<std::uint32_t>(report.reads.size()));
    const ir::Cell& cell = program.cells[placed.cell];
    for (std::size_t p = 0; p < cell.ports.size(); ++p) {
      const ScheduleReport::Read read{
          static_cast<std::uint32_t>(layout.values(b, p, program).size()),
          layout.access(b, p, program)};
      if (cell.ports[p].kind != ir::PortKind::index)
        report.rows[static_cast<std::size_t>(read.access)] += read.rows;
      report.reads.push_back(read);
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
      report.edges.push_back({*run, b, static_cast<std::uint32_t>(end - run)});
      batch.level = std::max(batch.level, report.batches[*run].level + 1);
      run = end;
    }
  }
  return report;
}

namespace {

/// Text on its way to a stream.
class Printer {
 public:
  explicit Printer(std::ostream& out) : out_(out) {}
  ~Printer() { flush(); }
  Printer(const Printer&) = delete;
  Printer& operator=(const Printer&) = delete;

  template <class... T>
  void operator()(fmt::format_string<T...> text, T&&... values) {
    fmt::format_to(std::back_inserter(buffer_), text, std::forward<T>(values)...);
    if (buffer_.size() > std::size_t{1} << 16) flush();
  }

 private:
  void flush() {
    out_.write(buffer_.data(), static_cast<std::streamsize>(buffer_.size()));
    buffer_.clear();
  }

  std::ostream& out_;
  fmt::memory_buffer buffer_;
};

/// The batches, level by level.
std::vector<std::uint32_t> by_level(const ScheduleReport& report) {
  std::vector<std::uint32_t> order(report.batches.size());
  std::iota(order.begin(), order.end(), 0U);
  std::ranges::stable_sort(order, {}, [&](std::uint32_t b) { return report.batches[b].level; });
  return order;
}

}  // namespace

void print_text(std::ostream& out, const ScheduleReport& report) {
  Printer print(out);
  print(
      "{}, strategy {}: {} examples, {} instances in {} batches; lower bound {}, ratio {:.2f}\n"
      "rows read: {} contiguous, {} gathered, {} shared\n",
      report.program, report.strategy, report.examples, report.instances, report.batches.size(),
      report.lower_bound, report.ratio(), report.rows_read(Access::contiguous),
      report.rows_read(Access::gathered), report.rows_read(Access::shared));
  if (report.batches.empty()) return;

  std::size_t width = 4;
  for (const auto& batch : report.batches)
    width = std::max(width, report.cells[batch.cell].name.size());
  print("\n{:>5}  {:>5}  {:<{}}  {:>6}  {}\n", "batch", "level", "cell", width, "size", "reads");
  for (std::size_t b = 0; b < report.batches.size(); ++b) {
    const ScheduleReport::Batch& batch = report.batches[b];
    const ScheduleReport::Cell& cell = report.cells[batch.cell];
    print("{:>5}  {:>5}  {:<{}}  {:>6}", b, batch.level, cell.name, width, batch.size);
    std::string_view separator = "  ";
    for (std::size_t p = 0; p < cell.ports.size(); ++p) {
      const ScheduleReport::Read& read = report.reads[batch.first_read + p];
      print("{}{} {} {}", separator, cell.ports[p].first, read.rows, to_string(read.access));
      separator = ", ";
    }
    print("\n");
  }
}

void print_dot(std::ostream& out, const ScheduleReport& report) {
  Printer print(out);
  print("digraph {} {{\n  rankdir=LR;\n  node [shape=box];\n",
        quoted(report.program + " " + report.strategy));
  for (std::size_t b = 0; b < report.batches.size(); ++b) {
    const ScheduleReport::Batch& batch = report.batches[b];
    print("  b{} [label={}];\n", b,
          quoted(fmt::format("{} × {}", report.cells[batch.cell].name, batch.size)));
  }
  const std::vector<std::uint32_t> order = by_level(report);
  for (std::size_t i = 0; i < order.size(); ++i) {
    const std::uint32_t level = report.batches[order[i]].level;
    const bool first = i == 0 || report.batches[order[i - 1]].level != level;
    const bool last = i + 1 == order.size() || report.batches[order[i + 1]].level != level;
    print("{} b{};{}", first ? "  { rank=same;" : "", order[i], last ? " }\n" : "");
  }
  for (const ScheduleReport::Edge& edge : report.edges)
    print("  b{} -> b{} [label=\"{}\"];\n", edge.from, edge.to, edge.rows);
  print("}}\n");
}

void print_json(std::ostream& out, const ScheduleReport& report) {
  Printer print(out);
  print(
      "{{\n  \"program\": {},\n  \"strategy\": {},\n  \"examples\": {},\n  \"instances\": {},\n"
      "  \"lower_bound\": {},\n  \"ratio\": {},\n"
      "  \"rows\": {{\"shared\": {}, \"contiguous\": {}, \"gathered\": {}}},\n  \"batches\": [",
      quoted(report.program), quoted(report.strategy), report.examples, report.instances,
      report.lower_bound, report.ratio(), report.rows_read(Access::shared),
      report.rows_read(Access::contiguous), report.rows_read(Access::gathered));
  std::string_view separator = "\n";
  for (const ScheduleReport::Batch& batch : report.batches) {
    const ScheduleReport::Cell& cell = report.cells[batch.cell];
    print("{}    {{\"cell\": {}, \"size\": {}, \"level\": {}, \"reads\": [", separator,
          quoted(cell.name), batch.size, batch.level);
    separator = "";
    for (std::size_t p = 0; p < cell.ports.size(); ++p) {
      const ScheduleReport::Read& read = report.reads[batch.first_read + p];
      print("{}{{\"port\": {}, \"kind\": {}, \"access\": {}, \"rows\": {}}}", separator,
            quoted(cell.ports[p].first), quoted(to_string(cell.ports[p].second)),
            quoted(to_string(read.access)), read.rows);
      separator = ", ";
    }
    print("]}}");
    separator = ",\n";
  }
  print("\n  ],\n  \"edges\": [");
  separator = "\n";
  for (const ScheduleReport::Edge& edge : report.edges) {
    print("{}    {{\"from\": {}, \"to\": {}, \"rows\": {}}}", separator, edge.from, edge.to,
          edge.rows);
    separator = ",\n";
  }
  print("\n  ]\n}}\n");
}

}  // namespace espalier::scheduler
