#include "models/models.h"

#include <algorithm>
#include <array>
#include <vector>

#include "base/error.h"
#include "base/excerpt.h"
#include "models/child_sum_tree_lstm.h"
#include "models/lstm.h"
#include "models/tree_lstm.h"

namespace espalier::models {
namespace {

template <class M>
std::unique_ptr<TreeModel> make(const ModelOptions& options) {
  return std::make_unique<M>(options);
}

constexpr std::array table = {
    ModelInfo{"tree_lstm", "binary constituency Tree-LSTM (Tai et al. 2015, section 3.2)",
              make<TreeLstm>, Reads::binary_trees},
    ModelInfo{"child_sum_tree_lstm",
              "Child-Sum Tree-LSTM over any number of children (Tai et al. 2015, section 3.1)",
              make<ChildSumTreeLstm>, Reads::trees},
    ModelInfo{"lstm", "LSTM over the leaves, which are read as a sequence of tokens", make<Lstm>,
              Reads::sequences},
};

}  // namespace

std::span<const ModelInfo> models() { return table; }

const ModelInfo& find_model(std::string_view name) {
  const auto found = std::ranges::find(table, name, &ModelInfo::name);
  if (found != table.end()) return *found;
  std::vector<std::string_view> names;
  for (const ModelInfo& model : table) names.push_back(model.name);
  throw UserError(fmt::format("no model is called '{}'; the nearest is '{}'", excerpt(name),
                              nearest_name(name, names)));
}

}  // namespace espalier::models
