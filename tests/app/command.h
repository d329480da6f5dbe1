// Runs the `espalier` command as a user does, with its output taken apart. Used by the tests of
// app/ only.
#pragma once

#include <sys/types.h>

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/temporary_folder.h"

namespace espalier::app {

using Arguments = std::vector<std::string>;

struct Output {
  int status = -1;  ///< exit status, or -signal
  std::string out, err;
};

struct CommandOptions {
  std::map<std::string, std::string> environment = {};  ///< on top of the test's own
  /// By descriptor, the file that it is instead of a pipe; "": it is closed.
  std::map<int, std::string> streams = {};
  bool terminal = false;          ///< stderr and stdout are one terminal; all arrives in `out`
  std::vector<int> ignored = {};  ///< signals that are ignored when it starts
  std::string folder = {};        ///< where it runs; empty: where the test does
};

/// A command that runs; its output is read when somebody waits.
class Process {
 public:
  explicit Process(const Arguments& arguments, const CommandOptions& options = {});
  ~Process();
  Process(const Process&) = delete;
  Process& operator=(const Process&) = delete;

  /// Reads until stderr holds `text`. False if the command ends before.
  bool wait_for_error_text(std::string_view text);
  /// The same of stdout, or of the terminal.
  bool wait_for_text(std::string_view text);
  /// Closes the terminal, as a lost connection does.
  void hang_up();
  void signal(int number);
  Output wait();

 private:
  bool read_some();

  pid_t pid_ = -1;
  int out_ = -1, err_ = -1;
  Output output_;
};

Output run(const Arguments& arguments, const CommandOptions& options = {});

using test::read_file;
using test::TemporaryFolder;

/// A training run of less than a second: `train` on generated ListOps, and `more`.
Arguments tiny_training(const Arguments& more = {});
/// What it reports as JSON.
nlohmann::json train_json(const Arguments& more);

}  // namespace espalier::app
