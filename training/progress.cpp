#include "training/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <ostream>
#include <span>
#include <utility>

namespace espalier {
namespace {

constexpr double kSecondsBetweenDraws = 0.1;

std::string rate_text(double rate, std::string_view unit) {
  return fmt::format("{:.{}f} {}/s", rate, rate < 10 ? 1 : 0, unit);
}

// From empty to full.
constexpr std::string_view kBlocks[] = {" ", "▏", "▎", "▍", "▌", "▋", "▊", "▉", "█"};
constexpr std::string_view kPlain[] = {" ", "#"};

/// `width` columns, `fraction` of them full; in eighths of a column where the terminal can.
std::string bar(double fraction, int width, bool unicode) {
  const std::span<const std::string_view> glyphs =
      unicode ? std::span<const std::string_view>(kBlocks) : kPlain;
  const int steps = static_cast<int>(glyphs.size()) - 1;
  const int filled = static_cast<int>(fraction * width * steps);
  std::string text;
  for (int column = 0; column < width; ++column)
    text += glyphs[std::clamp(filled - column * steps, 0, steps)];
  return text;
}

}  // namespace

double steady_seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

std::string clock_time(double seconds) {
  if (!std::isfinite(seconds) || seconds < 0) return "--:--";
  const auto whole = static_cast<std::int64_t>(std::min(seconds, 1e12));
  const std::int64_t hours = whole / 3600, minutes = whole / 60 % 60;
  if (hours == 0) return fmt::format("{:02}:{:02}", minutes, whole % 60);
  return fmt::format("{}:{:02}:{:02}", hours, minutes, whole % 60);
}

std::string epoch_line(const EpochReport& report, std::string_view metric, std::string_view unit) {
  std::string text =
      fmt::format("epoch {}/{} | loss {:.3f}", report.epoch, report.epochs, report.loss);
  if (!std::isnan(report.dev_accuracy))
    text += fmt::format(" | {} {:.3f}", metric, report.dev_accuracy);
  text += fmt::format(" | lr {:.1e} | {} | eta {}", report.lr,
                      rate_text(report.examples_per_second, unit), clock_time(report.eta_seconds));
  return text;
}

Progress::Progress(std::ostream& out, Terminal terminal, std::string unit, Clock clock)
    : out_(out), terminal_(terminal), unit_(std::move(unit)), clock_(std::move(clock)) {}

Progress::~Progress() { end(); }

void Progress::begin(std::string description, std::int64_t total) {
  end();
  description_ = std::move(description);
  total_ = total;
  done_ = 0;
  loss_ = std::nan("");
  begun_ = clock_();
  open_ = true;
  draw();
}

void Progress::advance(std::int64_t count, double loss) {
  done_ += count;
  loss_ = loss;
  if (terminal_.interactive && clock_() - drawn_ >= kSecondsBetweenDraws) draw();
}

void Progress::end() {
  erase();
  open_ = false;
}

void Progress::line(std::string_view text) {
  erase();
  out_ << text << '\n' << std::flush;
  if (open_) draw();
}

void Progress::erase() {
  if (visible_) out_ << "\r\x1b[K" << std::flush;
  visible_ = false;
}

void Progress::draw() {
  if (!terminal_.interactive) return;
  drawn_ = clock_();
  const double elapsed = drawn_ - begun_;
  const double fraction =
      total_ > 0 ? std::clamp(static_cast<double>(done_) / static_cast<double>(total_), 0.0, 1.0)
                 : 0;
  const double rate = elapsed > 0 ? static_cast<double>(done_) / elapsed : 0;
  const double left = rate > 0 ? static_cast<double>(total_ - done_) / rate : std::nan("");

  const std::string before = fmt::format("{}: {:3.0f}%", description_, std::floor(100 * fraction));
  std::string behind = fmt::format(" {}/{} [{}<{}, {}", done_, total_, clock_time(elapsed),
                                   clock_time(left), rate_text(rate, unit_));
  if (!std::isnan(loss_)) behind += fmt::format(", loss {:.3f}", loss_);
  behind += ']';
  // A full last column would break the line on some terminals.
  const int room = terminal_.columns - 1 - static_cast<int>(before.size() + behind.size()) - 2;
  out_ << '\r' << before;
  if (room > 0)
    out_ << '|' << (terminal_.color ? "\x1b[32m" : "") << bar(fraction, room, terminal_.unicode)
         << (terminal_.color ? "\x1b[0m" : "") << '|' << behind;
  out_ << "\x1b[K" << std::flush;
  visible_ = true;
}

}  // namespace espalier
