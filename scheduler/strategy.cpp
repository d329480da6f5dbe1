#include "scheduler/strategy.h"

#include <array>
#include <string>

#include "base/error.h"

namespace espalier::scheduler {

// Each is defined in the strategy's own source.
std::unique_ptr<Strategy> make_unbatched();
std::unique_ptr<Strategy> make_depth();
std::unique_ptr<Strategy> make_agenda();
std::unique_ptr<Strategy> make_phase();

std::span<const StrategyInfo> strategies() {
  static constexpr std::array table{
      StrategyInfo{"unbatched", "every instance alone, in recording order: the reference",
                   make_unbatched},
      StrategyInfo{"depth", "instances of one cell at the same depth", make_depth},
      StrategyInfo{"agenda", "all ready instances of the cell of least average depth", make_agenda},
      StrategyInfo{"phase", "depth within each recurrence; other cells in one batch each",
                   make_phase},
  };
  return table;
}

std::unique_ptr<Strategy> make_strategy(std::string_view name) {
  std::string names;
  for (const StrategyInfo& info : strategies()) {
    if (info.name == name) return info.make();
    names += (names.empty() ? "" : ", ") + std::string(info.name);
  }
  throw UserError(fmt::format("unknown strategy '{}': expected one of {}", name, names));
}

}  // namespace espalier::scheduler
