// FNV-1a, the one hash of texts that are stored or shown: fingerprints of models, marks of cells.
// The same on every machine. A hash never stands for equality.
#pragma once

#include <cstdint>
#include <string_view>

namespace espalier {

inline constexpr std::uint64_t fnv1a_begin = 0xcbf29ce484222325u;

/// Of 64 bits. To hash a text in parts, pass on the hash of what came before.
constexpr std::uint64_t fnv1a(std::string_view bytes, std::uint64_t hash = fnv1a_begin) {
  for (const char byte : bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x100000001b3u;
  return hash;
}

/// Of 32 bits.
constexpr std::uint32_t fnv1a_32(std::string_view bytes) {
  std::uint32_t hash = 0x811c9dc5u;
  for (const char byte : bytes) hash = (hash ^ static_cast<unsigned char>(byte)) * 0x01000193u;
  return hash;
}

}  // namespace espalier
