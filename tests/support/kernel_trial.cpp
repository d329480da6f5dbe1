#include "tests/support/kernel_trial.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "base/error.h"
#include "codegen/kernel/interpreter.h"
#include "codegen/kernel/print.h"
#include "codegen/kernel/split_rows.h"
#include "codegen/kernel/verify.h"
#include "ir/evaluate.h"
#include "ir/op.h"
#include "ir/passes/fuse_contractions.h"
#include "ir/passes/pipeline.h"
#include "ir/passes/simplify.h"
#include "ir/verify.h"
#include "tests/support/random_programs.h"
#include "tests/support/rounding.h"

namespace espalier::test {

using codegen::Kernel;
using ir::Array;

namespace {

constexpr float already_there = -77;  // what param gradients hold before the kernels add to them

/// Values of the two graphs of a cell, for one instance.
struct Values {
  std::vector<Array> forward, backward;
};

/// Roundings drawn by a salt; in double with none.
std::vector<Array> evaluate(const ir::Graph& graph, const CellInputs& inputs,
                            const ir::LeafData& leaf, std::uint64_t salt) {
  return salt == 0 ? ir::evaluate(graph, inputs.children, leaf)
                   : evaluate_rounded(graph, inputs.children, leaf, salt);
}

Values run(const ir::Differentiated& d, std::size_t fields, const CellInputs& inputs,
           const std::vector<std::vector<double>>& cotangents, std::uint64_t salt) {
  Values values;
  const ir::LeafData ports_and_params = leaves(inputs);
  values.forward = evaluate(d.forward.graph, inputs, ports_and_params, salt);
  const auto output = [&](std::size_t i) {
    return values.forward[std::size_t(d.forward.outputs.at(i))].data;
  };
  values.backward = evaluate(
      d.backward.graph, inputs,
      [&](const ir::Node& node) {
        const auto number = std::size_t(node.attributes.ints[0]);
        if (node.op->id == ir::OpId::cotangent) return cotangents.at(number);
        if (node.op->id == ir::OpId::output) return output(number);
        if (node.op->id == ir::OpId::residual) return output(fields + number);
        return ports_and_params(node);
      },
      salt);
  return values;
}

/// Calls body(element of the param, term) for the terms of a contribution that is no row.
template <class Body>
void each_term(const ir::ParamContribution& c, const std::vector<Array>& values, const Body& body) {
  const Array& left = values[std::size_t(c.left)];
  const std::size_t size = std::size_t(left.shape.size());
  for (std::size_t child = 0; child < std::size_t(left.count()); ++child) {
    const double* const l = left.data.data() + child * size;
    if (c.kind == ir::ParamContribution::Kind::sum) {
      for (std::size_t i = 0; i < size; ++i) body(i, l[i]);
      continue;
    }
    const Array& right = values[std::size_t(c.right)];
    const std::size_t products = left.shape.rank() == 2 ? std::size_t(left.shape[0]) : 1;
    const std::size_t m = size / products, k = std::size_t(right.shape.size()) / products;
    const double* const r = right.data.data() + child * products * k;
    for (std::size_t t = 0; t < products; ++t)
      for (std::size_t i = 0; i < m; ++i)
        for (std::size_t j = 0; j < k; ++j) body(i * k + j, l[t * m + i] * r[t * k + j]);
  }
}

}  // namespace

KernelPath interpreted(const codegen::Target& target) {
  return {"interpreted for " + target.name, target,
          [target](const Kernel& kernel, int stage, void* const* buffers, std::int64_t begin,
                   std::int64_t end) {
            codegen::interpret(kernel, stage, buffers, begin, end, {.fma = target.fma});
          }};
}

KernelPath compiled(std::shared_ptr<codegen::Compiler> compiler) {
  const codegen::Target target = compiler->target();
  return {"compiled for " + target.name, target,
          [compiler](const Kernel& kernel, int stage, void* const* buffers, std::int64_t begin,
                     std::int64_t end) {
            const auto& made = compiler->compile(kernel).stages[std::size_t(stage)];
            made.run(buffers, begin, end, 0, made.parts);
          }};
}

struct KernelTrial::Impl {
  using Rows = std::vector<std::vector<double>>;
  static constexpr std::uint64_t few_salts = 3, many_salts = 24;

