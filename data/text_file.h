// A whole text file in memory and the one form of complaint about it:
// `FILE:LINE:COLUMN: found X, expected Y`. Used by every reader of data/.
// Lines end at '\n'; lines and columns count from 1, columns in bytes.
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include "data/tolerated.h"

namespace espalier::data {

struct TextFile {
  std::string name;  // as the user gave it; opens every message
  std::string text;
  Tolerated tolerated = {};  // before any reader saw the text

  /// The line that holds the byte at `offset`.
  std::size_t line(std::size_t offset) const;

  /// Throws the UserError for the byte at `offset`, which may be text.size().
  [[noreturn]] void fail(std::size_t offset, std::string_view found,
                         std::string_view expected) const;
};

/// The text of `bytes`: a byte order mark of UTF-8 in front is no part of it, but tolerated.
TextFile text_file(std::string name, std::string bytes);

/// Reads all of a regular file or a pipe. UserError if it is missing, is anything else (a device
/// may have no end), or cannot be read.
TextFile read_text_file(const std::filesystem::path& path);

/// The offset of the first byte that is not UTF-8 (RFC 3629), npos if there is none.
std::size_t find_not_utf8(std::string_view text);

/// A piece of a text for a message: in single quotes, cut when long, and with the bytes that would
/// not show spelled out: those of control characters and those that are not UTF-8 as \xNN, no-break
/// space and byte order mark as \uNNNN.
std::string quoted(std::string_view piece);

/// Space, \t, \n, \v, \f, \r. U+00A0 and the like are not white space: words may hold them.
constexpr bool is_space(char c) { return c == ' ' || (c >= '\t' && c <= '\r'); }

}  // namespace espalier::data
