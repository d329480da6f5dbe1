// The two kinds of failure. A UserError says what the user gave, where, and what was expected; it
// is never compiled out. An InternalError means that Espalier broke one of its own invariants.
#pragma once

#include <fmt/core.h>

#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>

namespace espalier {

/// Bad input: a shape that does not fit, a malformed file, an unknown name.
class UserError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

/// A broken invariant of Espalier itself; a bug to report.
class InternalError : public std::logic_error {
 public:
  using std::logic_error::logic_error;
};

/// Throws UserError with the formatted message unless `condition` holds.
template <class... Args>
void user_check(bool condition, fmt::format_string<Args...> message, Args&&... args) {
  if (!condition) [[unlikely]]
    throw UserError(fmt::format(message, std::forward<Args>(args)...));
}

/// Throws InternalError with the formatted message unless `condition` holds.
template <class... Args>
void internal_check(bool condition, fmt::format_string<Args...> message, Args&&... args) {
  if (!condition) [[unlikely]]
    throw InternalError("internal error: " + fmt::format(message, std::forward<Args>(args)...));
}

/// The Levenshtein distance between the first 60 characters of each.
std::size_t edit_distance(std::string_view a, std::string_view b);

/// The element of `names` with the least edit distance to `name`, for "did you mean" texts.
std::string nearest_name(std::string_view name, std::span<const std::string_view> names);

}  // namespace espalier
