#include "runtime/step/plan.h"

#include <algorithm>

#include "base/denormals.h"

namespace espalier::runtime {

using codegen::RowDomain;
using codegen::Stage;

namespace {

/// Rough floating-point operations of one row of a stage (of the whole for a `once` stage).
double work_per_row(const codegen::Kernel& kernel, const Stage& stage) {
  if (stage.contraction) {
    const codegen::Packing& packing = kernel.packings[std::size_t(stage.contraction->packing)];
    return 2.0 * double(packing.m) * double(packing.k);
  }
  double elements = 1;
  for (std::int64_t extent : stage.extents) elements *= double(extent);
  // A dozen operations an element stand for a gate's arithmetic; a once stage reduces over rows.
  return elements * 12 * double(stage.stores.size());
}

/// The rows that a stage runs for; of a library's product over rows, those.
std::pair<std::int64_t, std::int64_t> rows_of(const Stage& stage, const LaunchRows& rows) {
  const auto counted = [&](int port) {
    return port == ir::per_instance ? std::pair(rows.begin, rows.end) : rows.children(port);
  };
  switch (stage.rows) {
    case RowDomain::instances:
      return {rows.begin, rows.end};
    case RowDomain::children:
      return rows.children(stage.port);
    case RowDomain::once:
      return stage.library ? counted(stage.library->rows)
                           : std::pair<std::int64_t, std::int64_t>(0, 1);
    case RowDomain::parts:
      return {0, rows.parts(stage.port, stage.part_rows)};
    case RowDomain::padding:
      const auto [begin, end] = counted(stage.port);
      return {end, begin + codegen::padded_rows(end - begin)};
  }
  return {0, 1};
}

constexpr double worth_sharing = 60'000;  // below this a barrier costs more than it saves

}  // namespace

std::int64_t LaunchRows::parts(int port, std::int64_t part_rows) const {
  const auto [first, last] = port < 0 ? std::pair(begin, end) : children(port);
  return (last - first + part_rows - 1) / part_rows;
}

void Plan::add(const codegen::CompiledKernel& kernel, const LaunchRows& rows, int batch) {
  const auto first = std::uint32_t(pointers_.size() - kernel.kernel.buffers.size());
  for (std::size_t s = 0; s < kernel.launches(); ++s) {
    const Stage& stage = kernel.launched(s);
    Launch launch{.pointers = first, .kernel = &kernel, .stage = int(s), .batch = batch};
    launch.cell_begin = rows.begin;
    launch.cell_end = rows.end;
    std::tie(launch.row_begin, launch.row_end) = rows_of(stage, rows);
    // Not if a product over no rows is 0, nor if what pads its factors happens to be nothing: the
    // same sequence of launches is to serve as many minibatches as possible. And some of those that
    // are joined may run once, whatever the rows.
    const bool always = stage.rows == RowDomain::once || stage.rows == RowDomain::padding ||
                        (!kernel.cuda_stages.empty() && !kernel.cuda_stages[s].joined.empty());
    if (launch.row_begin == launch.row_end && !always) continue;
    if (!kernel.stages.empty()) share(launch, kernel.stages[s], rows.end - rows.begin);
    launches_.push_back(launch);
  }
}

/// How the threads share the launch, and what they call; `cell_rows` of its kernel.
void Plan::share(Launch& launch, const codegen::CompiledStage& compiled, std::int64_t cell_rows) {
  const codegen::Kernel& kernel = launch.kernel->kernel;
  const double work = work_per_row(kernel, kernel.stages[std::size_t(launch.stage)]);
  const std::int64_t count = launch.row_end - launch.row_begin;
  launch.run = compiled.run;
  launch.row_tile = compiled.row_tile;
  launch.parts = compiled.parts;
  if (compiled.rows == RowDomain::once) {
    if (work * double(cell_rows + 1) > worth_sharing && compiled.parts > 1)
      launch.split = Split::parts;
  } else if (work * double(count) > worth_sharing) {
    // By panels each thread reads its share of the weights only.
    launch.split =
        compiled.parts >= 4 || count < 2 * compiled.row_tile ? Split::parts : Split::rows;
    if (compiled.parts == 1) launch.split = Split::rows;
  }
}

void Plan::run_share(const Launch& launch, int thread, int threads) const {
  if (launch.split == Split::serial && thread != 0) return;
  const auto run = [&](std::int64_t row_begin, std::int64_t row_end, std::int64_t part_begin,
                       std::int64_t part_end) {
    if (row_begin < row_end && part_begin < part_end)
      launch.run(pointers_.data() + launch.pointers, row_begin, row_end, part_begin, part_end);
  };
  if (launch.split == Split::serial) return run(launch.row_begin, launch.row_end, 0, launch.parts);
  const std::int64_t tiles =
      (launch.row_end - launch.row_begin + launch.row_tile - 1) / launch.row_tile;
  const auto row = [&](std::int64_t tile) {
    return std::min(launch.row_begin + tile * launch.row_tile, launch.row_end);
  };
  if (launch.split == Split::rows)
    return run(row(tiles * thread / threads), row(tiles * (thread + 1) / threads), 0, launch.parts);
  // Part by part, so that a thread reads its share of the weights; a part that two threads share
  // they share by rows.
  const std::int64_t pieces = launch.parts * tiles;
  std::int64_t part = pieces * thread / threads / tiles;
  const std::int64_t first = pieces * thread / threads % tiles;
  const std::int64_t last_part = pieces * (thread + 1) / threads / tiles;
  const std::int64_t last = pieces * (thread + 1) / threads % tiles;
  if (part == last_part) return run(row(first), row(last), part, part + 1);
  if (first > 0) {
    run(row(first), launch.row_end, part, part + 1);
    ++part;
  }
  run(launch.row_begin, launch.row_end, part, last_part);
  run(launch.row_begin, row(last), last_part, last_part + 1);
}

void Plan::run(ThreadTeam& team) const {
  if (launches_.empty()) return;
  if (team.size() == 1) return run_serial(0, launches_.size());
  team.run([&](int thread) {
    for (std::size_t i = 0; i < launches_.size(); ++i) {
      // Launches that one thread runs need no barrier among themselves.
      if (i > 0 && (launches_[i].split != Split::serial || launches_[i - 1].split != Split::serial))
        team.barrier();
      run_share(launches_[i], thread, team.size());
    }
  });
}

void Plan::run_serial(std::size_t begin, std::size_t end) const {
  const FlushDenormals flushing;
  for (std::size_t i = begin; i < end; ++i) run_share(launches_[i], 0, 1);
}

}  // namespace espalier::runtime
