// Weights as any tool may have written them, and their values as floats.
#include <cstddef>
#include <cstdint>
#include <string>

#include "tests/fuzz/reader.h"
#include "training/safetensors.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace espalier;
  return test::read_or_refuse([&] {
    const Safetensors weights("weights", std::string(reinterpret_cast<const char*>(data), size));
    for (const SafeTensor& tensor : weights.tensors())
      test::read_or_refuse([&] { weights.floats(tensor); });
  });
}
