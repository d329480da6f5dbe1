#include "runtime/update/step_io.h"

#include "runtime/step/inputs.h"
#include "runtime/update/step_kernels.h"

namespace espalier::runtime {
namespace {

/// Calls visit(state, begin, end) for runs of losses of one state.
template <class Visit>
void visit_runs(const Memory& memory, const Visit& visit) {
  const auto losses = memory.losses;
  for (std::size_t begin = 0, end; begin < losses.size(); begin = end) {
    const ir::StateId state = memory.state(losses[begin]);
    for (end = begin + 1; end < losses.size() && memory.state(losses[end]) == state;) ++end;
    visit(state, begin, end);
  }
}

std::int64_t stride() { return codegen::row_stride(1); }

}  // namespace

void KernelStepIo::repack(ParamStore& params) {
  std::vector<codegen::Packing> stale;
  std::vector<const void*> buffers;
  params.repack_with([&](const codegen::Packing& packing, float* copy) {
    stale.push_back(packing);
    buffers.push_back(copy);
  });
  if (stale.empty()) return;
  for (const ir::ParamId param : pack_params(stale)) buffers.push_back(params.data(param));
  plan_.add(kernel_for(pack_kernels_, stale, [&] { return plan_.compile(pack_kernel(stale)); }),
            buffers);
  plan_.run();
}

void KernelStepIo::write_inputs(const Memory& memory, std::size_t first) {
  visit_inputs(memory, first, [&](const InputRows& rows) {
    recorded_.clear();
    for (std::size_t i = 0; i < rows.instances.size(); ++i)
      recorded_.insert(recorded_.end(), rows.row(i).begin(), rows.row(i).end());
    const auto n = std::int64_t(rows.elements);
    const auto make = [&] { return plan_.compile(input_kernel(n, std::int64_t(rows.stride()))); };
    plan_.add(kernel_for(input_kernels_, n, make),
              {plan_.place(recorded_),
               memory.arenas.value(rows.state, rows.field) + rows.first_row * rows.stride()},
              std::int64_t(rows.instances.size()));
  });
  plan_.run();
}

void KernelStepIo::seed_losses(const Memory& memory, float scale) {
  if (!seed_) seed_ = plan_.compile(seed_kernel(stride()));
  const float* const times = plan_.place(std::span<const float>(&scale, 1));
  visit_runs(memory, [&](ir::StateId state, std::size_t begin, std::size_t end) {
    const std::span<const std::int32_t> rows(memory.layout.loss_rows);
    plan_.add(
        *seed_,
        {times, plan_.place(rows.subspan(begin, end - begin)), memory.arenas.gradient(state, 0)},
        std::int64_t(end - begin));
  });
  plan_.run();
}

void KernelStepIo::begin_losses(double sum) {
  results_.forget_losses();
  loss_ = sum;
}

void KernelStepIo::reserve_losses(std::size_t count) {
  results_.reserve(count);
  places_.reserve(count);
  rows_.reserve(count);
}

void KernelStepIo::gather_losses(const Memory& memory) {
  for (const float loss : results_.losses()) loss_ += loss;  // of an earlier part
  float* const to = results_.for_losses(memory.losses.size());
  if (!gather_) gather_ = plan_.compile(gather_kernel(stride()));
  visit_runs(memory, [&](ir::StateId state, std::size_t begin, std::size_t end) {
    places_.clear();
    rows_.clear();
    for (std::size_t i = begin; i < end; ++i) {
      places_.push_back(std::int32_t(1 + i));
      rows_.push_back(std::int32_t(memory.layout.rows[memory.losses[i]]));
    }
    plan_.add(*gather_,
              {plan_.place(places_), plan_.place(rows_), memory.arenas.value(state, 0), to},
              std::int64_t(end - begin));
  });
  plan_.run();
}

double KernelStepIo::take_loss() {
  double loss = std::exchange(loss_, 0);
  for (const float each : results_.losses()) loss += each;
  results_.forget_losses();
  return loss;
}

Staged KernelStepIo::staged(const Memory& memory, const StepRequest& request) const {
  Staged result;
  // Places and rows to gather, rows to seed; and the pointers to them.
  const int kernels = request.backward() ? 2 : 1;
  result.add(sizeof(float));
  visit_runs(memory, [&](ir::StateId, std::size_t begin, std::size_t end) {
    for (int i = 0; i <= kernels; ++i) result.add((end - begin) * sizeof(std::int32_t));
    result.add(std::size_t(kernels) * 4 * sizeof(void*));
    result.launches += std::size_t(kernels);
  });
  visit_inputs(memory, 0, [&](const InputRows& rows) {
    result.add(rows.instances.size() * rows.elements * sizeof(float));
    result.add(2 * sizeof(void*));
    ++result.launches;
  });
  return result;
}

}  // namespace espalier::runtime
