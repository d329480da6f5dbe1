#include "app/run_report.h"

#include <fmt/format.h>
#include <unistd.h>

#include <cerrno>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <nlohmann/json.hpp>

#include "app/build_info.h"
#include "base/atomic_file.h"
#include "base/error.h"

namespace espalier::app {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

/// The file that the user's name of a result stands for: they may have linked it elsewhere.
fs::path followed(const std::string& file) {
  std::error_code unknown;
  fs::path target = fs::weakly_canonical(file, unknown);
  return unknown ? fs::path(file) : target;
}

/// Whether it is replaced: what is no regular file, such as a device or a pipe, is written to.
bool is_replaced(const fs::path& target) {
  std::error_code absent;
  const fs::file_status status = fs::status(target, absent);
  return !fs::exists(status) || fs::is_regular_file(status);
}

ordered_json epochs_json(const RunReport& report) {
  auto json = ordered_json::array();
  for (std::size_t i = 0; i < report.training.epochs.size(); ++i) {
    const EpochReport& epoch = report.training.epochs[i];
    const StepTotals& totals = report.epochs[i];
    json.push_back({{"epoch", epoch.epoch},
                    {"loss", epoch.loss},
                    {"dev_accuracy", epoch.dev_accuracy},
                    {"best", epoch.best},
                    {"lr", epoch.lr},
                    {"examples", epoch.examples},
                    {"steps", totals.steps},
                    {"allocations", totals.allocations},
                    {"compilations", totals.compilations},
                    {"examples_per_second", totals.examples_per_second()},
                    {"seconds", epoch.seconds}});
  }
  return json;
}

/// Means over the steps; allocations and compilations of the epochs after the first, which warms
/// up.
ordered_json statistics_json(const RunReport& report) {
  const StepStatistics& sum = report.training.statistics;
  const auto steps = static_cast<double>(std::max<std::int64_t>(report.training.steps, 1));
  std::int64_t allocations = 0, compilations = 0;
  for (std::size_t i = 1; i < report.epochs.size(); ++i) {
    allocations += report.epochs[i].allocations;
    compilations += report.epochs[i].compilations;
  }
  return {{"steps", report.training.steps},
          {"calls_per_step", static_cast<double>(sum.calls) / steps},
          {"instances_per_step", static_cast<double>(sum.instances) / steps},
          {"batches_per_step", static_cast<double>(sum.batches) / steps},
          {"launches_per_step", static_cast<double>(sum.launches) / steps},
          {"allocations", sum.allocations},
          {"allocations_after_warm_up", allocations},
          {"compilations", sum.compilations},
          {"compilations_after_warm_up", compilations},
          {"parts_per_step", static_cast<double>(sum.parts) / steps},
          {"bytes_held", sum.bytes_held},
          {"peak_bytes", sum.peak_bytes}};
}

ordered_json seconds_json(const RunReport& report) {
  const StepStatistics& sum = report.training.statistics;
  return {{"total", report.seconds},
          {"training", report.training.training_seconds},
          {"compile", report.compilation.seconds},
          {"record", report.totals.record_seconds},
          {"schedule", sum.schedule_seconds},
          {"layout", sum.layout_seconds},
          {"plan", sum.plan_seconds},
          {"forward", sum.forward_seconds},
          {"backward", sum.backward_seconds},
          {"update", sum.update_seconds}};
}

}  // namespace

double StepTotals::examples_per_second() const {
  return warm_seconds > 0 ? static_cast<double>(warm_examples) / warm_seconds : 0;
}

std::string describe(const data::Dataset& dataset) {
  return fmt::format("{} train, {} dev, {} test trees; {} tokens, {} classes", dataset.train.size(),
                     dataset.dev.size(), dataset.test.size(), dataset.vocabulary.size(),
                     dataset.classes);
}

