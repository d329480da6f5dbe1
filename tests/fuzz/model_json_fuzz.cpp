// model.json of a saved model, as any tool may have written it.
#include <cstddef>
#include <cstdint>

#include "tests/fuzz/reader.h"
#include "training/checkpoint.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  return espalier::test::read_or_refuse([&] { espalier::read_model(text, "model.json"); });
}
