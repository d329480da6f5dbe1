// What goes to the terminal, to the byte, with a clock in the test's hands.
#include "training/progress.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <sstream>
#include <string>

#include "training/terminal.h"

namespace espalier {
namespace {

TEST(ClockTime, HasHoursWhereNeeded) {
  EXPECT_EQ(clock_time(0), "00:00");
  EXPECT_EQ(clock_time(252.9), "04:12");
  EXPECT_EQ(clock_time(3599), "59:59");
  EXPECT_EQ(clock_time(3600), "1:00:00");
  EXPECT_EQ(clock_time(100 * 3600 + 61), "100:01:01");
  EXPECT_EQ(clock_time(NAN), "--:--");
  EXPECT_EQ(clock_time(-1), "--:--");
}

TEST(EpochLine, SaysWhatItShould) {
  EpochReport report{.epoch = 3,
                     .epochs = 15,
                     .loss = 0.9118,
                     .dev_accuracy = 0.4777,
                     .lr = 0.05,
                     .examples_per_second = 812.4,
                     .eta_seconds = 252};
  EXPECT_EQ(
      epoch_line(report, "dev acc (roots)", "trees"),
      "epoch 3/15 | loss 0.912 | dev acc (roots) 0.478 | lr 5.0e-02 | 812 trees/s | eta 04:12");
  report.dev_accuracy = NAN;
  report.examples_per_second = 1.25;
  EXPECT_EQ(epoch_line(report, "dev acc", "examples"),
            "epoch 3/15 | loss 0.912 | lr 5.0e-02 | 1.2 examples/s | eta 04:12");
}

struct Screen {
  std::ostringstream out;
  double time = 100;

