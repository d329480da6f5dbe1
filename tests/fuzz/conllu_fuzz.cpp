// CoNLL-U: what makes dependency trees makes sequences of the same words with the same tags too.
#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "data/conllu.h"
#include "data/text_file.h"
#include "tests/fuzz/fuzz.h"

using namespace espalier;
using namespace espalier::data;

namespace {

/// Word and tag of every node that has a word.
std::vector<std::pair<int, int>> tagged_words(const Tree& tree) {
  std::vector<std::pair<int, int>> result;
  for (int node = 0; node < tree.size(); ++node)
    if (tree.word(node) != Tree::kNone) result.emplace_back(tree.word(node), tree.label(node));
  std::ranges::sort(result);
  return result;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const TextFile file = text_file("fuzz", std::string(fuzz::text_of(data, size)));
  Vocabulary words, same;
  std::vector<Tree> trees, sequences;
  const auto reads = [&](conllu::Structure structure, Vocabulary& vocabulary,
                         std::vector<Tree>& result) {
    return fuzz::accepts([&] { result = conllu::parse(file, structure, vocabulary).trees; },
                         "fuzz:");
  };
  const bool as_sequences = reads(conllu::Structure::sequence, same, sequences);
  if (!reads(conllu::Structure::dependencies, words, trees)) return 0;
  fuzz::expect(as_sequences && words == same, "the same words as sequences");
  fuzz::expect(std::ranges::equal(trees, sequences, {}, tagged_words, tagged_words),
               "the same tags as sequences");
  return 0;
}
