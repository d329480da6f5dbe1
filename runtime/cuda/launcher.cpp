#include "runtime/cuda/launcher.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "base/error.h"
#include "base/stopwatch.h"

namespace espalier::runtime {
namespace {

constexpr std::size_t alignment = 16;
constexpr std::size_t result_bytes = std::size_t{64} << 10;
/// Upper bound on the blocks of a launch, for each multiprocessor.
constexpr std::int64_t blocks_each = 16;

CUdeviceptr address(const void* memory) { return reinterpret_cast<CUdeviceptr>(memory); }

}  // namespace

CudaLauncher::CudaLauncher(const CudaDevice& device, codegen::Compiler& compiler,
                           const EngineOptions& options, std::vector<std::string>& warnings)
    : device_(device),
      debug_(options.debug),
      modules_(device),
      choice_(device, compiler, options, warnings),
      staging_(device, allocations_),
      results_(device.allocate_pinned(result_bytes)) {}

CudaLauncher::~CudaLauncher() {
  // What still runs uses memory that is about to be freed. No checks: when the process ends, the
  // driver may have shut down already.
  functions().context_set_current(device_.context());
  functions().stream_synchronize(device_.stream());
}

void* CudaLauncher::allocate(std::size_t bytes) {
  device_.use();
  auto owner = device_.allocate(std::max(bytes, alignment), "the engine");
  void* const memory = reinterpret_cast<void*>(owner.get());
  allocations_[owner.get()] = std::max(bytes, alignment);
  memory_.emplace(memory, std::move(owner));
  return memory;
}

void CudaLauncher::release(void* memory) noexcept {
  try {
    device_.use();  // this may be another thread
    submit();
    wait();
  } catch (const std::exception&) {
    // The error stays with the context, so the next call reports it.
  }
  allocations_.erase(address(memory));
  memory_.erase(memory);
}

void CudaLauncher::copy(void* to, const void* from, std::size_t bytes) {
  device_.use();
  submit();
  check(functions().copy_within(address(to), address(from), bytes, device_.stream()),
        "cuMemcpyDtoDAsync");
  running_ = true;
}

void CudaLauncher::clear(void* to, std::size_t bytes) {
  device_.use();
  submit();
  check(functions().fill(address(to), 0, bytes / 4, device_.stream()), "cuMemsetD32Async");
  running_ = true;
}

void CudaLauncher::write(void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  device_.use();
  submit();
  check(functions().copy_up(address(to), from, bytes, device_.stream()), "cuMemcpyHtoDAsync");
  running_ = true;
  wait();  // the caller may change its memory after this call
}

void CudaLauncher::read(void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  device_.use();
  submit();
  const bool small = bytes <= result_bytes;
  check(functions().copy_down(small ? results_.get() : to, address(from), bytes, device_.stream()),
        "cuMemcpyDtoHAsync", submitted_);
  running_ = true;
  wait();
  if (small) std::memcpy(to, results_.get(), bytes);
}

void CudaLauncher::begin(const Staged& expected) {
  device_.use();
  submit();
  wait();
  if (!staging_.keeps(expected)) graphs_.clear();
  staging_.begin(expected);
}

void CudaLauncher::reserve(const Staged& expected) {
  device_.use();
  staging_.reserve(expected);
}

const void* CudaLauncher::place(const void* values, std::size_t bytes) {
  return staging_.put(values, bytes).device;
}

unsigned CudaLauncher::grid_of(const PendingLaunch& launch) const {
  const std::int64_t most = device_.gpu().multiprocessors * blocks_each;
  const auto grid = std::uint64_t(std::clamp<std::int64_t>(launch.tiles(), 1, most));
  // Any grid gives the same result; with powers of two, more sequences have the same graph.
  return unsigned(debug_.cuda_graphs ? std::bit_ceil(grid) : grid);
}

void CudaLauncher::add(const Plan& plan, std::size_t begin, std::size_t end) {
  if (begin == end) return;
  const CudaStaging::Placed placed =
      staging_.put(plan.pointers().data(), plan.pointers().size_bytes());
  const auto* const pointers = static_cast<void* const*>(placed.device);
  const auto* const host_pointers = static_cast<void* const*>(placed.host);
  for (const Launch& launch : plan.launches().subspan(begin, end - begin)) {
    PendingLaunch& added =
        pending_.emplace_back(PendingLaunch{.kernel = launch.kernel,
                                            .stage = launch.stage,
                                            .batch = launch.batch,
                                            .pointers = host_pointers + launch.pointers,
                                            .row_begin = launch.row_begin,
                                            .row_end = launch.row_end,
                                            .cell_begin = launch.cell_begin,
                                            .cell_end = launch.cell_end});
    pending_records_.push_back({.buffers = pointers + launch.pointers,
                                .row_begin = launch.row_begin,
                                .row_end = launch.row_end});
    grids_.push_back(grid_of(added));
    const codegen::Stage* const stage = added.alone();
    if (library_ && stage && stage->library) {
      added.library_call =
          library_->call(*stage->library, added.pointers, launch.row_begin, launch.row_end);
      ++traffic_.products;
    }
  }
}

void CudaLauncher::submit(bool may_walk) {
  if (pending_.empty()) return;
  struct Clear {  // also if the device reports an error
    CudaLauncher& launcher;
    Stopwatch watch;
    ~Clear() {
      launcher.traffic_.submit_seconds += watch.lap();
      launcher.pending_.clear();
      launcher.pending_records_.clear();
      launcher.grids_.clear();
    }
  } clear{*this, {}};
  device_.use();
  places_ = staging_.take(pending_.size());
  submitted_ = describe({0, pending_.size(), false});
  const bool may_replay = places_.fit && debug_.cuda_graphs && !debug_.check_launches;

  std::vector<Run> runs = choose_runs(may_walk && !debug_.check_launches, may_replay);
  const CUdeviceptr records = stage_records(runs);
  traffic_.copies += staging_.send(places_);
  for (const Run& run : runs) {
    if (run.segment.walked)
      walk(run);
    else
      launch_segment(run.segment, records + run.segment.begin * sizeof(Record), may_replay);
  }
  running_ = true;
}

std::vector<CudaLauncher::Run> CudaLauncher::choose_runs(bool may_walk, bool may_replay) {
  const Segment whole{0, pending_.size(), false};
  std::vector<Segment> segments{whole};
  if (may_walk) {
    note_sequence(whole);
    segments = choice_.choose(pending_, allocations_, may_replay && graphs_.contains(sequence_));
  }
  std::vector<Run> runs;
  for (const Segment& segment : segments)
    runs.push_back(segment.walked ? prepare_walk(segment) : Run{.segment = segment});
  return runs;
}

/// Plans the walk and completes the records of its launches.
CudaLauncher::Run CudaLauncher::prepare_walk(const Segment& segment) {
  Run run{.segment = segment, .persistent = &choice_.kernel_for(pending_)};
  run.prepared = run.persistent->prepare(std::span(pending_).subspan(segment.begin, segment.size()),
                                         choice_.conflicts(allocations_));
  for (std::size_t i = segment.begin; i < segment.end; ++i) {
    Record& record = run.prepared.records[i - segment.begin];
    record.buffers = pending_records_[i].buffers;
    pending_records_[i] = record;
  }
  return run;
}

/// Stages all records, and the walks that read them. Returns the records' address on the device.
CUdeviceptr CudaLauncher::stage_records(std::vector<Run>& runs) {
  const CUdeviceptr records = staging_.put(places_, pending_records_);
  for (Run& run : runs) {
    if (!run.segment.walked) continue;
    codegen::Walk& walk = run.prepared.walk;
    walk.records = reinterpret_cast<const Record*>(records + run.segment.begin * sizeof(Record));
    run.walk = address(place(&walk, sizeof walk));
  }
  return records;
}

void CudaLauncher::walk(const Run& run) {
  run.persistent->launch(run.prepared, run.walk, submitted_);
  ++traffic_.launches;
  ++traffic_.walks;
  traffic_.walked_launches += run.segment.size();
  traffic_.grid_barriers += run.prepared.barriers;
}

void CudaLauncher::launch_segment(const Segment& segment, CUdeviceptr records, bool may_replay) {
  if (may_replay && replay(segment, records)) {
    ++traffic_.launches;
    ++traffic_.replays;
    return;
  }
  traffic_.launches += segment.size();
  if (!debug_.check_launches) return launch_each(segment, records);
  for (std::size_t i = segment.begin; i < segment.end; ++i) {
    launch(i, records + (i - segment.begin) * sizeof(Record));
    device_.wait(describe(i));
  }
}

bool CudaLauncher::replay(const Segment& segment, CUdeviceptr records) {
  note_sequence(segment);
  CudaGraphs::Graph* const graph = graphs_.find_or_note(sequence_);
  if (!graph) return false;
  if (!*graph) {
    // Kernels have to be loaded before: loading is not allowed while a stream is captured.
    for (std::size_t i = segment.begin; i < segment.end; ++i)
      modules_.function(*pending_[i].kernel, pending_[i].stage);
    *graph = device_.capture([&] { launch_each(segment, records); });
  }
  check(functions().graph_launch(graph->get(), device_.stream()), "cuGraphLaunch", submitted_);
  return true;
}

void CudaLauncher::launch_each(const Segment& segment, CUdeviceptr records) {
  for (std::size_t i = segment.begin; i < segment.end; ++i)
    launch(i, records + (i - segment.begin) * sizeof(Record));
}

void CudaLauncher::launch(std::size_t i, CUdeviceptr record) {
  const PendingLaunch& pending = pending_[i];
  if (pending.library_call) return library_->run(*pending.library_call);
  void* argument = reinterpret_cast<void*>(record);
  void* arguments[] = {&argument};
  const codegen::CudaStage& stage = pending.cuda();
  const CUresult result = functions().launch(
      modules_.function(*pending.kernel, pending.stage), grids_[i], 1, 1, unsigned(stage.threads),
      1, 1, unsigned(stage.shared_bytes), device_.stream(), arguments, nullptr);
  if (result != CUDA_SUCCESS) check(result, "cuLaunchKernel", describe(i));
}

void CudaLauncher::wait() {
  if (!running_) return;
  Stopwatch watch;
  device_.wait(submitted_);
  traffic_.wait_seconds += watch.lap();
  running_ = false;
}

/// Writes what a graph of the segment depends on into `sequence_`.
void CudaLauncher::note_sequence(const Segment& segment) {
  sequence_.first_record = places_.first + segment.begin;
  sequence_.launches.clear();
  for (std::size_t i = segment.begin; i < segment.end; ++i) {
    const PendingLaunch& pending = pending_[i];
    if (pending.library_call)
      sequence_.launches.emplace_back(pending.library_call, pending.stage, 0);
    else
      sequence_.launches.emplace_back(pending.kernel, pending.stage, grids_[i]);
  }
}

std::string CudaLauncher::describe(std::size_t i) const {
  const PendingLaunch& pending = pending_[i];
  return fmt::format("kernel '{}' stage {}{}, rows {} to {}", pending.kernel->kernel.name,
                     pending.stage,
                     pending.batch < 0 ? "" : fmt::format(" of batch {}", pending.batch),
                     pending.row_begin, pending.row_end);
}

std::string CudaLauncher::describe(const Segment& segment) const {
  if (segment.size() == 1) return describe(segment.begin);
  return fmt::format("{} launches from {} to {}", segment.size(), describe(segment.begin),
                     describe(segment.end - 1));
}

}  // namespace espalier::runtime
