// Ranges of numbers on the command line, as CLI11 validators whose texts say what was found and
// what was expected. Nothing that is not a number in the range passes: no nan, no "-1" for an
// unsigned.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>

namespace espalier::app {

/// A whole number from `low` to `high`.
CLI::Validator whole(std::int64_t low, std::int64_t high);
/// A finite number from `low` to `high`.
CLI::Validator real(double low, double high);
/// A number of bytes such as 800000, 500M or 2G (K, M and G count in 1024s), as a transform: what
/// is stored is the plain number.
CLI::Validator byte_size();

inline constexpr std::int64_t most_examples = 100'000'000;
inline constexpr std::int64_t widest = 65'536;  ///< elements of a state or a word vector
inline constexpr double largest = 1e6;          ///< of rates and factors

}  // namespace espalier::app
