// The settings of a saved model, from model.json to the model that `espalier eval` builds of them.
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "app/run_config.h"
#include "models/models.h"
#include "tests/fuzz/reader.h"
#include "training/checkpoint.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using namespace espalier;
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  return test::read_or_refuse([&] {
    SavedModel saved = read_model(text, "model.json");
    saved.vocabulary.clear();  // no files here
    const app::SavedRun run = app::saved_run(saved);
    models::find_model(saved.name).make(run.model);
  });
}
