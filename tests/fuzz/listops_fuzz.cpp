// ListOps: any bytes are refused with their place, or read so that what is written of them reads
// back as the same trees; each has a value 0 … 9 or is no expression.
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "data/listops.h"
#include "ir/error.h"

namespace espalier::data {
namespace {

void check(const TextFile& file) {
  std::vector<Tree> trees;
  try {
    trees = listops::parse(file);
  } catch (const UserError& error) {
    internal_check(std::string_view(error.what()).starts_with("f:"), "no place: {}", error.what());
    return;
  }
  std::string text;
  for (const Tree& tree : trees) {
    text += std::to_string(tree.label(tree.root())) + "\t" + listops::bracketed(tree) + "\n";
    try {
      const int value = listops::evaluate(tree);
      internal_check(0 <= value && value <= 9, "value {}", value);
    } catch (const UserError&) {
    }
  }
  internal_check(listops::parse({"again", text}) == trees, "read back otherwise: {}", text);
}

}  // namespace
}  // namespace espalier::data

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace espalier::data;
  check(text_file("f", std::string(reinterpret_cast<const char*>(bytes), size)));
  return 0;
}
