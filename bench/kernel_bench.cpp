// Speed of compiled kernels on one core, by target: contractions with and without the cell's
// element-wise part, outer products, functions; and how long a kernel takes to compile.
//   kernel_bench [target [tries]]
#include <fmt/core.h>

#include <algorithm>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "codegen/compiler.h"
#include "codegen/cpu/host_targets.h"
#include "codegen/kernel/kernel.h"
#include "codegen/kernel/target.h"

namespace {

using namespace espalier::codegen;
using espalier::ir::Opcode;

/// Floats at a multiple of 64 bytes.
class Floats {
 public:
  explicit Floats(std::int64_t count)
      : data_(static_cast<float*>(std::aligned_alloc(64, (count * 4 + 63) / 64 * 64))) {
    std::mt19937 random(1);
    for (std::int64_t i = 0; i < count; ++i)
      data_[i] = static_cast<float>(random()) * 0x1p-32F - 0.5F;
  }
  Floats(Floats&& other) noexcept : data_(std::exchange(other.data_, nullptr)) {}
  Floats& operator=(Floats&&) = delete;
  ~Floats() { std::free(data_); }
  float* data() const { return data_; }

 private:
  float* data_;
};

/// This thread's own clock, so that other work on the machine disturbs little.
double now() {
  timespec t;
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
  return static_cast<double>(t.tv_sec) + 1e-9 * static_cast<double>(t.tv_nsec);
}

/// Seconds of one call: the best of so many tries of a millisecond.
double seconds(const std::function<void()>& call, int tries) {
  const auto time = [&](int repeats) {
    const double start = now();
    for (int i = 0; i < repeats; ++i) call();
    return now() - start;
  };
  int repeats = 1;
  while (time(repeats) < 1e-3) repeats *= 2;
  double best = time(repeats);
  for (int i = 1; i < tries; ++i) best = std::min(best, time(repeats));
  return best / repeats;
}

/// y = Wx + b of two halves of x; with `cell`, instead the binary Tree-LSTM's h and c.
Kernel contraction(const Target& target, std::int64_t n, std::int64_t k, int gates, bool cell) {
  Kernel kernel;
  kernel.name = "contraction";
  KernelBuilder b(kernel);
  kernel.packings.push_back(
      {.m = n * gates,
       .k = k,
       .gates = gates,
       .lanes = tile_shape(target, gates, static_cast<long>(n)).vectors * target.width,
       .blocks = {}});
  const auto floats = [&](BufferRole role, int a, std::int64_t elements) {
    return b.buffer({.role = role, .a = a, .row_elements = elements});
  };
  const BufferId weights = floats(BufferRole::packed, 0, kernel.packings[0].elements());
  const BufferId left = floats(BufferRole::scratch, 0, k / 2);
  const BufferId right = floats(BufferRole::scratch, 1, k / 2);
  const BufferId y = floats(BufferRole::scratch, 2, n * gates);
  const BufferId c = floats(BufferRole::scratch, 3, n);
  const BufferId bias = floats(BufferRole::param, 0, n * gates);
  const BufferId next_c = floats(BufferRole::scratch, 4, n);

  Stage s;
  s.row = b.variable();
  s.extents = {n};
  s.variables = {b.variable()};
  const ExprId row = b.var(s.row), j = b.var(s.variables[0]);
  s.contraction = Contraction{.weights = weights,
                              .packing = 0,
                              .terms = {{left, b.multiply(row, k / 2), 0, k / 2},
                                        {right, b.multiply(row, k / 2), k / 2, k / 2}}};
  using espalier::ir::Scalar;
  const auto gate = [&](int g) {
    return Scalar{&b, b.accumulator(g)} + Scalar{&b, b.load(bias, b.add(b.integer(g * n), j))};
  };
  const auto sigmoid = [](Scalar x) { return 1.0 / (1.0 + exp(-x)); };
  const ExprId at = b.add(b.multiply(row, n), j);
  if (cell) {
    const Scalar child{&b, b.load(c, at)};
    const Scalar next =
        sigmoid(gate(0)) * tanh(gate(4)) + sigmoid(gate(1)) * child + sigmoid(gate(2)) * child;
    s.stores = {{next_c, at, next.id}, {y, at, (sigmoid(gate(3)) * tanh(next)).id}};
  } else {
    for (int g = 0; g < gates; ++g)
      s.stores.push_back(
          {y, b.add(b.multiply(row, n * gates), b.add(b.integer(g * n), j)), gate(g).id});
  }
  kernel.stages = {s};
  return kernel;
}

Kernel outer_product(std::int64_t m, std::int64_t k) {
  Kernel kernel;
  kernel.name = "outer product";
  KernelBuilder b(kernel);
  const BufferId gradient = b.buffer({.role = BufferRole::param_gradient, .row_elements = m * k});
  const BufferId left = b.buffer({.role = BufferRole::scratch, .a = 0, .row_elements = m});
  const BufferId right = b.buffer({.role = BufferRole::scratch, .a = 1, .row_elements = k});
  const BufferId count = b.buffer({.role = BufferRole::row_count, .a = -1});
  Stage s;
  s.rows = RowDomain::once;
  s.extents = {m, k};
  s.variables = {b.variable(), b.variable()};
  s.outer_product = true;
  const VarId row = b.variable();
  const ExprId i = b.var(s.variables[0]), j = b.var(s.variables[1]);
  const ExprId x = b.load(left, b.add(b.multiply(b.var(row), m), i));
  const ExprId y = b.load(right, b.add(b.multiply(b.var(row), k), j));
  const ExprId at = b.add(b.multiply(i, k), j);
  const int sum[] = {b.load(gradient, at),
                     b.reduce(Reduction::fma, row, b.integer(0), b.load_index(count, b.integer(0)),
                              x, y, row_block)};
  s.stores = {{gradient, at, b.emit(Opcode::add, sum, 0)}};
  kernel.stages = {s};
  return kernel;
}

Kernel function(Opcode opcode, std::int64_t n) {
  Kernel kernel;
  kernel.name = "function";
  KernelBuilder b(kernel);
  const BufferId x = b.buffer({.role = BufferRole::scratch, .a = 0, .row_elements = n});
  const BufferId y = b.buffer({.role = BufferRole::scratch, .a = 1, .row_elements = n});
  Stage s;
  s.row = b.variable();
  s.extents = {n};
  s.variables = {b.variable()};
  const ExprId at = b.add(b.multiply(b.var(s.row), n), b.var(s.variables[0]));
  const int load = b.load(x, at);
  s.stores = {{y, at, b.emit(opcode, {&load, 1}, 0)}};
  kernel.stages = {s};
  return kernel;
}

class Bench {
 public:
  Bench(const Target& target, int tries) : compiler_(target), tries_(tries) {}

