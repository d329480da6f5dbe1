// Random numbers: SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators,
// 2014), as a sequence and by keys, with mappings of its own to integers and reals. The
// distributions of <random> differ between standard libraries; these give the same bits everywhere.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>

namespace espalier {

inline constexpr std::uint64_t splitmix_step = 0x9e3779b97f4a7c15;

/// The SplitMix64 output for state `x`: a bijection that scatters its bits.
constexpr std::uint64_t splitmix(std::uint64_t x) {
  x += splitmix_step;
  x = (x ^ (x >> 30)) * 0xbf58476d1ce4e5b9;
  x = (x ^ (x >> 27)) * 0x94d049bb133111eb;
  return x ^ (x >> 31);
}

constexpr std::uint64_t splitmix(std::uint64_t a, std::uint64_t b) {
  return splitmix(splitmix(a) ^ b);
}

/// Counter-based: uniform in [0, 1), with 53 bits. What is drawn depends on the key and the
/// counter, never on the order of drawing.
constexpr double uniform_real(std::uint64_t key, std::uint64_t counter) {
  return double(splitmix(key, counter) >> 11) * 0x1p-53;
}

/// A sequence of random numbers.
class Random {
 public:
  explicit Random(std::uint64_t seed) : state_(seed) {}

  /// An independent generator for place `index` of the sequence that `seed` stands for.
  static Random stream(std::uint64_t seed, std::uint64_t index) {
    return Random(splitmix(seed) ^ splitmix((~index - 1) * splitmix_step));
  }

  std::uint64_t next() {
    const std::uint64_t number = splitmix(state_);
    state_ += splitmix_step;
    return number;
  }

  /// Uniform in 0 … bound − 1 without bias (Lemire 2019). `bound` > 0.
  std::uint32_t below(std::uint32_t bound) {
    const std::uint32_t reject_under = -bound % bound;
    for (;;) {
      const std::uint64_t product = (next() >> 32) * bound;
      if (static_cast<std::uint32_t>(product) >= reject_under) return product >> 32;
    }
  }

 private:
  std::uint64_t state_;
};

/// Fisher–Yates. `items` holds fewer than 2³² of them.
template <class T>
void shuffle(std::span<T> items, Random& random) {
  using std::swap;
  for (std::size_t left = items.size(); left > 1; --left)
    swap(items[left - 1], items[random.below(static_cast<std::uint32_t>(left))]);
}

}  // namespace espalier
