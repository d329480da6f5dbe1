#include "runtime/cuda/walk_cost_measurement.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <utility>

#include "base/error.h"
#include "base/stopwatch.h"
#include "runtime/cuda/modules.h"
#include "runtime/cuda/persistent_kernel.h"

namespace espalier::runtime {
namespace {

using codegen::BufferRole;
using codegen::ExprId;

constexpr std::int64_t width = 256;
constexpr int gates = 4;
constexpr std::int64_t few_rows = 8;    // of a small level
constexpr std::int64_t rows_each = 32;  // of a large contraction, for each multiprocessor
constexpr int many = 100, few = 20;     // launches of the two sequences whose times are compared
constexpr double warm_up_seconds = 0.1;
constexpr double least = 1e-12;  // seconds; replaces differences of times that are not positive

/// y[row] = Σ over gates of W[gate] · x[row]: a contraction as in recurrent cells.
codegen::Kernel sample_contraction() {
  codegen::Kernel kernel;
  kernel.name = "sample_contraction";
  codegen::KernelBuilder b(kernel);
  const auto x = b.buffer({.role = BufferRole::residual, .a = 0, .row_elements = width});
  const auto y = b.buffer({.role = BufferRole::residual, .a = 1, .row_elements = width});
  const auto packed = b.buffer({.role = BufferRole::packed, .a = 0});
  const codegen::Target target =
      codegen::cuda_target("sm_80");  // any will do: panels do not differ
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

/// y[row] = x[row], one number per row.
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
        persistent_(device, compiler, {&contraction_, &copy_}),
        conflicts_(allocations_, uses_),
        modules_(device),
        many_rows_(std::max<std::int64_t>(many, rows_each * device.gpu().multiprocessors)) {
    x_ = floats(many_rows_ * width);
    y_ = floats(many_rows_ * width);
    weights_ = floats(contraction_.kernel.packings[0].elements());
  }
  ~Measuring() {
    f().stream_synchronize(device_.stream());
  }  // after an error, kernels may still run
  Measuring(const Measuring&) = delete;
  Measuring& operator=(const Measuring&) = delete;

  WalkCosts measure() {
    WalkCosts costs;
    costs.places = persistent_.places();
    const std::vector<PendingLaunch> large{contraction(0, many_rows_)};
    // An idle GPU runs slowly at first.
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
    const double fixed = costs.record + costs.barrier;
    const auto level = [&](bool holds) {
      const auto chain = [&](int n) { return walked(levels(n), holds); };
      return positive(slope(chain).first - fixed);
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

  /// Contraction `i` of a chain: it reads what contraction i - 1 wrote.
  PendingLaunch contraction(int i, std::int64_t rows) {
    auto& pointers = contraction_pointers_[i % 2];
    pointers = {pointer(i % 2 ? y_ : x_), pointer(i % 2 ? x_ : y_), pointer(weights_)};
    return {
        .kernel = &contraction_, .pointers = pointers.data(), .row_end = rows, .cell_end = rows};
  }
  std::vector<PendingLaunch> levels(int n) {
    std::vector<PendingLaunch> launches;
    for (int i = 0; i < n; ++i) launches.push_back(contraction(i, few_rows));
    return launches;
  }
  /// Launches that copy one number each. If `chained`, each reads what the launch before wrote;
  /// otherwise they are independent.
  std::vector<PendingLaunch> copies(int n, bool chained) {
    std::vector<PendingLaunch> launches;
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

  /// Fits a line through seconds(few) and seconds(many): the time of one more, and of none.
  std::pair<double, double> slope(const std::function<double(int)>& seconds) {
    const double less = seconds(few), more = seconds(many);
    const double each = positive((more - less) / (many - few));
    return {each, positive(less - few * each)};
  }

  /// The shortest of a few measured times of `run`; `before` is not timed.
  double seconds(const std::function<void()>& before, const std::function<void()>& run) {
    double best = 0;
    for (int time = 0; time < 3; ++time) {
      before();
      const double found = device_.seconds(run, "small kernels");
      // The first run loads kernels and does not count.
      if (time == 1 || (time > 1 && found < best)) best = found;
    }
    return best;
  }

  /// The records, with the launches' pointers copied to the device.
  std::vector<codegen::WalkRecord> place(const std::vector<PendingLaunch>& launches,
                                         std::vector<codegen::WalkRecord> records) {
    for (std::size_t i = 0; i < launches.size(); ++i) {
      const std::size_t count = launches[i].kernel->kernel.buffers.size();
      auto& placed = pointers_[launches[i].pointers];
      if (!placed) placed = upload(launches[i].pointers, count * sizeof(void*));
      records[i].buffers = reinterpret_cast<void* const*>(placed.get());
    }
    return records;
  }

  double walked(const std::vector<PendingLaunch>& launches, bool holds = true) {
    PersistentKernel::Prepared prepared = persistent_.prepare(launches, conflicts_, holds);
    const auto records = place(launches, prepared.records);
    const auto at = upload(records.data(), records.size() * sizeof records[0]);
    prepared.walk.records = reinterpret_cast<const codegen::WalkRecord*>(at.get());
    CudaOwner<CUdeviceptr> walk;
    return seconds([&] { walk = upload(&prepared.walk, sizeof prepared.walk); },
                   [&] { persistent_.launch(prepared, walk.get(), "measuring the GPU"); });
  }

  /// Launches without a walk.
  class Alone {
   public:
    Alone(Measuring& of, const std::vector<PendingLaunch>& launches)
        : of_(of), launches_(launches) {
      std::vector<codegen::WalkRecord> records;
      for (const PendingLaunch& launch : launches)
        records.push_back({.row_begin = launch.row_begin, .row_end = launch.row_end});
      records = of.place(launches, std::move(records));
      records_ = of.upload(records.data(), records.size() * sizeof records[0]);
    }
    void run() const {
      for (std::size_t i = 0; i < launches_.size(); ++i) {
        const codegen::CudaStage& stage = launches_[i].cuda();
        void* argument = reinterpret_cast<void*>(records_.get() + i * sizeof(codegen::WalkRecord));
        void* arguments[] = {&argument};
        of_.check(of_.f().launch(of_.modules_.function(*launches_[i].kernel, launches_[i].stage),
                                 unsigned(std::max<std::int64_t>(1, launches_[i].tiles())), 1, 1,
                                 unsigned(stage.threads), 1, 1, unsigned(stage.shared_bytes),
                                 of_.device_.stream(), arguments, nullptr));
      }
    }

   private:
    Measuring& of_;
    const std::vector<PendingLaunch>& launches_;
    CudaOwner<CUdeviceptr> records_;
  };

  double alone(const std::vector<PendingLaunch>& launches) {
    const Alone all(*this, launches);
    return seconds([] {}, [&] { all.run(); });
  }

  double replayed(const std::vector<PendingLaunch>& launches) {
    const Alone all(*this, launches);
    all.run();  // loads the kernels, which must not happen during capture
    const CudaOwner<CUgraphExec> exec = device_.capture([&] { all.run(); });
    const double result =
        seconds([] {}, [&] { check(f().graph_launch(exec.get(), device_.stream())); });
    device_.wait("measuring the GPU");
    return result;
  }

  const CudaDevice& device_;
  const codegen::CompiledKernel &contraction_, &copy_;
  PersistentKernel persistent_;
  Allocations allocations_;
  StageUses uses_;
  Conflicts conflicts_;
  CudaModules modules_;
  const std::int64_t many_rows_;
  std::vector<CudaOwner<CUdeviceptr>> memory_;
  std::unordered_map<void* const*, CudaOwner<CUdeviceptr>> pointers_;
  std::array<std::array<void*, 3>, 2> contraction_pointers_{};
  std::array<std::array<void*, 2>, 2> copy_pointers_{};
  CUdeviceptr x_ = 0, y_ = 0, weights_ = 0;
};

}  // namespace

WalkCosts measured_walk_costs(const CudaDevice& device, codegen::Compiler& compiler,
                              const std::filesystem::path& cache_directory) {
  const codegen::Kernel contraction = sample_contraction(), copy = sample_copy();
  const codegen::Kernel* const kernels[] = {&contraction, &copy};
  // Everything that changes the measurement is part of the key.
  const std::string key = fmt::format(
      "costs of launches: {}, driver {}, {} and {} launches, {} rows and {} a multiprocessor\n{}",
      device.gpu().name, device.driver().version(), few, many, few_rows, rows_each,
      codegen::print_walker(kernels).source);
  return cached_costs(cache_directory, key, [&] {
    device.wait("measuring the GPU");
    return Measuring(device, compiler).measure();
  });
}

}  // namespace espalier::runtime
