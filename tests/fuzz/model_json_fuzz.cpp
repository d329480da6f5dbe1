// model.json of a saved model, as any tool may have written it.

#include "tests/fuzz/fuzz.h"
#include "training/checkpoint.h"

using namespace espalier;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::accepts([&] { read_model(fuzz::text_of(data, size), "model.json"); });
  return 0;
}
