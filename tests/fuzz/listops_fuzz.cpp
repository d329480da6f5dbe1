// ListOps: what is read is written, reads back as the same trees, and has a value 0 … 9 or is no
// expression.
#include <string>
#include <vector>

#include "data/listops.h"
#include "data/text_file.h"
#include "tests/fuzz/fuzz.h"

using namespace espalier;
using namespace espalier::data;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const TextFile file = text_file("fuzz", std::string(fuzz::text_of(data, size)));
  std::vector<Tree> trees;
  if (!fuzz::accepts([&] { trees = listops::parse(file); }, "fuzz:")) return 0;
  std::string text;
  for (const Tree& tree : trees) {
    text += std::to_string(tree.label(tree.root())) + "\t" + listops::bracketed(tree) + "\n";
    int value = 0;
    fuzz::accepts([&] { value = listops::evaluate(tree); }, "listops: ");
    fuzz::expect(0 <= value && value <= 9, "a value 0 … 9");
  }
  fuzz::expect(listops::parse({"written", text}) == trees, "written trees read back the same");
  return 0;
}
