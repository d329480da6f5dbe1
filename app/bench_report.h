// What `espalier bench step` says: one JSON object under stable names, or a table to read.
#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "app/bench_step.h"

namespace espalier::app {

nlohmann::ordered_json to_json(const StepBenchConfig& config, const StepBenchReport& report);

/// With `parts` also a row for each cell and pass.
std::string to_text(const StepBenchConfig& config, const StepBenchReport& report, bool parts);

}  // namespace espalier::app
