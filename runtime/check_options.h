// What can be wrong with an engine's options, checked when it is made and, for the memory limit,
// when a minibatch is about to run.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "codegen/kernel/target.h"
#include "ir/program.h"
#include "runtime/step/optimizer.h"
#include "runtime/step/options.h"

namespace espalier::runtime {

/// `options` with the machine's number of threads and its device filled in. UserError for what this
/// build or machine lacks and for a memory limit below what the params and their gradients take.
EngineOptions checked(EngineOptions options, const ir::Program& program);

/// What kernels are compiled for; options being checked.
codegen::Target target(const EngineOptions& options);

/// Bytes of the params and their dense gradients; those that come by rows depend on the minibatch.
std::int64_t model_bytes(std::span<const StoredParam> params);

/// Throws the UserError that `what` takes more than the limit, or than a GPU has. `recorded` of the
/// bytes, if not 0, are calls of other examples too.
[[noreturn]] void exceeds_limit(std::string_view what, std::int64_t bytes, std::int64_t limit,
                                Device device, std::int64_t recorded = 0);

}  // namespace espalier::runtime
