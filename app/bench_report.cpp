#include "app/bench_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "app/build_info.h"
#include "app/choices.h"
#include "bench/measure/statistics.h"

namespace espalier::app {
namespace {

using bench::Spread;
using nlohmann::ordered_json;

/// A figure of each step, in the order of the steps.
template <class Figure>
std::vector<double> each(const StepBenchReport& report, Figure figure) {
  std::vector<double> values;
  values.reserve(report.samples.size());
  for (const StepSample& sample : report.samples)
    values.push_back(figure(sample, report.minibatches[sample.minibatch]));
  return values;
}

template <class Figure>
double median(const StepBenchReport& report, Figure figure) {
  return bench::spread(each(report, figure)).median;
}

/// Over all steps.
template <class Figure>
auto sum(const StepBenchReport& report, Figure figure) {
  decltype(figure(StepSample())) result = 0;
  for (const StepSample& sample : report.samples) result += figure(sample);
  return result;
}

/// The figures that both forms show.
struct Figures {
  explicit Figures(const StepBenchReport& report) {
    const auto rate = [&](auto amount) {
      return bench::spread(each(report, [&](const StepSample& s, const MinibatchFacts& m) {
        return static_cast<double>(amount(m)) / s.total;
      }));
    };
    examples = rate([](const MinibatchFacts& m) { return m.trees; });
    nodes = rate([](const MinibatchFacts& m) { return m.nodes; });
    tokens = rate([](const MinibatchFacts& m) { return m.tokens; });
    flops = rate([](const MinibatchFacts& m) { return m.flops; });
    roofline = rate([](const MinibatchFacts& m) { return m.floor_seconds; });
    step = bench::spread(each(report, [](const auto& s, const auto&) { return s.total; }));
    token = bench::spread(each(report, [](const auto& s, const auto& m) {
      return s.total * 1e6 / static_cast<double>(m.tokens);
    }));
    const auto part = [&](auto seconds) {
      return median(report, [&](const StepSample& s, const auto&) { return seconds(s); });
    };
    const auto statistic = [&](auto StepStatistics::* member) {
      return part([&](const StepSample& s) { return double(s.statistics.*member); });
    };
    seconds = {{"record", part([](const StepSample& s) { return s.record; })},
               {"schedule", statistic(&StepStatistics::schedule_seconds)},
               {"layout", statistic(&StepStatistics::layout_seconds)},
               {"plan", statistic(&StepStatistics::plan_seconds)},
               {"forward", statistic(&StepStatistics::forward_seconds)},
               {"backward", statistic(&StepStatistics::backward_seconds)},
               {"update", statistic(&StepStatistics::update_seconds)}};
    if (report.on_gpu) {
      seconds.emplace_back("submit", statistic(&StepStatistics::submit_seconds));
      seconds.emplace_back("wait", statistic(&StepStatistics::wait_seconds));
    }
    model_flops = median(report, [](const auto&, const auto& m) { return m.flops; });
    unshared_flops = median(report, [](const auto&, const auto& m) { return m.unshared_flops; });
    calls = median(report, [](const auto&, const auto& m) { return double(m.calls); });
    instances = median(report, [](const auto&, const auto& m) { return double(m.instances); });
    launches = statistic(&StepStatistics::launches);
    batches = statistic(&StepStatistics::batches);
    device_launches = statistic(&StepStatistics::device_launches);
    device_copies = statistic(&StepStatistics::device_copies);
    // Of which a median would say 0 or 1.
    device_replays =
        double(sum(report, [](const StepSample& s) { return s.statistics.device_replays; })) /
        double(report.samples.size());
    device_walks = statistic(&StepStatistics::device_walks);
    walked_launches = statistic(&StepStatistics::walked_launches);
    grid_barriers = statistic(&StepStatistics::grid_barriers);
    device_contractions = statistic(&StepStatistics::device_contractions);
    split_into =
        part([](const StepSample& s) { return std::max(1.0, double(s.statistics.parts)); });
    lower_bound = median(report, [](const auto&, const auto& m) { return double(m.lower_bound); });
    allocations = sum(report, [](const StepSample& s) { return s.statistics.allocations; });
    compilations = sum(report, [](const StepSample& s) { return s.statistics.compilations; });
    loss = sum(report, [](const StepSample& s) { return s.loss; }) /
           static_cast<double>(std::max<std::size_t>(1, report.samples.size()));
  }

