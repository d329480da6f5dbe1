#include "runtime/update/optimizer_state.h"

#include <exception>

namespace espalier::runtime {

struct OptimizerState::Home final : KeptElsewhere {
  OptimizerState* owner = nullptr;
  UpdateExpression* update = nullptr;
  void bring_back() override {
    if (owner) owner->bring_back();
  }
};

OptimizerState::~OptimizerState() {
  if (!home_) return;
  try {
    if (home_.use_count() > 1) bring_back();
  } catch (const std::exception&) {
    // The device has failed, and said so before.
  }
  if (home_) home_->owner = nullptr;
}

bool OptimizerState::attach(UpdateExpression& update, std::size_t params) {
  if (home_ && update.kept_at() == home_.get()) return false;
  if (home_ && home_.use_count() > 1) bring_back();
  home_ = std::make_shared<Home>();
  update.keep_at(home_);
  home_->owner = this;
  home_->update = &update;
  kept_.clear();
  for (std::size_t p = 0; p < params; ++p) {
    std::vector<Buffer<float>>& kept = kept_.emplace_back();
    for (int i = 0; i < update.kept(ir::ParamId(p)); ++i) {
      const std::span<const float> from = update.kept_values(ir::ParamId(p), i);
      kept.emplace_back(counter_, &memory_).reserve(from.size());
      memory_.write(kept.back().data(), from.data(), from.size_bytes());
    }
  }
  return true;
}

void OptimizerState::bring_back() {
  UpdateExpression& update = *home_->update;
  for (std::size_t p = 0; p < kept_.size(); ++p)
    for (std::size_t i = 0; i < kept_[p].size(); ++i) {
      const std::span<float> to = update.kept_values(ir::ParamId(p), int(i));
      memory_.read(to.data(), kept_[p][i].data(), to.size_bytes());
    }
  home_->owner = nullptr;
  home_.reset();
}

}  // namespace espalier::runtime
