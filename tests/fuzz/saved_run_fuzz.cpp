// The settings of a saved model, from model.json to the model that `espalier eval` builds of them.
#include "app/run_config.h"
#include "models/models.h"
#include "tests/fuzz/fuzz.h"
#include "training/checkpoint.h"

using namespace espalier;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::accepts([&] {
    SavedModel saved = read_model(fuzz::text_of(data, size), "model.json");
    saved.vocabulary.clear();  // no files here
    const app::SavedRun run = app::saved_run(saved, "run");
    models::find_model(saved.name).make(run.model);
  });
  return 0;
}
