#include "ir/record/instances.h"

#include "base/error.h"
#include "ir/record/recorder.h"

namespace espalier {

Instances::Instances(ir::Recorder& recorder)
    : recorder_(&recorder), generation_(recorder.generation()) {}

ir::Recorder& Instances::recorder() const {
  recorder_->expect_generation(generation_);
  return *recorder_;
}

void Instances::loss(const ir::CallHandle& call) const { recorder().loss(resolve(call)); }

void Instances::begin_example(std::uint64_t id) const { recorder().begin_example(id); }

std::size_t Instances::size() const { return recorder().size(); }

ir::CallHandle Instances::record(ir::CellId cell, std::uint32_t mark,
                                 std::span<const ir::CallId> operands,
                                 std::span<const std::int32_t> indices) const {
  ir::Recorder& to = recorder();
  to.expect(cell, mark);
  return to.handle(to.call(cell, operands, indices));
}

ir::CallLists& Instances::lists() const { return recorder().lists(); }

void Instances::refuse(const ir::CallHandle& handle) const {
  recorder().resolve(handle);
  throw InternalError("a call of this minibatch is refused");
}

}  // namespace espalier
