// What a user sees of a run: a bar that moves within an epoch, as tqdm writes it, and a line for
// each epoch. Driven by the loop; goes to stderr. Where lines cannot be written over there is no
// bar, only the lines.
#pragma once

#include <cstdint>
#include <functional>
#include <iosfwd>
#include <limits>
#include <string>
#include <string_view>

namespace espalier {

/// What the user asks for; `automatic` goes by the environment and the stream.
enum class ColorChoice : std::uint8_t { automatic, always, never };

/// What may be written to a stream.
struct Terminal {
  bool interactive = false;  ///< lines may be written over
  bool color = false;
  bool unicode = false;
  int columns = 80;
};

/// That of a file descriptor of this process (terminal_of in training/terminal.h).
Terminal detect_terminal(int descriptor, ColorChoice choice = ColorChoice::automatic);

/// Seconds from some fixed moment, never going back.
using Clock = std::function<double()>;
double steady_seconds();

/// `04:12`, or `1:04:12` from an hour on.
std::string clock_time(double seconds);

struct EpochReport {
  int epoch = 0;  ///< from 1
  int epochs = 0;
  double loss = 0;                                                 ///< mean over the examples
  double dev_accuracy = std::numeric_limits<double>::quiet_NaN();  ///< NaN: not evaluated
  double lr = 0;                                                   ///< at the epoch's end
  std::int64_t examples = 0;
  double examples_per_second = 0;  ///< of training alone
  double seconds = 0;              ///< with the evaluation
  double eta_seconds = 0;
  bool best = false;  ///< no epoch before it was as good
};

/// `epoch 3/15 | loss 0.912 | dev acc 0.478 | lr 5.0e-02 | 812 trees/s | eta 04:12`, where `metric`
/// is "dev acc"; without that part if nothing was evaluated.
std::string epoch_line(const EpochReport& report, std::string_view metric, std::string_view unit);

class Progress {
 public:
  /// `unit` is the plural of what is counted: "trees".
  Progress(std::ostream& out, Terminal terminal, std::string unit, Clock clock = steady_seconds);
  /// Removes the bar.
  ~Progress();
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;

  /// Shows a bar of `total`.
  void begin(std::string description, std::int64_t total);
  /// Moves it by `count`; draws at most ten times a second. `loss` is shown behind it.
  void advance(std::int64_t count, double loss);
  void end();

  /// Writes a line; the bar, if there is one, goes on below it.
  void line(std::string_view text);

  const std::string& unit() const { return unit_; }
  double now() const { return clock_(); }

 private:
  void draw();
  void erase();

  std::ostream& out_;
  Terminal terminal_;
  std::string unit_;
  Clock clock_;
  std::string description_;
  std::int64_t total_ = 0, done_ = 0;
  double loss_ = 0, begun_ = 0, drawn_ = 0;
  bool open_ = false, visible_ = false;
};

}  // namespace espalier