  void contractions(const char* title, std::int64_t n, std::int64_t k, int gates, bool cell) {
    const CompiledKernel& kernel = compile(contraction(compiler_.target(), n, k, gates, cell));
    const Packing& packing = kernel.kernel.packings[0];
    fmt::print("{:<34} tile {:>2} x {}", title, kernel.stages[0].row_tile,
               gates * packing.lanes / compiler_.target().width);
    for (std::int64_t rows : {1, 2, 4, 8, 25, 64, 256}) {
      const Floats weights(packing.elements()), left(rows * k), right(rows * k),
          y(rows * n * gates), c(rows * n), bias(n * gates), next_c(rows * n);
      void* buffers[] = {weights.data(), left.data(), right.data(), y.data(),
                         c.data(),       bias.data(), next_c.data()};
      const double time =
          time_of([&] { kernel.stages[0].run(buffers, 0, rows, 0, kernel.stages[0].parts); });
      fmt::print("  {:>3}: {:>5.1f}", rows, 2e-9 * double(rows * n * gates * k) / time);
    }
    fmt::print("\n");
  }

  void outer_products(std::int64_t m, std::int64_t k) {
    const CompiledKernel& kernel = compile(outer_product(m, k));
    fmt::print("{:<45}", fmt::format("outer product {} x {}, rows", m, k));
    for (std::int64_t rows : {8, 64, 512, 4096}) {
      const Floats gradient(m * k), left(rows * m), right(rows * k);
      auto count = static_cast<std::int32_t>(rows);
      void* buffers[] = {gradient.data(), left.data(), right.data(), &count};
      const double time =
          time_of([&] { kernel.stages[0].run(buffers, 0, 0, 0, kernel.stages[0].parts); });
      fmt::print("  {:>4}: {:>5.1f}", rows, 2e-9 * double(rows * m * k) / time);
    }
    fmt::print("\n");
  }

  void functions() {
    fmt::print("functions, 10^9 a second            ");
    for (const auto& [opcode, name] : {std::pair{Opcode::exp, "exp"},
                                       {Opcode::tanh, "tanh"},
                                       {Opcode::log, "log"},
                                       {Opcode::add, "copy"}}) {
      const std::int64_t n = 4096;
      const CompiledKernel& kernel =
          compile(function(opcode == Opcode::add ? Opcode::neg : opcode, n));
      const Floats x(n), y(n);
      void* buffers[] = {x.data(), y.data()};
      fmt::print("  {} {:.2f}", name,
                 1e-9 * n / time_of([&] { kernel.stages[0].run(buffers, 0, 1, 0, 1); }));
    }
    fmt::print("\n");
  }

  void report_compilations() const {
    for (const auto& [name, time] : times_) fmt::print("compiled in {:>5.1f} ms: {}\n", time, name);
  }

 private:
  const CompiledKernel& compile(Kernel kernel) {
    const std::string name = kernel.name;
    const double start = now();
    const CompiledKernel& compiled = compiler_.compile(std::move(kernel));
    times_.emplace_back(name, 1e3 * (now() - start));
    return compiled;
  }

  double time_of(const std::function<void()>& call) const { return seconds(call, tries_); }

  Compiler compiler_;
  int tries_;
  std::vector<std::pair<std::string, double>> times_;
};

}  // namespace

int main(int argc, char** argv) {
  std::vector<Target> targets = host_targets();
  if (argc > 1) {
    try {
      targets = {host_target(argv[1])};
    } catch (const espalier::UserError& error) {
      fmt::print(stderr, "kernel_bench: {}\n", error.what());
      return 2;
    }
  }
  const int tries = argc > 2 ? std::max(std::atoi(argv[2]), 1) : 60;
  for (const Target& target : targets) {
    fmt::print("{} ({}), GFLOP/s on one core by rows\n", target.name, target.cpu);
    Bench bench(target, tries);
    bench.contractions("tree-lstm gates, 5 x 150, K 300", 150, 300, 5, false);
    bench.contractions("tree-lstm cell, 5 x 150, K 300", 150, 300, 5, true);
    bench.contractions("K 512, N 1280", 1280, 512, 1, false);
    bench.contractions("K 150, N 150", 150, 150, 1, false);
    bench.outer_products(750, 150);
    bench.outer_products(450, 300);
    bench.outer_products(2560, 512);
    bench.outer_products(150, 150);
    bench.functions();
    bench.report_compilations();
  }
}
