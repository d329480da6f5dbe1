// CoNLL-U: any bytes are refused with their place, or read; what makes dependency trees makes
// sequences of the same words with the same tags too.
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "data/conllu.h"
#include "ir/error.h"

namespace espalier::data {
namespace {

std::optional<std::vector<Tree>> trees_of(const TextFile& file, conllu::Structure structure,
                                          Vocabulary& vocabulary) {
  try {
    return conllu::parse(file, structure, vocabulary).trees;
  } catch (const UserError& error) {
    internal_check(std::string_view(error.what()).starts_with("f:"), "no place: {}", error.what());
    return std::nullopt;
  }
}

/// Word and tag of every node that has a word.
std::vector<std::pair<int, int>> tagged_words(const Tree& tree) {
  std::vector<std::pair<int, int>> result;
  for (int node = 0; node < tree.size(); ++node)
    if (tree.word(node) != Tree::kNone) result.emplace_back(tree.word(node), tree.label(node));
  std::ranges::sort(result);
  return result;
}

}  // namespace
}  // namespace espalier::data

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace espalier;
  using namespace espalier::data;
  const TextFile file = text_file("f", std::string(reinterpret_cast<const char*>(bytes), size));
  Vocabulary words, same;
  const auto trees = trees_of(file, conllu::Structure::dependencies, words);
  const auto sequences = trees_of(file, conllu::Structure::sequence, same);
  if (!trees) return 0;
  internal_check(sequences && sequences->size() == trees->size() && words == same,
                 "dependency trees, but other sequences");
  for (std::size_t i = 0; i < trees->size(); ++i)
    internal_check(tagged_words((*trees)[i]) == tagged_words((*sequences)[i]),
                   "sentence {} has other words", i);
  return 0;
}