  Clock clock() {
    return [this] { return time; };
  }
  std::string take() {
    std::string text = out.str();
    out.str("");
    return text;
  }
};

constexpr Terminal kPlain{.interactive = true, .color = false, .unicode = false, .columns = 80};

TEST(Progress, DrawsABarInTheWidthOfTheTerminal) {
  Screen screen;
  Progress progress(screen.out, kPlain, "trees", screen.clock());
  progress.begin("epoch 3/15", 200);
  EXPECT_EQ(screen.take(),
            "\repoch 3/15:   0%|                            | 0/200 [00:00<--:--, "
            "0.0 trees/s]\x1b[K");
  screen.time += 4;
  progress.advance(50, 0.9118);
  const std::string drawn = screen.take();
  EXPECT_EQ(drawn,
            "\repoch 3/15:  25%|####            | 50/200 [00:04<00:12, 12 trees/s, loss "
            "0.912]\x1b[K");
  EXPECT_EQ(drawn.size(), 1 + 79 + 3u) << "the last column stays free";
  progress.end();
  EXPECT_EQ(screen.take(), "\r\x1b[K");
  progress.end();
  EXPECT_EQ(screen.take(), "");
}

TEST(Progress, FillsEighthsOfColumnsWhereItCan) {
  Screen screen;
  Terminal terminal = kPlain;
  terminal.unicode = true;
  terminal.columns = 65;
  Progress progress(screen.out, terminal, "x", screen.clock());
  progress.begin("a", 16);
  screen.take();
  screen.time += 1;
  progress.advance(9, 1);
  const std::string drawn = screen.take();
  const std::size_t bar = drawn.find('|') + 1;
  EXPECT_EQ(drawn.substr(bar, drawn.find('|', bar) - bar), "████████▍      ") << drawn;
}

TEST(Progress, ColoursTheBarOnly) {
  Screen screen;
  Terminal terminal = kPlain;
  terminal.color = true;
  Progress progress(screen.out, terminal, "trees", screen.clock());
  progress.begin("epoch 1/1", 2);
  const std::string drawn = screen.take();
  EXPECT_NE(drawn.find("|\x1b[32m   "), std::string::npos);
  EXPECT_NE(drawn.find("  \x1b[0m| 0/2"), std::string::npos);
}

TEST(Progress, LeavesTheBarOutWhereThereIsNoRoom) {
  Screen screen;
  Terminal terminal = kPlain;
  terminal.columns = 20;
  Progress progress(screen.out, terminal, "trees", screen.clock());
  progress.begin("epoch 1/1", 2);
  EXPECT_EQ(screen.take(), "\repoch 1/1:   0%\x1b[K");
}

TEST(Progress, DrawsAtMostTenTimesASecond) {
  Screen screen;
  Progress progress(screen.out, kPlain, "trees", screen.clock());
  progress.begin("epoch 1/1", 10000);
  for (int i = 0; i < 10000; ++i) {
    screen.time += 0.0005;
    progress.advance(1, 1);
  }
  const std::string text = screen.take();
  const auto draws = std::ranges::count(text, '\r');
  EXPECT_LE(draws, 51);
  EXPECT_GE(draws, 45);
}

TEST(Progress, LinesGoAboveTheBar) {
  Screen screen;
  Progress progress(screen.out, kPlain, "trees", screen.clock());
  progress.begin("a", 1);
  screen.take();
  progress.line("note");
  const std::string text = screen.take();
  EXPECT_TRUE(text.starts_with("\r\x1b[Knote\n\ra:   0%|")) << text;
  progress.end();
  screen.take();
  progress.line("note");
  EXPECT_EQ(screen.take(), "note\n");
}

TEST(Progress, IsSilentButForLinesWhereNothingCanBeWrittenOver) {
  Screen screen;
  {
    Progress progress(screen.out, Terminal{}, "trees", screen.clock());
    progress.begin("epoch 1/1", 2);
    screen.time += 5;
    progress.advance(2, 1);
    progress.line("epoch 1/1 | loss 1.000");
    progress.end();
  }
  EXPECT_EQ(screen.take(), "epoch 1/1 | loss 1.000\n");
}

Terminal with(std::map<std::string, std::string> variables, bool is_terminal = true,
              ColorChoice choice = ColorChoice::automatic) {
  return terminal_of(is_terminal, 100, choice, [&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

TEST(Terminal, DecidesAboutColour) {
  EXPECT_TRUE(with({}).color);
  EXPECT_FALSE(with({}, false).color);
  EXPECT_FALSE(with({{"TERM", "dumb"}}).color);
  EXPECT_TRUE(with({{"TERM", "xterm"}}).color);
  EXPECT_FALSE(with({{"NO_COLOR", "1"}}).color);
  EXPECT_TRUE(with({{"NO_COLOR", ""}}).color);
  EXPECT_TRUE(with({{"NO_COLOR", "1"}, {"FORCE_COLOR", "1"}}).color);
  EXPECT_TRUE(with({{"FORCE_COLOR", "1"}, {"TERM", "dumb"}}, false).color);
  EXPECT_FALSE(with({{"FORCE_COLOR", "0"}}).color);
  EXPECT_FALSE(with({{"FORCE_COLOR", ""}}, false).color);
  EXPECT_TRUE(with({{"NO_COLOR", "1"}}, false, ColorChoice::always).color);
  EXPECT_FALSE(with({{"FORCE_COLOR", "1"}}, true, ColorChoice::never).color);
}

TEST(Terminal, DecidesAboutTheRest) {
  EXPECT_TRUE(with({}).interactive);
  EXPECT_FALSE(with({}, false).interactive);
  EXPECT_FALSE(with({{"TERM", "dumb"}}).interactive);
  EXPECT_FALSE(with({{"FORCE_COLOR", "1"}}, false).interactive);
  EXPECT_EQ(with({}).columns, 100);
  EXPECT_EQ(terminal_of(true, 0, {}, [](const char*) { return nullptr; }).columns, 80);
  EXPECT_TRUE(with({{"LANG", "en_US.UTF-8"}}).unicode);
  EXPECT_TRUE(with({{"LANG", "C"}, {"LC_ALL", "C.utf8"}}).unicode);
  EXPECT_FALSE(with({{"LANG", "en_US.UTF-8"}, {"LC_CTYPE", "C"}}).unicode);
  EXPECT_FALSE(with({}).unicode);
}

}  // namespace
}  // namespace espalier
