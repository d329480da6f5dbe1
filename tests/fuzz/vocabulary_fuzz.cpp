// vocab.txt of a saved model. Every token that is read is found again under its id.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>

#include "data/vocabulary.h"
#include "tests/fuzz/reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace espalier;
  return test::read_or_refuse([&] {
    const auto words = data::Vocabulary::parse(
        data::text_file("vocab.txt", std::string(reinterpret_cast<const char*>(data), size)));
    for (int id = 0; id < words.size(); ++id)
      if (words.find(words.token(id)) != id) std::abort();
  });
}
