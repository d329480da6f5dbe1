// SHA-256 (FIPS 180-4), for the checksums and file names of the disk cache.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>

namespace espalier {

using Sha256 = std::array<std::uint8_t, 32>;

/// The hash of the concatenation of the pieces.
Sha256 sha256(std::initializer_list<std::string_view> pieces);

/// In hexadecimal digits, as `sha256sum` prints it.
std::string to_hex(const Sha256& hash);

}  // namespace espalier
