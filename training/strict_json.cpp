#include "training/strict_json.h"

#include <fmt/format.h>

#include <set>
#include <vector>

#include "base/error.h"
#include "base/excerpt.h"

namespace espalier {

using nlohmann::json;

nlohmann::json parse_json(std::string_view text, int max_depth, std::string_view file,
                          std::string_view what) {
  std::vector<std::set<std::string>> names;  // of the objects that are open
  const auto watch = [&](int depth, json::parse_event_t event, const json& value) {
    user_check(depth <= max_depth, "{}: found JSON nested over {} deep", file, max_depth);
    if (event == json::parse_event_t::object_start) {
      names.emplace_back();
    } else if (event == json::parse_event_t::object_end) {
      names.pop_back();
    } else if (event == json::parse_event_t::key) {
      const auto& name = value.get_ref<const std::string&>();
      user_check(names.back().insert(name).second, "{}: found the name '{}' twice, expected once",
                 file, excerpt(name));
    }
    return true;
  };
  // It ends a text for the parser, whatever comes behind.
  user_check(text.find('\0') == text.npos, "{}: found a byte 0 in {}, expected JSON", file, what);
  try {
    return json::parse(text, watch);
  } catch (const json::exception& error) {
    // Its text repeats what was read last, however long that is.
    const std::string_view message = error.what();
    constexpr std::size_t kShown = 120;
    const bool cut = message.size() > 2 * kShown;
    throw UserError(fmt::format("{}: found {} that is not JSON: {}{}{}", file, what,
                                message.substr(0, cut ? kShown : message.size()), cut ? " … " : "",
                                cut ? message.substr(message.size() - kShown) : ""));
  }
}

std::string shown(const nlohmann::json& value) {
  return excerpt(value.dump(-1, ' ', false, json::error_handler_t::replace));
}

}  // namespace espalier