std::string to_text(const RunReport& report) {
  std::string text;
  if (report.test) text += to_text(*report.test, "test");
  if (report.training.best_epoch > 0)
    text += fmt::format("best dev epoch {} of {}\n", report.training.best_epoch,
                        report.training.epochs.size());
  // Steps that compiled a kernel are not counted; a short run may have no others.
  if (report.totals.warm_seconds > 0)
    text += fmt::format("{:.1f} examples/s in training, ", report.totals.examples_per_second());
  return text + fmt::format("{:.1f} s in all\n", report.seconds);
}

ordered_json to_json(const RunReport& report) {
  ordered_json options = to_json(report.config);
  options["threads"] = report.threads;
  options["target"] = report.target;
  const data::Dataset& data = report.dataset;
  const BuildInfo build = build_info();
  ordered_json json = {
      {"version", build.version},
      {"build", build.type},
      {"options", options},
      {"data",
       {{"train", data.train.size()},
        {"dev", data.dev.size()},
        {"test", data.test.size()},
        {"tokens", data.vocabulary.size()},
        {"classes", data.classes}}},
      {"params", report.params},
      {"epochs", epochs_json(report)},
      {"metric", metric_name(report.config.labels_at)},
      {"best_epoch", report.training.best_epoch},
      {"interrupted", report.training.interrupted},
      {"stopped_early", report.training.stopped_early},
      {"test", nullptr},
      {"examples_per_second", report.totals.examples_per_second()},
      {"statistics", statistics_json(report)},
      {"kernels",
       {{"compiled", report.compilation.compiled}, {"from_disk", report.compilation.from_disk}}},
      {"seconds", seconds_json(report)}};
  if (report.test) json["test"] = to_json(*report.test);
  return json;
}

std::string epochs_csv(const RunReport& report) {
  std::string text = "epoch,loss,dev_accuracy,best,lr,examples,examples_per_second,seconds\n";
  for (const EpochReport& epoch : report.training.epochs)
    text +=
        fmt::format("{},{},{},{},{},{},{:.1f},{:.3f}\n", epoch.epoch, epoch.loss,
                    std::isnan(epoch.dev_accuracy) ? "" : fmt::format("{}", epoch.dev_accuracy),
                    epoch.best ? 1 : 0, epoch.lr, epoch.examples,
                    report.epochs[static_cast<std::size_t>(epoch.epoch - 1)].examples_per_second(),
                    epoch.seconds);
  return text;
}

void say_warnings(std::span<const std::string> warnings) {
  for (const std::string& warning : warnings) std::cerr << "espalier: warning: " << warning << '\n';
}

void say_notes(std::span<const std::string> notes) {
  for (const std::string& note : notes) std::cerr << "espalier: note: " << note << '\n';
}

void check_writable(const std::string& file) {
  if (file.empty() || file == "-") return;
  const fs::path path(file);
  const auto folder = path.has_parent_path() ? path.parent_path() : ".";
  std::error_code unknown;
  const bool in_folder = fs::is_directory(folder, unknown);
  user_check(in_folder, "{}: '{}' is no folder{}", file, folder.string(),
             unknown ? fmt::format(": {}", unknown.message()) : "");
  user_check(!fs::is_directory(path, unknown), "{}: found a folder, expected a file", file);
  const fs::path target = followed(file);
  if (is_replaced(target))
    Draft(target, {});  // gone at once
  else
    user_check(::access(target.c_str(), W_OK) == 0, "{}: cannot be written: {}", file,
               std::system_category().message(errno));
}

std::string json_text(const ordered_json& json) {
  return json.dump(2, ' ', false, ordered_json::error_handler_t::replace) + '\n';
}

void write_json(const std::string& file, const ordered_json& json) {
  const std::string text = json_text(json);
  if (file == "-") {
    std::fwrite(text.data(), 1, text.size(), stdout);
    return;
  }
  const fs::path target = followed(file);
  if (is_replaced(target)) {
    const std::string_view piece = text;
    write_atomically(target, {&piece, 1});
    return;
  }
  std::ofstream stream(target, std::ios::binary);
  user_check(bool(stream << text << std::flush), "{}: cannot be written", file);
}

}  // namespace espalier::app
