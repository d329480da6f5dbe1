#include "training/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdlib>
#include <string_view>

namespace espalier {
namespace {

/// POSIX: the first of these that is set and not empty decides.
bool is_utf8(const Environment& environment) {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const char* value = environment(name);
    if (!value || !*value) continue;
    const std::string_view locale = value;
    return locale.find("UTF-8") != locale.npos || locale.find("utf8") != locale.npos ||
           locale.find("UTF8") != locale.npos || locale.find("utf-8") != locale.npos;
  }
  return false;
}

}  // namespace

Terminal terminal_of(bool is_terminal, int columns, ColorChoice choice,
                     const Environment& environment) {
  const auto variable = [&](const char* name) {
    const char* value = environment(name);
    return std::string_view(value ? value : "");
  };
  const bool dumb = variable("TERM") == "dumb";
  Terminal result{.interactive = is_terminal && !dumb,
                  .color = is_terminal && !dumb,
                  .unicode = is_utf8(environment),
                  .columns = columns > 0 ? columns : 80};
  const std::string_view force = variable("FORCE_COLOR");
  if (choice != ColorChoice::automatic)
    result.color = choice == ColorChoice::always;
  else if (!force.empty())
    result.color = force != "0" && force != "false";
  else if (!variable("NO_COLOR").empty())
    result.color = false;
  return result;
}

Terminal detect_terminal(int descriptor, ColorChoice choice) {
  winsize size{};
  const bool known = ::ioctl(descriptor, TIOCGWINSZ, &size) == 0;
  return terminal_of(::isatty(descriptor) == 1, known ? size.ws_col : 0, choice,
                     [](const char* name) { return std::getenv(name); });
}

}  // namespace espalier
