// Ranges of numbers on the command line, as CLI11 validators whose texts say what was found and
// what was expected. Nothing that is not a number in the range passes: no nan, no "-1" for an
// unsigned.
#pragma once

#include <CLI/CLI.hpp>
#include <cstdint>

namespace espalier::app {

/// From `low` to `high`, both of them in it.
template <class T>
struct Range {
  T low, high;
  constexpr bool contains(T value) const { return low <= value && value <= high; }
};

/// A whole number in a range.
CLI::Validator whole(std::int64_t low, std::int64_t high);
inline CLI::Validator whole(Range<std::int64_t> range) { return whole(range.low, range.high); }
/// A finite number in a range.
CLI::Validator real(double low, double high);
inline CLI::Validator real(Range<double> range) { return real(range.low, range.high); }
/// A name that is not empty, as a shell's variable that is not set would be.
CLI::Validator some_name();
/// A number of bytes such as 800000, 500M or 2G (K, M and G count in 1024s), as a transform: what
/// is stored is the plain number.
CLI::Validator byte_size();

inline constexpr int generated_examples = 50'000;  ///< where the user gives no number
inline constexpr std::int64_t most_examples = 100'000'000;
inline constexpr std::int64_t widest = 65'536;  ///< elements of a state or a word vector
inline constexpr double largest = 1e6;          ///< of rates and factors

// Of a model and its data, on the command line as in a saved model.
inline constexpr Range<std::int64_t> vocabulary_range{1, most_examples};
inline constexpr Range<std::int64_t> classes_range{1, most_examples};
inline constexpr Range<std::int64_t> hidden_range{1, widest}, embed_range{1, widest};
inline constexpr Range<std::int64_t> examples_range{1, most_examples};
inline constexpr Range<std::int64_t> max_tokens_range{1, most_examples};
inline constexpr Range<std::int64_t> batch_range{1, most_examples};
inline constexpr Range<std::int64_t> seed_range{0, INT64_MAX};
inline constexpr Range<double> dropout_range{0, 0.999};

}  // namespace espalier::app
