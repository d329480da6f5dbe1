#include "runtime/cuda/walk_constants.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "base/error.h"
#include "base/stopwatch.h"
#include "runtime/cuda/walker.h"

namespace espalier::runtime {
namespace {

using codegen::BufferRole;
using codegen::ExprId;

constexpr std::int64_t width = 256;
constexpr int gates = 4;
constexpr std::int64_t few_rows = 8, rows_each = 32;  // of small levels; of a multiprocessor
constexpr int many = 100, few = 20;  // launches, to be told apart from what a sequence costs
constexpr double warm_up_seconds = 0.1;
constexpr double least = 1e-12;  // no difference of measured times is 0 or less

/// y[row] = the gates' sums of x[row]: a contraction like those of recurrent cells.
codegen::Kernel sample_contraction() {
  codegen::Kernel kernel;
  kernel.name = "sample_contraction";
  codegen::KernelBuilder b(kernel);
  const auto x = b.buffer({.role = BufferRole::residual, .a = 0, .row_elements = width});
  const auto y = b.buffer({.role = BufferRole::residual, .a = 1, .row_elements = width});
  const auto packed = b.buffer({.role = BufferRole::packed, .a = 0});
  const codegen::Target target = codegen::cuda_target("sm_80");  // all have the same panels
  kernel.packings = {{.m = gates * width,
                      .k = width,
                      .gates = gates,
                      .lanes = codegen::panel_lanes(target, gates, width),
                      .blocks = {}}};
  kernel.buffers[std::size_t(packed)].row_elements = kernel.packings[0].elements();
  codegen::Stage stage;
  stage.row = b.variable();
  stage.extents = {width};
  stage.variables = {b.variable()};
  const ExprId begin = b.multiply(b.var(stage.row), width);
  stage.contraction = {.weights = packed,
                       .packing = 0,
                       .terms = {{.x = x, .address = begin, .k_begin = 0, .k_length = width}}};
  ir::Scalar sum{&b, b.accumulator(0)};
  for (int gate = 1; gate < gates; ++gate) sum = sum + ir::Scalar{&b, b.accumulator(gate)};
  stage.stores = {{y, b.add(begin, b.var(stage.variables[0])), sum.id}};
  kernel.stages = {std::move(stage)};
  return kernel;
}

/// y[row] = x[row], one number each.
codegen::Kernel sample_copy() {
  codegen::Kernel kernel;
  kernel.name = "sample_copy";
  codegen::KernelBuilder b(kernel);
  const auto x = b.buffer({.role = BufferRole::residual, .a = 0, .row_elements = 1});
  const auto y = b.buffer({.role = BufferRole::residual, .a = 1, .row_elements = 1});
  codegen::Stage stage;
  stage.row = b.variable();
  const ExprId row = b.var(stage.row);
  stage.stores = {{y, row, b.load(x, row)}};
  kernel.stages = {std::move(stage)};
  return kernel;
}

class Measuring {
 public:
  Measuring(const CudaDevice& device, codegen::Compiler& compiler)
      : device_(device),
        contraction_(compiler.compile(sample_contraction())),
        copy_(compiler.compile(sample_copy())),
        walker_(device, compiler, {&contraction_, &copy_}),
        conflicts_(allocations_, uses_),
        many_rows_(std::max<std::int64_t>(many, rows_each * device.gpu().multiprocessors)) {
    x_ = floats(many_rows_ * width);
    y_ = floats(many_rows_ * width);
    weights_ = floats(contraction_.kernel.packings[0].elements());
  }
  ~Measuring() { f().stream_synchronize(device_.stream()); }  // what failed may be under way
  Measuring(const Measuring&) = delete;
  Measuring& operator=(const Measuring&) = delete;

