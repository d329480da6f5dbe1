#include "ir/text/lexer.h"

#include <algorithm>
#include <charconv>
#include <utility>

#include "base/error.h"
#include "base/excerpt.h"

namespace espalier::ir {
namespace {

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool is_word(char c) { return is_letter(c) || is_digit(c); }

int hex_digit(char c) {
  if (is_digit(c)) return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

}  // namespace

void Lexer::fail(std::size_t position, std::string_view message) const {
  const std::string_view before = text_.substr(0, position);
  const auto line = std::ranges::count(before, '\n') + 1;
  const std::size_t line_begin = before.rfind('\n') == before.npos ? 0 : before.rfind('\n') + 1;
  throw UserError(fmt::format("{}:{}:{}: {}", file_, line, position - line_begin + 1, message));
}

void Lexer::fail(const Token& token, std::string_view message) const { fail(token.begin, message); }

void Lexer::fail(std::string_view expected) const {
  const std::string found =
      token_.kind == Token::Kind::end
          ? "the end of the text"
          : "'" + excerpt(text_.substr(token_.begin, position_ - token_.begin)) + "'";
  fail(token_, fmt::format("found {}, expected {}", found, expected));
}

Token Lexer::take() {
  Token token = std::move(token_);
  next();
  return token;
}

bool Lexer::at(std::string_view word) const {
  const bool spelled =
      token_.kind == Token::Kind::symbol || (token_.kind == Token::Kind::name && !token_.quoted);
  return spelled && token_.text == word;
}

bool Lexer::accept(std::string_view word) {
  if (!at(word)) return false;
  next();
  return true;
}

void Lexer::expect(std::string_view word) {
  if (!accept(word)) fail("'" + std::string(word) + "'");
}

Token Lexer::name(std::string_view expected) {
  if (token_.kind != Token::Kind::name) fail(expected);
  return take();
}

Token Lexer::value(std::string_view expected) {
  if (token_.kind != Token::Kind::value) fail(expected);
  return take();
}

double Lexer::number(std::string_view expected) {
  // "inf" and "nan" are numbers too.
  double result = 0;
  const char* end = token_.text.data() + token_.text.size();
  const auto [stop, error] = std::from_chars(token_.text.data(), end, result);
  const bool plain = token_.kind == Token::Kind::number || at(token_.text);
  if (!plain || error != std::errc() || stop != end) fail(expected);
  next();
  return result;
}

std::int64_t Lexer::integer(std::string_view expected) {
  std::int64_t result = 0;
  const char* end = token_.text.data() + token_.text.size();
  const auto [stop, error] = std::from_chars(token_.text.data(), end, result);
  if (token_.kind != Token::Kind::number || error != std::errc() || stop != end) fail(expected);
  next();
  return result;
}

void Lexer::next() {
  const auto peek = [&](std::size_t ahead) {
    return position_ + ahead < text_.size() ? text_[position_ + ahead] : '\0';
  };
  const auto skip = [&](auto&& matches) {
    while (position_ < text_.size() && matches(text_[position_])) ++position_;
  };
  skip(is_space);
  while (peek(0) == '#') {
    skip([](char c) { return c != '\n'; });
    skip(is_space);
  }
  token_ = {Token::Kind::end, "", position_, false};
  if (position_ == text_.size()) return;

  const char c = peek(0);
  const bool minus = c == '-' && is_word(peek(1));
  if (c == '"') return next_quoted();
  if (c == '%' && is_digit(peek(1))) {
    token_.kind = Token::Kind::value;
    ++position_;
    skip(is_digit);
    token_.text = text_.substr(token_.begin + 1, position_ - token_.begin - 1);
    return;
  }
  if (is_digit(c) || minus) {
    token_.kind = Token::Kind::number;
    ++position_;
    // A point belongs to a number only before a digit, a sign only behind an e.
    while (is_word(peek(0)) || (peek(0) == '.' && is_digit(peek(1))) ||
           ((peek(0) == '+' || peek(0) == '-') && text_[position_ - 1] == 'e'))
      ++position_;
  } else if (is_letter(c)) {
    token_.kind = Token::Kind::name;
    skip(is_word);
  } else {
    token_.kind = Token::Kind::symbol;
    position_ += c == '-' && peek(1) == '>' ? 2 : 1;
    // A character of several bytes is refused as one.
    skip([](char next) { return (static_cast<unsigned char>(next) & 0xC0) == 0x80; });
  }
  token_.text = text_.substr(token_.begin, position_ - token_.begin);
}

void Lexer::next_quoted() {
  token_.kind = Token::Kind::name;
  token_.quoted = true;
  for (++position_; position_ < text_.size() && text_[position_] != '"'; ++position_) {
    if (text_[position_] == '\n') break;
    if (text_[position_] != '\\') {
      token_.text += text_[position_];
      continue;
    }
    const std::string_view escape = text_.substr(position_ + 1);
    if (escape.starts_with('"') || escape.starts_with('\\')) {
      token_.text += escape[0];
      position_ += 1;
    } else if (escape.size() > 2 && escape[0] == 'x' && hex_digit(escape[1]) >= 0 &&
               hex_digit(escape[2]) >= 0) {
      token_.text += static_cast<char>(hex_digit(escape[1]) * 16 + hex_digit(escape[2]));
      position_ += 3;
    } else {
      fail(position_, "found a '\\', expected \\\", \\\\ or \\xNN");
    }
  }
  if (position_ == text_.size() || text_[position_] != '"')
    fail(position_, "found the end of the line, expected '\"'");
  ++position_;
}

}  // namespace espalier::ir