  Spread examples, nodes, tokens, flops, roofline, step, token;
  std::vector<std::pair<const char*, double>> seconds;
  double model_flops, unshared_flops, calls, instances, launches, batches, lower_bound, loss;
  double split_into;
  double device_launches, device_copies, device_replays, device_walks, walked_launches,
      grid_barriers, device_contractions;
  std::int64_t allocations, compilations;
};

ordered_json to_json(const Spread& s) {
  return {{"median", s.median}, {"min", s.min}, {"q1", s.q1}, {"q3", s.q3}, {"max", s.max}};
}

ordered_json settings(const StepBenchConfig& config, const StepBenchReport& report) {
  const RunConfig& run = config.run;
  ordered_json json = {{"model", run.model},
                       {"data", run.data.spec},
                       {"examples", run.data.examples},
                       {"hidden", run.hidden},
                       {"embed", run.embed},
                       {"classes", report.classes},
                       {"vocabulary", report.vocabulary},
                       {"params", report.params},
                       {"loss", name_of(label_places, run.labels_at)},
                       {"minibatch", run.batch},
                       {"minibatches", report.minibatches_a_round},
                       {"shuffle", config.shuffle},
                       {"pass", config.training ? "train" : "forward"},
                       {"optimizer", run.optimizer},
                       {"lr", run.lr},
                       {"seed", run.seed},
                       {"seconds", config.seconds},
                       {"check_steps", config.check_steps},
                       {"load_weights", config.load_weights},
                       {"kernel_cache", !run.engine.cache_directory.empty()},
                       {"espalier", build_info().version},
                       {"build", build_info().type}};
  json.update(app::to_json(run.engine));
  // What it came to.
  json["threads"] = report.threads;
  json["target"] = report.target;
  json["device"] = name_of(devices, report.on_gpu ? Device::cuda : Device::cpu);
  return json;
}

ordered_json parts_json(const StepBenchReport& report) {
  ordered_json parts = ordered_json::array();
  for (const PartRow& part : report.parts) {
    ordered_json stages = ordered_json::array();
    for (const PartRow::Stage& stage : part.stages)
      stages.push_back(
          {{"launches", stage.launches}, {"rows", stage.rows}, {"seconds", stage.seconds}});
    const double seconds = part.seconds();
    parts.push_back({{"name", part.name},
                     {"batches", part.batches},
                     {"instances", part.instances},
                     {"launches", part.launches()},
                     {"flops", part.flops},
                     {"seconds", seconds},
                     {"flops_per_second", seconds > 0 ? part.flops / seconds : 0},
                     {"floor_seconds", part.floor_seconds},
                     {"fraction_of_floor", seconds > 0 ? part.floor_seconds / seconds : 0},
                     {"bytes_gathered", part.copied_bytes},
                     {"stages", std::move(stages)}});
  }
  return parts;
}

std::string parts_text(const StepBenchReport& report) {
  std::string text = fmt::format("\n{:<24}{:>9}{:>11}{:>10}{:>12}{:>11}{:>10}\n", "µs a step",
                                 "batches", "rows", "µs", "floor µs", "GFLOP/s", "of floor");
  // One byte more than a column: µ takes two.
  const auto number = [](double value, int width, int digits) {
    return fmt::format("{:>{}.{}f}", value, width, digits);
  };
  for (const PartRow& part : report.parts) {
    const double seconds = part.seconds();
    text += fmt::format("{:<23}", part.name) + number(part.batches, 9, 1) +
            number(part.instances, 11, 1) + number(seconds * 1e6, 10, 1);
    if (part.flops > 0 && seconds > 0)
      text += number(part.floor_seconds * 1e6, 11, 1) + number(part.flops / seconds * 1e-9, 11, 1) +
              number(part.floor_seconds / seconds, 10, 2);
    text += '\n';
    if (part.stages.size() < 2) continue;
    for (std::size_t stage = 0; stage < part.stages.size(); ++stage)
      text += fmt::format("  stage {:<15}", stage) + number(part.stages[stage].launches, 9, 1) +
              number(part.stages[stage].rows, 11, 1) +
              number(part.stages[stage].seconds * 1e6, 10, 1) + '\n';
  }
  return text;
}

}  // namespace

ordered_json to_json(const StepBenchConfig& config, const StepBenchReport& report) {
  const Figures f(report);
  ordered_json seconds, curve = ordered_json::array();
  for (const auto& [name, value] : f.seconds) seconds[name] = value;
  for (const bench::Bandwidth& b : report.machine.bandwidth)
    curve.push_back(
        {{"bytes_per_thread", b.bytes_per_thread}, {"bytes_per_second", b.bytes_per_second}});
  ordered_json json = {
      {"settings", settings(config, report)},
      {"examples_per_second", f.examples.median},
      {"nodes_per_second", f.nodes.median},
      {"tokens_per_second", f.tokens.median},
      {"microseconds_per_token", f.token.median},
      {"calls", f.calls},
      {"instances", f.instances},
      {"model_flops", f.model_flops},
      {"model_flops_unshared", f.unshared_flops},
      {"model_flops_per_second", f.flops.median},
      {"peak_flops_per_second", report.machine.flops},
      {"peak_flops_per_second_one_thread", report.machine.flops_one_thread},
      {"peak_vectors", report.machine.vectors},
      {"fraction_of_peak", f.flops.median / report.machine.flops},
      {"fraction_of_roofline", f.roofline.median},
      {"seconds", std::move(seconds)},
      {"step_seconds", to_json(f.step)},
      {"spread",
       {{"examples_per_second", to_json(f.examples)},
        {"nodes_per_second", to_json(f.nodes)},
        {"microseconds_per_token", to_json(f.token)}}},
      {"steps", report.samples.size()},
      {"rounds", report.rounds},
      {"warmup_steps", report.warmup_steps},
      {"launches", f.launches},
      {"batches", f.batches},
      {"launch_lower_bound", f.lower_bound},
      {"bytes_gathered", report.bytes_gathered},
      {"allocations_after_warmup", f.allocations},
      {"compilations_after_warmup", f.compilations},
      {"compile_seconds", report.compilation.seconds},
      {"kernels",
       {{"compiled", report.compilation.compiled}, {"from_disk", report.compilation.from_disk}}},
      {"peak_bytes", report.peak_bytes},
      {"forecast_bytes", report.forecast_bytes},
      {"split_into", f.split_into},
      {"peak_resident_bytes", report.peak_resident_bytes},
      {"loss", f.loss},
      {"first_losses", report.first_losses},
      {"bandwidth", std::move(curve)},
      {"profiled_steps", report.profiled_steps},
      {"warnings", report.warnings},
      {"parts", parts_json(report)}};
  if (!report.on_gpu) return json;
  // What was not measured is not there.
  for (const char* name : {"peak_flops_per_second", "peak_flops_per_second_one_thread",
                           "peak_vectors", "fraction_of_peak", "fraction_of_roofline", "bandwidth"})
    json[name] = nullptr;
  for (ordered_json& part : json["parts"])
    part["floor_seconds"] = part["fraction_of_floor"] = nullptr;
  json["device_launches"] = f.device_launches;
  json["device_copies"] = f.device_copies;
  json["device_replays"] = f.device_replays;
  json["device_walks"] = f.device_walks;
  json["walked_launches"] = f.walked_launches;
  json["grid_barriers"] = f.grid_barriers;
  json["device_contractions"] = f.device_contractions;
  return json;
}

std::string to_text(const StepBenchConfig& config, const StepBenchReport& report, bool parts) {
  const Figures f(report);
  const RunConfig& run = config.run;
  std::string text;
  const auto line = [&](std::string_view name, const std::string& value) {
    text += fmt::format("{:<16}{}\n", name, value);
  };
  const auto rate = [](const Spread& s, std::string_view unit) {
    return fmt::format("{:.6g} {} (quartiles {:.6g} to {:.6g})", s.median, unit, s.q1, s.q3);
  };
  line("step", fmt::format("{} {} {}/{}, batch {}, {}, strategy {}, {}, {} {}",
                           config.training ? "train" : "forward", run.model, run.hidden, run.embed,
                           run.batch, run.data.spec, run.engine.strategy, report.target,
                           report.threads, report.threads == 1 ? "thread" : "threads"));
  line("examples", rate(f.examples, "a second"));
  line("nodes", rate(f.nodes, "a second"));
  line("tokens", rate(f.token, "µs each"));
  if (report.on_gpu)
    line("flops", fmt::format("{:.1f} GFLOP/s", f.flops.median * 1e-9));
  else
    line("flops",
         fmt::format("{:.1f} GFLOP/s, {:.3f} of the peak of {:.1f} ({}), {:.3f} of the "
                     "roofline",
                     f.flops.median * 1e-9, f.flops.median / report.machine.flops,
                     report.machine.flops * 1e-9, report.machine.vectors, f.roofline.median));
  line("ms a step",
       fmt::format("{:.4g} (min {:.4g}, quartiles {:.4g} to {:.4g}, max {:.4g}; {} "
                   "steps, {} rounds)",
                   f.step.median * 1e3, f.step.min * 1e3, f.step.q1 * 1e3, f.step.q3 * 1e3,
                   f.step.max * 1e3, report.samples.size(), report.rounds));
  std::string shares;
  for (const auto& [name, seconds] : f.seconds)
    shares += fmt::format("{}{} {:.4g}", shares.empty() ? "" : ", ", name, seconds * 1e3);
  line("", shares);
  line("batches", fmt::format("{:.0f} a step, at least {:.0f} needed; {:.0f} launches", f.batches,
                              f.lower_bound, f.launches));
  if (report.on_gpu)
    line("device",
         fmt::format("{:.1f} launches and {:.1f} copies a step; {:.1f} of them are replays, {:.1f} "
                     "walk {:.1f} launches with {:.1f} barriers; {:.1f} products are cuBLAS's",
                     f.device_launches, f.device_copies, f.device_replays, f.device_walks,
                     f.walked_launches, f.grid_barriers, f.device_contractions));
  line("calls",
       fmt::format("{:.0f} a step, run as {:.0f} instances; {:.4g} GFLOP of {:.4g} unshared",
                   f.calls, f.instances, f.model_flops * 1e-9, f.unshared_flops * 1e-9));
  line("gathered", fmt::format("{:.0f} bytes a step", report.bytes_gathered));
  line("after warm-up", fmt::format("{} allocations, {} compilations in {} steps", f.allocations,
                                    f.compilations, report.samples.size()));
  line("kernels", fmt::format("{} compiled, {} from disk, in {:.3f} s", report.compilation.compiled,
                              report.compilation.from_disk, report.compilation.seconds));
  const auto mebibytes = [](std::int64_t bytes) { return double(bytes) / (1 << 20); };
  line("memory", fmt::format("{:.1f} MiB held by the engine at most, {:.1f} predicted; {:.1f} "
                             "resident; minibatches in {:.0f} parts",
                             mebibytes(report.peak_bytes), mebibytes(report.forecast_bytes),
                             mebibytes(report.peak_resident_bytes), f.split_into));
  line("loss", fmt::format("{:.6g} on average; at first {:.6g}", f.loss,
                           fmt::join(report.first_losses, ", ")));
  if (report.on_gpu) return parts ? text + parts_text(report) : text;
  std::string curve;
  for (const bench::Bandwidth& b : report.machine.bandwidth)
    curve += fmt::format("{}{:.0f} KiB {:.1f}", curve.empty() ? "" : ", ",
                         b.bytes_per_thread / 1024, b.bytes_per_second * 1e-9);
  line("reads, GB/s", curve + " (a thread's working set)");
  return parts ? text + parts_text(report) : text;
}

}  // namespace espalier::app
