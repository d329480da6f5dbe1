#include "data/scanner.h"

namespace espalier::data {

void Scanner::skip_space() {
  while (!at_end() && is_space(file_.text[offset_])) ++offset_;
}

void Scanner::skip_blanks() {
  while (!at_end() && !at('\n') && is_space(file_.text[offset_])) ++offset_;
}

void Scanner::skip_line() {
  const std::size_t size = rest().find('\n');
  offset_ = size == rest().npos ? file_.text.size() : offset_ + size + 1;
}

bool Scanner::accept(char c) {
  if (!at(c)) return false;
  ++offset_;
  return true;
}

void Scanner::expect(char c, std::string_view expected) {
  if (!accept(c)) fail(expected);
}

std::string_view Scanner::atom() {
  const std::string_view result = rest_of_atom();
  const std::size_t nul = result.find('\0');
  if (nul != result.npos) file_.fail(offset_ + nul, "a NUL byte", "text");
  offset_ += result.size();
  return result;
}

void Scanner::fail(std::string_view expected) const {
  const auto found = [&]() -> std::string {
    if (at_end()) return "the end of the file";
    if (at('\n')) return "the end of the line";
    if (at('\0')) return "a NUL byte";
    return quoted(at_atom() ? rest_of_atom() : rest().substr(0, 1));
  };
  file_.fail(offset_, found(), expected);
}

std::string_view Scanner::rest_of_atom() const {
  std::size_t end = offset_;
  while (end < file_.text.size() && in_atom(file_.text[end])) ++end;
  return rest().substr(0, end - offset_);
}

}  // namespace espalier::data