  const ir::Program& program;
  const ir::Cell& source;
  Random random;
  std::vector<CellInputs> inputs;
  std::vector<Rows> cotangents;  // [instance][field]
  ir::Cell cell;
  ir::Differentiated d;
  codegen::BackwardStorage storage;
  std::vector<std::vector<Values>> values;  // [salt][instance]
  double worst = 0;

  Impl(const ir::Program& of, std::uint64_t seed)
      : program(of), source(of.cells.at(0)), random(seed ^ 0x5eed) {
    const int children = 1 + random.integer(3);
    const int instances = random.chance(0.1) ? 13 : 1 + random.integer(4);
    for (int i = 0; i < instances; ++i) {
      CellInputs& of_one = inputs.emplace_back(random_inputs(
          program, source, random, random_index_bound, i == 0 ? children : random.integer(4)));
      of_one.params = inputs[0].params;
      of_one.uniform = [i](int mask, int child, std::int64_t position) {
        return codegen::random_uniform(
            KernelHarness::key(std::size_t(i)), std::uint32_t(mask),
            std::uint32_t(position + child * codegen::child_counter_stride));
      };
      Rows& own = cotangents.emplace_back();
      for (const ir::Type& field : fields()) own.push_back(random.reals(field.shape.size(), -1, 1));
      for (auto& [port, data] : of_one.ports) to_floats(data);
      for (auto& data : of_one.params) to_floats(data);
      for (auto& data : own) to_floats(data);
    }
  }

  static void to_floats(std::vector<double>& data) {
    for (double& x : data) x = float(x);
  }

  const std::vector<ir::Type>& fields() const {
    return program.states[std::size_t(source.state)].fields;
  }

  // ---- in double

  Fault check_passes() {
    ir::verify(program);
    cell = ir::simplify(ir::fuse_contractions(source));
    ir::verify(cell, program);
    d = ir::training_cells(program, source);
    ir::verify(d, program);
    storage = codegen::backward_storage(d.backward);
    add_salts(1);
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      const Rows wanted = outputs(source, inputs[i]);
      for (std::size_t f = 0; f < wanted.size(); ++f) {
        const Array& got = values[0][i].forward[std::size_t(d.forward.outputs[f])];
        for (std::size_t e = 0; e < wanted[f].size(); ++e) {
          if (!std::isfinite(float(wanted[f][e]))) return {"not finite", "an output in double"};
          if (!(std::abs(got.data[e] - wanted[f][e]) <= 1e-9 * (1 + std::abs(wanted[f][e]))))
            return {"passes change values", fmt::format("field {} at {}: {} instead of {}", f, e,
                                                        got.data[e], wanted[f][e])};
        }
      }
    }
    return check_slope();
  }

  /// Central differences along one random direction of everything, for the first instance.
  Fault check_slope() {
    if (withholds_gradients()) return {};
    const CellInputs& at = inputs[0];
    CellInputs direction = at;
    for (auto& [port, data] : direction.ports) {
      const bool index = source.ports[std::size_t(port.first)].kind == ir::PortKind::index;
      for (double& x : data) x = index ? 0 : random.real(-1, 1);
    }
    for (auto& data : direction.params)
      for (double& x : data) x = random.real(-1, 1);

    double gradient = 0, size = 1;
    const auto meet = [&](const std::vector<double>& a, const std::vector<double>& b) {
      for (std::size_t i = 0; i < a.size(); ++i) {
        gradient += a[i] * b[i];
        size += std::abs(a[i] * b[i]);
      }
    };
    const Gradients gradients = backward(program, d, at, cotangents[0]);
    for (const auto& [port, data] : gradients.ports) meet(data, direction.ports.at(port));
    for (std::size_t p = 0; p < gradients.params.size(); ++p)
      meet(gradients.params[p], direction.params[p]);

    // A kink or a jump between the points bends the slope by twice what it changes it by; two of
    // them may cancel, but not at every step.
    Fault fault;
    for (const double h : {1e-5, 1e-6, 3e-7}) {
      const double low = objective(at, direction, -h), middle = objective(at, direction, 0),
                   high = objective(at, direction, h);
      const double slope = (high - low) / (2 * h), bend = std::abs(high - 2 * middle + low) / h;
      if (std::abs(slope - gradient) <= 1e-5 * size + bend) return {};
      fault = {"gradient", fmt::format("{} along a direction, central differences {} (h = {}, "
                                       "bend {}, terms of size {})",
                                       gradient, slope, h, bend, size)};
    }
    return fault;
  }

