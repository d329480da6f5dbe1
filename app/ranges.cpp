#include "app/ranges.h"

#include <fmt/format.h>

#include <charconv>
#include <cstdint>
#include <string>
#include <string_view>

namespace espalier::app {
namespace {

template <class T>
CLI::Validator in_range(T low, T high, const char* kind) {
  const auto check = [=](const std::string& text) {
    T value{};
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error == std::errc() && end == text.data() + text.size() && low <= value && value <= high)
      return std::string();
    return fmt::format("found '{}', expected a {} from {} to {}", text, kind, low, high);
  };
  return CLI::Validator(check, "");
}

}  // namespace

CLI::Validator whole(std::int64_t low, std::int64_t high) {
  return in_range(low, high, "whole number");
}

CLI::Validator some_name() {
  const auto check = [](const std::string& text) {
    return text.empty() ? std::string("found '', expected a name") : std::string();
  };
  return CLI::Validator(check, "");
}

CLI::Validator real(double low, double high) { return in_range(low, high, "number"); }

CLI::Validator byte_size() {
  const auto expand = [](std::string& text) {
    constexpr std::string_view units = "KMG";
    std::string_view digits = text;
    const std::size_t unit = digits.empty() ? units.npos : units.find(digits.back());
    if (unit != units.npos) digits.remove_suffix(1);
    const int shift = unit == units.npos ? 0 : 10 * (static_cast<int>(unit) + 1);
    std::int64_t bytes = 0;
    const auto [end, error] = std::from_chars(digits.data(), digits.data() + digits.size(), bytes);
    if (error != std::errc() || end != digits.data() + digits.size() || bytes < 0 ||
        bytes > (INT64_MAX >> shift))
      return fmt::format("found '{}', expected bytes such as 800000, 500M or 2G", text);
    text = std::to_string(bytes << shift);
    return std::string();
  };
  return CLI::Validator(expand, "");
}

}  // namespace espalier::app
