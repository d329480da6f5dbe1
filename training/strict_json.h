// JSON from outside: read with limits, and shown in messages. Used by the readers of model.json and
// of safetensors files; not installed.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

namespace espalier {

/// Parses `text`. UserError "FILE: found …" if it is not JSON (`what` says what it should be), is
/// nested deeper than `max_depth`, or has a name twice in an object.
nlohmann::json parse_json(std::string_view text, int max_depth, std::string_view file,
                          std::string_view what);

/// What a message shows of a value: its JSON, cut when long.
std::string shown(const nlohmann::json& value);

}  // namespace espalier
