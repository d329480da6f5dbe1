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
constexpr std::size_t most_graphs = 256;
/// Blocks that a multiprocessor is given at most by one launch.
constexpr std::int64_t blocks_each = 16;
constexpr int usual_shared_bytes = 48 << 10;

CUdeviceptr address(const void* memory) { return reinterpret_cast<CUdeviceptr>(memory); }

}  // namespace

CudaLauncher::CudaLauncher(const CudaDevice& device, codegen::Compiler& compiler,
                           const EngineOptions& options, std::vector<std::string>& warnings)
    : device_(device),
      debug_(options.debug),
      persistent_(device, compiler, options, warnings),
      staging_(device, allocations_),
      results_(device.allocate_pinned(result_bytes)) {}

CudaLauncher::~CudaLauncher() {
  // Whatever is under way uses what is about to be freed. At the end of a process the driver may be
  // gone: no check.
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
    device_.use();  // whatever thread gives it back
    submit();
    wait();
  } catch (const std::exception&) {
    // The error stays with the context: the next call reports it.
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
  wait();  // the caller's memory need not be pinned, nor stay
}

void CudaLauncher::read(void* to, const void* from, std::size_t bytes) {
  if (bytes == 0) return;
  device_.use();
  submit();
  const bool small = bytes <= result_bytes;
  check(functions().copy_down(small ? results_.get() : to, address(from), bytes, device_.stream()),
        "cuMemcpyDtoHAsync", sent_);
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

const CudaLauncher::Loaded& CudaLauncher::loaded(const codegen::CompiledKernel& kernel) {
  Loaded& loaded = loaded_[&kernel];
  if (loaded.module) return loaded;
  device_.use();
  const std::string& name = kernel.kernel.name;
  loaded.module = device_.load(kernel.cubin, name);
  for (const codegen::CudaStage& stage : kernel.cuda_stages) {
    const CUfunction function = device_.function(loaded.module.get(), stage.symbol, name);
    if (stage.shared_bytes > usual_shared_bytes)
      check(functions().function_set_attribute(
                function, CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES, int(stage.shared_bytes)),
            "cuFuncSetAttribute", fmt::format("kernel '{}', {}", name, stage.symbol));
    loaded.stages.push_back(function);
  }
  return loaded;
}

void CudaLauncher::add(const Plan& plan, std::size_t begin, std::size_t end) {
  if (begin == end) return;
  const CudaStaging::Placed placed =
      staging_.put(plan.pointers().data(), plan.pointers().size_bytes());
  const auto* const pointers = static_cast<void* const*>(placed.device);
  const auto* const host_pointers = static_cast<void* const*>(placed.host);
  const std::int64_t most = device_.gpu().multiprocessors * blocks_each;
  for (const Launch& launch : plan.launches().subspan(begin, end - begin)) {
    NotedLaunch& noted =
        pending_.emplace_back(NotedLaunch{.kernel = launch.kernel,
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
    const std::int64_t tiles = noted.cuda().tiles(launch.row_end - launch.row_begin);
    const std::int64_t grid = std::clamp<std::int64_t>(tiles, 1, most);
    // Any grid is right: powers of two make more sequences alike.
    grids_.push_back(unsigned(debug_.cuda_graphs ? std::bit_ceil(std::uint64_t(grid)) : grid));
    const codegen::Stage* const stage = noted.alone();
    if (products_ && stage && stage->library) {
      noted.product =
          products_->call(*stage->library, noted.pointers, launch.row_begin, launch.row_end);
      ++traffic_.products;
    }
  }
}

void CudaLauncher::submit(bool may_walk) {
  if (pending_.empty()) return;
  struct Clear {  // also if the device refuses them
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
  const std::size_t count = pending_.size();
  sending_ = staging_.take(count);
  const bool may_replay = sending_.fit && debug_.cuda_graphs && !debug_.check_launches;
  sent_ = describe({0, count, false});

  std::vector<Way> ways = choose_ways(may_walk && !debug_.check_launches, may_replay);
  const CUdeviceptr records = staging_.put(sending_, pending_records_);
  for (Way& way : ways) {
    if (!way.segment.walked) continue;
    codegen::Walk& walk = way.prepared.walk;
    walk.records = reinterpret_cast<const Record*>(records + way.segment.begin * sizeof(Record));
    way.walk = address(place(&walk, sizeof walk));
  }
  traffic_.copies += staging_.send(sending_);
  for (const Way& way : ways) {
    if (way.segment.walked)
      walk(way);
    else
      launch_all(way.segment, records + way.segment.begin * sizeof(Record), may_replay);
  }
  running_ = true;
}

/// How what is pending is sent off; what walks has its records filled in.
std::vector<CudaLauncher::Way> CudaLauncher::choose_ways(bool may_walk, bool may_replay) {
  const Segment whole{0, pending_.size(), false};
  std::vector<Segment> segments{whole};
  if (may_walk) {
    note_shape(whole);
    segments = persistent_.choose(pending_, allocations_, may_replay && graphs_.contains(shape_));
  }
  std::vector<Way> ways;
  for (const Segment& segment : segments) {
    Way& way = ways.emplace_back(Way{.segment = segment});
    if (!segment.walked) continue;
    way.walker = &persistent_.walker(pending_);
    way.prepared =
        way.walker->prepare(std::span(pending_).subspan(segment.begin, segment.end - segment.begin),
                            persistent_.conflicts(allocations_));
    for (std::size_t i = segment.begin; i < segment.end; ++i) {
      Record& record = way.prepared.records[i - segment.begin];
      record.buffers = pending_records_[i].buffers;
      pending_records_[i] = record;
    }
  }
  return ways;
}

std::string CudaLauncher::describe(std::size_t i) const {
  const NotedLaunch& noted = pending_[i];
  return fmt::format("kernel '{}' stage {}{}, rows {} to {}", noted.kernel->kernel.name,
                     noted.stage, noted.batch < 0 ? "" : fmt::format(" of batch {}", noted.batch),
                     noted.row_begin, noted.row_end);
}

std::string CudaLauncher::describe(const Segment& segment) const {
  if (segment.end - segment.begin == 1) return describe(segment.begin);
  return fmt::format("{} launches from {} to {}", segment.end - segment.begin,
                     describe(segment.begin), describe(segment.end - 1));
}

void CudaLauncher::walk(const Way& way) {
  way.walker->launch(way.prepared, way.walk, sent_);
  ++traffic_.launches;
  ++traffic_.walks;
  traffic_.walked_launches += way.segment.end - way.segment.begin;
  traffic_.grid_barriers += way.prepared.barriers;
}

void CudaLauncher::launch(std::size_t i, CUdeviceptr record) {
  if (pending_[i].product) return products_->run(*pending_[i].product);
  void* argument = reinterpret_cast<void*>(record);
  void* arguments[] = {&argument};
  const NotedLaunch& noted = pending_[i];
  const codegen::CudaStage& stage = noted.cuda();
  const CUfunction function = loaded(*noted.kernel).stages[std::size_t(noted.stage)];
  const CUresult result =
      functions().launch(function, grids_[i], 1, 1, unsigned(stage.threads), 1, 1,
                         unsigned(stage.shared_bytes), device_.stream(), arguments, nullptr);
  if (result != CUDA_SUCCESS) check(result, "cuLaunchKernel", describe(i));
}

void CudaLauncher::launch_each(const Segment& segment, CUdeviceptr records) {
  for (std::size_t i = segment.begin; i < segment.end; ++i)
    launch(i, records + (i - segment.begin) * sizeof(Record));
}

void CudaLauncher::launch_all(const Segment& segment, CUdeviceptr records, bool may_replay) {
  if (may_replay && replay(segment, records)) {
    ++traffic_.launches;
    ++traffic_.replays;
    return;
  }
  traffic_.launches += segment.end - segment.begin;
  if (!debug_.check_launches) return launch_each(segment, records);
  for (std::size_t i = segment.begin; i < segment.end; ++i) {
    launch(i, records + (i - segment.begin) * sizeof(Record));
    device_.wait(describe(i));
  }
}

std::size_t CudaLauncher::ShapeHash::operator()(const Shape& shape) const {
  std::size_t hash = shape.first_record;
  for (const auto& [kernel, stage, grid] : shape.launches)
    hash = (hash ^ reinterpret_cast<std::size_t>(kernel) ^ (std::size_t(stage) << 32) ^ grid) *
           0x9e3779b97f4a7c15;
  return hash;
}

/// What a graph of the segment is found by, in `shape_`.
void CudaLauncher::note_shape(const Segment& segment) {
  shape_.first_record = sending_.first + segment.begin;
  shape_.launches.clear();
  for (std::size_t i = segment.begin; i < segment.end; ++i)
    shape_.launches.emplace_back(
        pending_[i].product ? static_cast<const void*>(pending_[i].product) : pending_[i].kernel,
        pending_[i].stage, pending_[i].product ? 0 : grids_[i]);
}

bool CudaLauncher::replay(const Segment& segment, CUdeviceptr records) {
  note_shape(segment);
  const auto found = graphs_.find(shape_);
  if (found == graphs_.end()) {
    if (graphs_.size() >= most_graphs)
      graphs_.erase(std::ranges::min_element(
          graphs_, {}, [](const auto& entry) { return entry.second.last_used; }));
    graphs_[shape_].last_used = ++clock_;
    return false;
  }
  Graph& graph = found->second;
  graph.last_used = ++clock_;
  if (!graph.exec) capture(graph, segment, records);
  check(functions().graph_launch(graph.exec.get(), device_.stream()), "cuGraphLaunch", sent_);
  return true;
}

void CudaLauncher::capture(Graph& graph, const Segment& segment, CUdeviceptr records) {
  // CellKernels are loaded before: that is no work for a stream.
  for (std::size_t i = segment.begin; i < segment.end; ++i) loaded(*pending_[i].kernel);
  graph.exec = device_.capture([&] { launch_each(segment, records); });
}

void CudaLauncher::wait() {
  if (!running_) return;
  Stopwatch watch;
  device_.wait(sent_);
  traffic_.wait_seconds += watch.lap();
  running_ = false;
}

}  // namespace espalier::runtime