  double objective(const CellInputs& at, const CellInputs& direction, double h) const {
    CellInputs moved = at;
    const auto move = [h](std::vector<double>& x, const std::vector<double>& by) {
      for (std::size_t i = 0; i < x.size(); ++i) x[i] += h * by[i];
    };
    for (auto& [port, data] : moved.ports) move(data, direction.ports.at(port));
    for (std::size_t p = 0; p < moved.params.size(); ++p)
      move(moved.params[p], direction.params[p]);
    const Rows result = outputs(source, moved);
    double sum = 0;
    for (std::size_t f = 0; f < result.size(); ++f)
      for (std::size_t e = 0; e < result[f].size(); ++e) sum += cotangents[0][f][e] * result[f][e];
    return sum;
  }

  /// Whether the source itself stops gradients (that of a composite is no such op).
  bool withholds_gradients() const {
    return std::ranges::any_of(source.graph.nodes(), [](const ir::Node& node) {
      const double x[3] = {0.3, 0.5, 0.7}, y[3] = {0.31, 0.52, 0.73};
      return node.op->kind == ir::OpClass::elementwise && !node.op->gradient &&
             node.op->evaluate(x) != node.op->evaluate(y);
    });
  }

  void add_salts(std::uint64_t count) {
    while (values.size() < count) {
      auto& all = values.emplace_back();
      for (std::size_t i = 0; i < inputs.size(); ++i)
        all.push_back(run(d, fields().size(), inputs[i], cotangents[i], values.size() - 1));
    }
  }

  // ---- kernels

  std::vector<Kernel> kernels(const codegen::Target& target) const {
    std::vector<Kernel> all = {
        codegen::lower_forward(program, d.forward, target),
        codegen::lower_backward(cell, d.backward, target),
        codegen::lower_weight_gradient(cell, d.backward,
                                       std::vector<bool>(d.backward.contributions.size(), true))};
    if (target.kind == codegen::TargetKind::cuda) all[2] = codegen::split_rows(all[2]);
    return all;
  }

  Fault check_kernels(const KernelPath& path) {
    const std::vector<Kernel> all = kernels(path.target);
    for (const Kernel& kernel : all) {
      try {
        codegen::verify_kernel(kernel);
      } catch (const InternalError& error) {
        return {"refused by verify_kernel",
                fmt::format("{}\n{}", error.what(), codegen::print_kernel(kernel))};
      }
    }
    KernelHarness harness(program, cell, inputs, random);
    const auto with_text = [&](Fault fault, const Kernel& kernel) {
      if (fault) fault.what += "\n" + codegen::print_kernel(kernel);
      return fault;
    };
    harness.run(all[0], path.run);
    if (Fault fault = with_text(check_forward(harness), all[0])) return fault;
    harness.set_cotangents(cotangents);
    harness.run(all[1], path.run);
    if (Fault fault = with_text(check_backward(harness), all[1])) return fault;
    harness.run(all[2], path.run);
    return with_text(check_weights(harness), all[2]);
  }

  /// `actual` against node `node` of one of the graphs, of one instance.
  Fault compare(std::span<const float> actual, std::size_t instance,
                std::vector<Array> Values::* graph, ir::NodeId node, const std::string& what) {
    return compare(actual, what, [&](std::uint64_t salt) -> const std::vector<double>& {
      return (values[salt][instance].*graph)[std::size_t(node)].data;
    });
  }

