// Bracket trees of both forms: any bytes are refused with their place, or read so that what is
// written of them reads back as the same trees.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include "data/treebank.h"
#include "ir/error.h"

namespace espalier::data {
namespace {

Treebank parse(const TextFile& file, bool sst, const TreebankOptions& options,
               Vocabulary& vocabulary) {
  return sst ? parse_sst(file, options, vocabulary) : parse_ptb(file, options, vocabulary);
}

void check(const TextFile& file, bool sst) {
  Vocabulary words, same;
  Treebank bank;
  try {
    bank = parse(file, sst, {}, words);
  } catch (const UserError& error) {
    internal_check(std::string_view(error.what()).starts_with("f:"), "no place: {}", error.what());
    return;
  }
  std::string text;
  for (const Tree& tree : bank.trees) text += bracketed(tree, words, bank.label_names) + "\n";
  const Treebank again = parse({"again", text}, sst, {.label_names = bank.label_names}, same);
  internal_check(again.trees == bank.trees && same == words, "read back otherwise: {}", text);
}

}  // namespace
}  // namespace espalier::data

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace espalier::data;
  const TextFile file = text_file("f", std::string(reinterpret_cast<const char*>(bytes), size));
  for (const bool sst : {true, false}) check(file, sst);
  return 0;
}
