// The verbs of the `espalier` command. Each adds its flags to the parser and gives back what runs
// once they are parsed; main.cpp picks the one that was asked for and turns errors into exits.
#pragma once

#include <functional>
#include <stdexcept>

namespace CLI {
class App;
}

namespace espalier::app {

inline constexpr int kDone = 0, kFailed = 1, kUsage = 2;

/// A command line that says something impossible, beyond what the parser sees; exit 2.
class UsageError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

struct Command {
  CLI::App* parser = nullptr;
  std::function<int()> run;  ///< gives the exit status; UserErrors pass through
};

Command add_train_command(CLI::App& parent);
Command add_eval_command(CLI::App& parent);
Command add_schedule_command(CLI::App& parent);
Command add_ir_command(CLI::App& parent);
Command add_bench_command(CLI::App& parent);
Command add_bench_device_command(CLI::App& bench);
Command add_info_command(CLI::App& parent);

}  // namespace espalier::app
