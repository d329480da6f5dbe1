// Splits a text into brackets and atoms, for the readers of bracketed trees. Only '(', ')' and
// ASCII white space delimit; an atom is a longest run of other bytes. A NUL byte is an error.
#pragma once

#include <cstddef>
#include <string_view>

#include "data/text_file.h"

namespace espalier::data {

/// A position in `file`, which must outlive it.
class Scanner {
 public:
  explicit Scanner(const TextFile& file) : file_(file) {}

  std::size_t offset() const { return offset_; }
  bool at_end() const { return offset_ == file_.text.size(); }
  bool at(char c) const { return !at_end() && file_.text[offset_] == c; }
  bool at(std::string_view text) const { return rest().starts_with(text); }
  bool at_atom() const { return !at_end() && in_atom(file_.text[offset_]); }

  /// Skips white space; skip_blanks stops at the end of a line.
  void skip_space();
  void skip_blanks();
  /// Skips all that is left of the line, its end too.
  void skip_line();

  /// Steps over `c` if it is next, and says whether it was.
  bool accept(char c);

  /// Steps over `c`. UserError with `expected` if something else is next.
  void expect(char c, std::string_view expected);

  /// Steps over the atom that at_atom() announced. UserError at a NUL byte in it.
  std::string_view atom();

  /// Throws the UserError that says what is next here, and what was expected.
  [[noreturn]] void fail(std::string_view expected) const;

 private:
  static bool in_atom(char c) { return c != '(' && c != ')' && !is_space(c); }
  std::string_view rest() const { return std::string_view(file_.text).substr(offset_); }
  std::string_view rest_of_atom() const;

  const TextFile& file_;
  std::size_t offset_ = 0;
};

}  // namespace espalier::data
