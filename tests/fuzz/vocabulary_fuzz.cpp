// Vocabularies: any bytes are refused with their place, or read so that the tokens, a line each,
// read back as the same vocabulary.
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "data/vocabulary.h"
#include "ir/error.h"

namespace espalier::data {
namespace {

void check(const TextFile& file) {
  std::optional<Vocabulary> words;
  try {
    words = Vocabulary::parse(file);
  } catch (const UserError& error) {
    internal_check(std::string_view(error.what()).starts_with("f:"), "no place: {}", error.what());
    return;
  }
  std::string text;
  for (int id = 0; id < words->size(); ++id) {
    internal_check(words->find(words->token(id)) == id, "token {} has another id", id);
    text += words->token(id) + "\n";
  }
  internal_check(Vocabulary::parse({"again", text}) == *words, "read back otherwise: {}", text);
}

}  // namespace
}  // namespace espalier::data

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
  using namespace espalier::data;
  check(text_file("f", std::string(reinterpret_cast<const char*>(bytes), size)));
  return 0;
}
