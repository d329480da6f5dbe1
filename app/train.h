// One training run from data to test accuracy: what `espalier train` does once its flags are
// resolved. Progress goes to stderr, results to stdout, everything else into the run folder.
#pragma once

#include <string>

#include "app/run_config.h"
#include "training/terminal.h"

namespace espalier::app {

struct TrainOutputs {
  std::string folder;      ///< of the run; empty: nothing is kept
  bool overwrite = false;  ///< a model that is in the folder
  std::string json;        ///< file for all that was measured; `-`: stdout, and the text to stderr
  ColorChoice color = ColorChoice::automatic;
};

/// Gives the exit status: 0, or 130 after Ctrl-C, 143 after SIGTERM and 129 after SIGHUP, once the
/// step is done and the model saved. UserErrors pass through.
int train(const RunConfig& config, const TrainOutputs& outputs);

}  // namespace espalier::app
