#include "runtime/cuda_launcher.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <cstring>

#include "ir/error.h"

namespace espalier::runtime {
namespace {

constexpr std::size_t alignment = 16;
constexpr std::size_t least_block = std::size_t{1} << 20;
constexpr std::size_t result_bytes = std::size_t{64} << 10;
constexpr std::size_t most_graphs = 256;
/// Blocks that a multiprocessor is given at most by one launch.
constexpr std::int64_t blocks_each = 16;
constexpr int usual_shared_bytes = 48 << 10;

CUdeviceptr address(const void* memory) { return reinterpret_cast<CUdeviceptr>(memory); }

std::size_t aligned(std::size_t bytes) { return (bytes + alignment - 1) / alignment * alignment; }

}  // namespace

CudaLauncher::CudaLauncher(const CudaDevice& device, const DebugOptions& debug)
    : device_(device), debug_(debug), results_(device.allocate_pinned(result_bytes)) {
  add_block(least_block);
}

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
  memory_.emplace(memory, std::move(owner));
  return memory;
}

void CudaLauncher::release(void* memory) noexcept {
  try {
    submit();
    wait();
  } catch (const std::exception&) {
    // The error stays with the context: the next call reports it.
  }
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

void CudaLauncher::begin() {
  device_.use();
  submit();
  wait();
  const bool crowded = records_ > record_room_ - record_room_ / 4;
  if (blocks_.size() > 1 || crowded) {
    std::size_t bytes = 0;
    for (const Block& block : blocks_) bytes += block.size;
    graphs_.clear();
    blocks_.clear();
    record_room_ = std::max(record_room_, 2 * records_);
    add_block(bytes);
  }
  blocks_.front().used = aligned(record_room_ * sizeof(Record));
  blocks_.front().sent = 0;
  records_ = 0;
}

void CudaLauncher::add_block(std::size_t bytes) {
  if (blocks_.empty()) bytes += aligned(record_room_ * sizeof(Record));
  Block block{device_.allocate(bytes, "staged arrays"), device_.allocate_pinned(bytes), bytes, 0,
              0};
  if (blocks_.empty()) block.used = aligned(record_room_ * sizeof(Record));
  blocks_.push_back(std::move(block));
}

const void* CudaLauncher::place(const void* values, std::size_t bytes) {
  if (blocks_.back().used + bytes > blocks_.back().size)
    add_block(std::max(bytes, 2 * blocks_.back().size));
  Block& block = blocks_.back();
  const std::size_t at = block.used;
  std::memcpy(static_cast<char*>(block.pinned.get()) + at, values, bytes);
  block.used = aligned(at + bytes);
  return reinterpret_cast<const void*>(block.device.get() + at);
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
  const auto* const pointers =
      static_cast<void* const*>(place(plan.pointers().data(), plan.pointers().size_bytes()));
  const std::int64_t most = device_.gpu().multiprocessors * blocks_each;
  for (const Launch& launch : plan.launches().subspan(begin, end - begin)) {
    const codegen::CudaStage& stage = launch.kernel->cuda_stages[std::size_t(launch.stage)];
    const std::int64_t tiles = stage.tiles(launch.row_end - launch.row_begin);
    // Any grid is right: powers of two make more sequences alike.
    const auto grid = std::bit_ceil(std::uint64_t(std::clamp<std::int64_t>(tiles, 1, most)));
    pending_.push_back(
        {launch.kernel,
         launch.stage,
         launch.batch,
         loaded(*launch.kernel).stages[std::size_t(launch.stage)],
         unsigned(debug_.cuda_graphs ? grid : std::clamp<std::int64_t>(tiles, 1, most)),
         {pointers + launch.pointers, launch.row_begin, launch.row_end}});
  }
}

void CudaLauncher::send(Block& block, std::size_t begin, std::size_t end) {
  if (begin == end) return;
  check(functions().copy_up(block.device.get() + begin,
                            static_cast<char*>(block.pinned.get()) + begin, end - begin,
                            device_.stream()),
        "cuMemcpyHtoDAsync", "the plan");
  ++copies_;
}

void CudaLauncher::submit() {
  if (pending_.empty()) return;
  struct Clear {  // also if the device refuses them
    std::vector<Pending>& pending;
    ~Clear() { pending.clear(); }
  } const clear{pending_};
  device_.use();
  Block& front = blocks_.front();
  const std::size_t first = records_;
  const bool fit = first + pending_.size() <= record_room_;
  records_ += pending_.size();
  CUdeviceptr records = front.device.get() + first * sizeof(Record);
  if (fit) {
    auto* const to = static_cast<char*>(front.pinned.get()) + first * sizeof(Record);
    for (std::size_t i = 0; i < pending_.size(); ++i)
      std::memcpy(to + i * sizeof(Record), &pending_[i].record, sizeof(Record));
    // The first time in one copy with what lies behind.
    if (front.sent > 0)
      send(front, first * sizeof(Record), (first + pending_.size()) * sizeof(Record));
  } else {
    std::vector<Record> all;
    for (const Pending& pending : pending_) all.push_back(pending.record);
    records = address(place(all.data(), all.size() * sizeof(Record)));
  }
  for (Block& block : blocks_) {
    send(block, block.sent, block.used);
    block.sent = block.used;
  }
  sent_ = pending_.size() == 1 ? describe(pending_.front())
                               : fmt::format("{} launches from {} to {}", pending_.size(),
                                             describe(pending_.front()), describe(pending_.back()));
  shape_.first_record = first;
  launch_all(records, fit && debug_.cuda_graphs && !debug_.check_launches);
  running_ = true;
}

std::string CudaLauncher::describe(const Pending& pending) {
  return fmt::format("kernel '{}' stage {}{}, rows {} to {}", pending.kernel->kernel.name,
                     pending.stage,
                     pending.batch < 0 ? "" : fmt::format(" of batch {}", pending.batch),
                     pending.record.row_begin, pending.record.row_end);
}

void CudaLauncher::launch(const Pending& pending, CUdeviceptr record) {
  void* argument = reinterpret_cast<void*>(record);
  void* arguments[] = {&argument};
  const codegen::CudaStage& stage = pending.kernel->cuda_stages[std::size_t(pending.stage)];
  const CUresult result =
      functions().launch(pending.function, pending.grid, 1, 1, unsigned(stage.threads), 1, 1,
                         unsigned(stage.shared_bytes), device_.stream(), arguments, nullptr);
  if (result != CUDA_SUCCESS) check(result, "cuLaunchKernel", describe(pending));
}

void CudaLauncher::launch_all(CUdeviceptr records, bool may_replay) {
  if (may_replay && replay(records)) {
    ++launches_;
    return;
  }
  launches_ += pending_.size();
  for (std::size_t i = 0; i < pending_.size(); ++i) {
    launch(pending_[i], records + i * sizeof(Record));
    if (debug_.check_launches) device_.wait(describe(pending_[i]));
  }
}

std::size_t CudaLauncher::ShapeHash::operator()(const Shape& shape) const {
  std::size_t hash = shape.first_record;
  for (const auto& [function, grid] : shape.launches)
    hash = (hash ^ reinterpret_cast<std::size_t>(function) ^ grid) * 0x9e3779b97f4a7c15;
  return hash;
}

bool CudaLauncher::replay(CUdeviceptr records) {
  shape_.launches.clear();
  for (const Pending& pending : pending_)
    shape_.launches.emplace_back(pending.function, pending.grid);
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
  if (!graph.exec) capture(graph, records);
  check(functions().graph_launch(graph.exec.get(), device_.stream()), "cuGraphLaunch", sent_);
  return true;
}

void CudaLauncher::capture(Graph& graph, CUdeviceptr records) {
  check(functions().capture_begin(device_.stream(), CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
        "cuStreamBeginCapture");
  for (std::size_t i = 0; i < pending_.size(); ++i)
    launch(pending_[i], records + i * sizeof(Record));
  CUgraph captured = nullptr;
  check(functions().capture_end(device_.stream(), &captured), "cuStreamEndCapture");
  const CudaOwner<CUgraph> owner(captured, functions().graph_destroy);
  CUgraphExec exec = nullptr;
  check(functions().graph_instantiate(&exec, captured, 0), "cuGraphInstantiate");
  graph.exec = {exec, functions().graph_exec_destroy};
}

void CudaLauncher::wait() {
  if (!running_) return;
  device_.wait(sent_);
  running_ = false;
}

std::size_t CudaLauncher::bytes() const {
  std::size_t bytes = 0;
  for (const Block& block : blocks_) bytes += block.size;
  return bytes;
}

}  // namespace espalier::runtime