  DeviceCosts measure() {
    DeviceCosts costs;
    costs.places = walker_.places();
    const std::vector<NotedLaunch> large{contraction(0, many_rows_)};
    // A GPU that was idle runs slowly at first, and what is measured is kept.
    Stopwatch watch;
    for (double seconds = 0; seconds < warm_up_seconds; seconds += watch.lap()) alone(large);
    costs.launch = slope([&](int n) { return alone(copies(n, false)); }).first;
    std::tie(costs.node, costs.graph) = slope([&](int n) { return replayed(copies(n, false)); });
    internal_check(std::min(costs.launch, costs.node) > least,
                   "the GPU's clock is wrong: {} launches took no longer than {}", many, few);
    std::tie(costs.record, costs.walk) = slope([&](int n) { return walked(copies(n, false)); });
    costs.barrier =
        positive(slope([&](int n) { return walked(copies(n, true)); }).first - costs.record);

    const LaunchWork work = work_of(large[0]);
    costs.flop = positive(alone(large) - costs.launch) / work.flops;
    costs.walked_flop = positive(walked(large) - costs.walk) / work.flops;

    const LaunchWork small = work_of(contraction(0, few_rows));
    const double meeting = costs.record + costs.barrier;
    const auto level = [&](bool holds) {
      const auto chain = [&](int n) { return walked(levels(n), holds); };
      return positive(slope(chain).first - meeting);
    };
    const double share = std::min(1.0, double(small.tiles) / double(costs.places));
    costs.byte = level(false) * share / (small.bytes + small.weights);
    costs.held_byte = positive(level(true) - small.bytes * costs.byte) / small.weights;
    return costs;
  }

 private:
  const CudaFunctions& f() const { return device_.driver().functions(); }
  void check(CUresult result) const { device_.driver().check(result, "measuring the GPU"); }
  static double positive(double seconds) { return std::max(seconds, least); }

  CUdeviceptr floats(std::int64_t count) {
    memory_.push_back(device_.allocate(std::size_t(count) * 4, "measuring the GPU"));
    const CUdeviceptr at = memory_.back().get();
    check(f().fill(at, 0, std::size_t(count), device_.stream()));
    allocations_[at] = std::size_t(count) * 4;
    return at;
  }
  CudaOwner<CUdeviceptr> upload(const void* from, std::size_t bytes) {
    auto owner = device_.allocate(bytes, "measuring the GPU");
    check(f().copy_up(owner.get(), from, bytes, device_.stream()));
    device_.wait("measuring the GPU");
    return owner;
  }

  /// Reading what the one before wrote, if they are even and odd.
  NotedLaunch contraction(int i, std::int64_t rows) {
    auto& pointers = contraction_pointers_[i % 2];
    pointers = {pointer(i % 2 ? y_ : x_), pointer(i % 2 ? x_ : y_), pointer(weights_)};
    return {
        .kernel = &contraction_, .pointers = pointers.data(), .row_end = rows, .cell_end = rows};
  }
  std::vector<NotedLaunch> levels(int n) {
    std::vector<NotedLaunch> launches;
    for (int i = 0; i < n; ++i) launches.push_back(contraction(i, few_rows));
    return launches;
  }
  /// Launches of one number; each reads what the one before wrote, or all are independent.
  std::vector<NotedLaunch> copies(int n, bool chained) {
    std::vector<NotedLaunch> launches;
    for (int i = 0; i < n; ++i) {
      const int odd = chained ? i % 2 : 0;
      auto& pointers = copy_pointers_[odd];
      pointers = {pointer(odd ? y_ : x_), pointer(odd ? x_ : y_)};
      const std::int64_t row = chained ? 0 : i;
      launches.push_back(
          {.kernel = &copy_, .pointers = pointers.data(), .row_begin = row, .row_end = row + 1});
    }
    return launches;
  }
  static void* pointer(CUdeviceptr address) { return reinterpret_cast<void*>(address); }

  /// Seconds for one more of them, and for none.
  std::pair<double, double> slope(const std::function<double(int)>& seconds) {
    const double less = seconds(few), more = seconds(many);
    const double each = positive((more - less) / (many - few));
    return {each, positive(less - few * each)};
  }

  /// The least of some times of `run`.
  double seconds(const std::function<void()>& before, const std::function<void()>& run) {
    double best = 0;
    for (int time = 0; time < 3; ++time) {
      before();
      const double found = device_.seconds(run, "small kernels");
      // The first time loads what is to run.
      if (time == 1 || (time > 1 && found < best)) best = found;
    }
    return best;
  }

  /// Their records and pointers on the device.
  std::vector<codegen::WalkRecord> place(const std::vector<NotedLaunch>& launches,
                                         std::vector<codegen::WalkRecord> records) {
    for (std::size_t i = 0; i < launches.size(); ++i) {
      const std::size_t count = launches[i].kernel->kernel.buffers.size();
      auto& placed = pointers_[launches[i].pointers];
      if (!placed) placed = upload(launches[i].pointers, count * sizeof(void*));
      records[i].buffers = reinterpret_cast<void* const*>(placed.get());
    }
    return records;
  }

