// Program texts: what is read is verified, prints, and reads back as the same program.
#include "ir/text/parse.h"
#include "ir/text/print.h"
#include "ir/verify.h"
#include "tests/fuzz/fuzz.h"

using namespace espalier;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::accepts([&] {
    const ir::Program program = ir::parse(fuzz::text_of(data, size), "fuzz");
    ir::verify(program);
    const std::string text = ir::print(program);
    fuzz::expect(ir::parse(text, "printed") == program, "a printed program reads back the same");
  });
  return 0;
}
