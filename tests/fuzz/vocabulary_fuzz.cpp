// Vocabularies: what is read has an id for each token, and reads back as the same from its tokens.
#include <string>

#include "data/text_file.h"
#include "data/vocabulary.h"
#include "tests/fuzz/fuzz.h"

using namespace espalier;
using namespace espalier::data;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const TextFile file = text_file("fuzz", std::string(fuzz::text_of(data, size)));
  Vocabulary words;
  if (!fuzz::accepts([&] { words = Vocabulary::parse(file); }, "fuzz:")) return 0;
  std::string text;
  for (int id = 0; id < words.size(); ++id) {
    fuzz::expect(words.find(words.token(id)) == id, "the id of a token");
    text += words.token(id) + "\n";
  }
  fuzz::expect(Vocabulary::parse({"written", text}) == words, "tokens read back the same");
  return 0;
}