  double walked(const std::vector<NotedLaunch>& launches, bool holds = true) {
    CudaWalker::Prepared prepared = walker_.prepare(launches, conflicts_, holds);
    const auto records = place(launches, prepared.records);
    const auto at = upload(records.data(), records.size() * sizeof records[0]);
    prepared.walk.records = reinterpret_cast<const codegen::WalkRecord*>(at.get());
    CudaOwner<CUdeviceptr> walk;
    return seconds([&] { walk = upload(&prepared.walk, sizeof prepared.walk); },
                   [&] { walker_.launch(prepared, walk.get(), "measuring the GPU"); });
  }

  /// Launches all of them by themselves.
  class Alone {
   public:
    Alone(Measuring& of, const std::vector<NotedLaunch>& launches) : of_(of), launches_(launches) {
      std::vector<codegen::WalkRecord> records;
      for (const NotedLaunch& launch : launches)
        records.push_back({.row_begin = launch.row_begin, .row_end = launch.row_end});
      records = of.place(launches, std::move(records));
      records_ = of.upload(records.data(), records.size() * sizeof records[0]);
    }
    void run() const {
      for (std::size_t i = 0; i < launches_.size(); ++i) {
        const codegen::CudaStage& stage = launches_[i].cuda();
        void* argument = reinterpret_cast<void*>(records_.get() + i * sizeof(codegen::WalkRecord));
        void* arguments[] = {&argument};
        const std::int64_t rows = launches_[i].row_end - launches_[i].row_begin;
        of_.check(of_.f().launch(of_.function(*launches_[i].kernel),
                                 unsigned(std::max<std::int64_t>(1, stage.tiles(rows))), 1, 1,
                                 unsigned(stage.threads), 1, 1, unsigned(stage.shared_bytes),
                                 of_.device_.stream(), arguments, nullptr));
      }
    }

   private:
    Measuring& of_;
    const std::vector<NotedLaunch>& launches_;
    CudaOwner<CUdeviceptr> records_;
  };

  CUfunction function(const codegen::CompiledKernel& kernel) {
    auto& module = modules_[&kernel];
    if (!module) module = device_.load(kernel.cubin, kernel.kernel.name);
    return device_.function(module.get(), kernel.cuda_stages[0].symbol, kernel.kernel.name);
  }

  double alone(const std::vector<NotedLaunch>& launches) {
    const Alone all(*this, launches);
    return seconds([] {}, [&] { all.run(); });
  }

  double replayed(const std::vector<NotedLaunch>& launches) {
    const Alone all(*this, launches);
    all.run();  // loads what is captured
    const CudaOwner<CUgraphExec> exec = device_.capture([&] { all.run(); });
    const double result =
        seconds([] {}, [&] { check(f().graph_launch(exec.get(), device_.stream())); });
    device_.wait("measuring the GPU");
    return result;
  }

  const CudaDevice& device_;
  const codegen::CompiledKernel &contraction_, &copy_;
  CudaWalker walker_;
  Allocations allocations_;
  StageUses uses_;
  Conflicts conflicts_;
  const std::int64_t many_rows_;
  std::vector<CudaOwner<CUdeviceptr>> memory_;
  std::unordered_map<void* const*, CudaOwner<CUdeviceptr>> pointers_;
  std::unordered_map<const codegen::CompiledKernel*, CudaOwner<CUmodule>> modules_;
  std::array<std::array<void*, 3>, 2> contraction_pointers_{};
  std::array<std::array<void*, 2>, 2> copy_pointers_{};
  CUdeviceptr x_ = 0, y_ = 0, weights_ = 0;
};

}  // namespace

DeviceCosts device_costs(const CudaDevice& device, codegen::Compiler& compiler,
                         const std::filesystem::path& cache_directory) {
  const codegen::Kernel contraction = sample_contraction(), copy = sample_copy();
  const codegen::Kernel* const kernels[] = {&contraction, &copy};
  // What is measured belongs to the key.
  const std::string key = fmt::format(
      "costs of launches: {}, driver {}, {} and {} launches, {} rows and {} a multiprocessor\n{}",
      device.gpu().name, device.driver().version(), few, many, few_rows, rows_each,
      codegen::print_walker(kernels).source);
  return kept_costs(cache_directory, key, [&] {
    device.wait("measuring the GPU");
    return Measuring(device, compiler).measure();
  });
}

}  // namespace espalier::runtime
