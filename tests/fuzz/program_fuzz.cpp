// Program texts. What is read is printed, and read back as the same program.
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "ir/parse.h"
#include "ir/print.h"
#include "tests/fuzz/reader.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace espalier;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  return test::read_or_refuse([&] {
    const ir::Program program = ir::parse(text);
    if (ir::parse(ir::print(program)) != program) std::abort();
  });
}
