// Bracket trees of both forms: what is read is written, and reads back as the same trees.
#include <string>

#include "data/text_file.h"
#include "data/treebank.h"
#include "tests/fuzz/fuzz.h"

using namespace espalier;
using namespace espalier::data;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const TextFile file = text_file("fuzz", std::string(fuzz::text_of(data, size)));
  for (const auto parse : {parse_sst, parse_ptb}) {
    Vocabulary words, same;
    Treebank bank;
    if (!fuzz::accepts([&] { bank = parse(file, {}, words); }, "fuzz:")) continue;
    std::string text;
    for (const Tree& tree : bank.trees) text += bracketed(tree, words, bank.label_names) + "\n";
    const Treebank again = parse({"written", text}, {.label_names = bank.label_names}, same);
    fuzz::expect(again.trees == bank.trees && same == words, "written trees read back the same");
  }
  return 0;
}
