// The words of a program text, one at a time, and refusals with their place. Used by
// ir/text/parse.cpp.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace espalier::ir {

struct Token {
  enum class Kind : std::uint8_t { end, name, number, value, symbol };
  Kind kind = Kind::end;
  std::string text;       ///< unquoted; of a value, without the %
  std::size_t begin = 0;  ///< where it stands in the text
  bool quoted = false;
};

class Lexer {
 public:
  Lexer(std::string_view text, std::string_view file) : text_(text), file_(file) { next(); }

  const Token& token() const { return token_; }
  /// Steps on and gives the token that was current.
  Token take();

  /// Whether the current token is this symbol, or this word without quotes.
  bool at(std::string_view word) const;
  /// Steps over it if it is.
  bool accept(std::string_view word);
  /// Steps over it, or fails.
  void expect(std::string_view word);

  Token name(std::string_view expected);
  Token value(std::string_view expected);
  double number(std::string_view expected);
  std::int64_t integer(std::string_view expected);

  /// Throws UserError: what was found at the current token, what was expected.
  [[noreturn]] void fail(std::string_view expected) const;
  /// The same with other words for a token passed already.
  [[noreturn]] void fail(const Token& token, std::string_view message) const;

 private:
  void next();
  void next_quoted();
  [[noreturn]] void fail(std::size_t position, std::string_view message) const;

  std::string_view text_, file_;
  std::size_t position_ = 0;
  Token token_;
};

}  // namespace espalier::ir
