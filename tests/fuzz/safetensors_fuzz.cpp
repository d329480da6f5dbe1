// Weights as any tool may have written them, and their values as floats.
#include <string>

#include "tests/fuzz/fuzz.h"
#include "training/safetensors.h"

using namespace espalier;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::accepts([&] {
    const Safetensors weights("weights", std::string(fuzz::text_of(data, size)));
    for (const SafeTensor& tensor : weights.tensors())
      fuzz::accepts([&] { weights.floats(tensor); });
  });
  return 0;
}