  /// `of(salt)` are the expected values in double and with some roundings.
  template <class Of>
  Fault compare(std::span<const float> actual, const std::string& what, const Of& of,
                const std::vector<double>& more = {}) {
    for (const std::uint64_t salts : {few_salts, many_salts}) {
      add_salts(salts + 1);
      if (actual.size() != of(0).size())
        return {what, fmt::format("{} elements instead of {}", actual.size(), of(0).size())};
      std::string found;
      double largest = 0;
      for (std::size_t e = 0; e < actual.size(); ++e) {
        const double wanted = of(0)[e];
        double allowed = 2 * kRounding * std::abs(wanted) + 1e-36 + (more.empty() ? 0 : more[e]);
        for (std::uint64_t salt = 1; salt <= salts; ++salt)
          allowed = std::max(allowed, 2 * std::abs(of(salt)[e] - wanted) + kRounding * 1e-3);
        const double error = std::abs(double(actual[e]) - wanted);
        if (error <= allowed) {
          largest = std::max(largest, error / allowed);
          continue;
        }
        found += fmt::format("  at {}: {} instead of {}, {:.2g} off where {:.2g} is allowed\n", e,
                             actual[e], wanted, error, allowed);
      }
      if (found.empty()) {
        worst = std::max(worst, largest);
        return {};
      }
      const bool stale = std::ranges::any_of(actual, [](float x) { return std::isnan(x); });
      if (salts == many_salts)
        return {what + (stale ? ": read before it was stored" : ""), what + "\n" + found};
    }
    return {};
  }

  Fault check_forward(const KernelHarness& harness) {
    for (std::size_t i = 0; i < inputs.size(); ++i)
      for (std::size_t f = 0; f < fields().size(); ++f)
        if (Fault fault = compare(harness.output(int(i), int(f)), i, &Values::forward,
                                  d.forward.outputs[f], "output"))
          return fault;
    return {};
  }

  Fault check_backward(const KernelHarness& harness) {
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      for (const ir::ChildGradient& g : d.backward.child_gradients)
        if (Fault fault = compare(harness.child_gradient(int(i), g.port, g.field), i,
                                  &Values::backward, g.output, "child gradient"))
          return fault;
      for (std::size_t c = 0; c < storage.stored.size(); ++c) {
        const ir::NodeId node = storage.stored[c];
        const ir::Type& type = d.backward.graph[node].type;
        if (Fault fault =
                compare(harness.contribution(int(i), int(c), type.shape.size(), type.children), i,
                        &Values::backward, node, "contribution"))
          return fault;
      }
    }
    return {};
  }

  /// Rows are added by the runtime; all else by the kernel.
  Fault check_weights(const KernelHarness& harness) {
    using Kind = ir::ParamContribution::Kind;
    for (std::size_t p = 0; p < program.params.size(); ++p) {
      const auto size = std::size_t(program.params[p].shape.size());
      std::vector<double> terms(size, std::abs(double(already_there)));
      double count = 2;
      bool written = false;
      std::vector<std::vector<double>> sums;  // by salt
      const auto sum = [&](std::uint64_t salt) -> const std::vector<double>& {
        while (sums.size() <= salt) {
          const bool first = sums.empty();
          auto& total = sums.emplace_back(size, double(already_there));
          for (const ir::ParamContribution& c : d.backward.contributions) {
            if (std::size_t(c.param) != p || c.kind == Kind::rows) continue;
            written = true;
            for (const Values& of : values[sums.size() - 1])
              each_term(c, of.backward, [&](std::size_t at, double term) {
                total[at] += term;
                if (first) terms[at] += std::abs(term);
                if (first && at == 0) ++count;
              });
          }
        }
        return sums[salt];
      };
      sum(0);
      if (!written) continue;
      for (double& x : terms) x *= count * kRounding;
      if (Fault fault = compare(harness.param_gradient(int(p)), "weight gradient", sum, terms))
        return fault;
    }
    return {};
  }
};

KernelTrial::KernelTrial(const ir::Program& program, std::uint64_t seed)
    : impl_(std::make_unique<Impl>(program, seed)) {}
KernelTrial::~KernelTrial() = default;

Fault KernelTrial::check_passes() {
  return guarded([&] { return impl_->check_passes(); });
}
Fault KernelTrial::check_kernels(const KernelPath& path) {
  Fault fault = guarded([&] { return impl_->check_kernels(path); });
  if (fault) fault.what = path.name + ": " + fault.what;
  return fault;
}
std::vector<Kernel> KernelTrial::kernels(const codegen::Target& target) const {
  return impl_->kernels(target);
}
double KernelTrial::worst() const { return impl_->worst; }

}  // namespace espalier::test
