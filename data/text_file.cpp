#include "data/text_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <utility>

#include "base/error.h"

namespace espalier::data {
namespace {

constexpr std::string_view kByteOrderMark = "\uFEFF";

// The bytes of the UTF-8 character that `text` begins with; 0 if that is none.
std::size_t character_size(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  if (first < 0xC2 || first > 0xF4) return 0;
  const std::size_t size = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  if (text.size() < size) return 0;
  for (std::size_t i = 1; i < size; ++i)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  // Spelled too long, a surrogate, or above U+10FFFF.
  const bool wrong = (first == 0xE0 && byte(1) < 0xA0) || (first == 0xED && byte(1) > 0x9F) ||
                     (first == 0xF0 && byte(1) < 0x90) || (first == 0xF4 && byte(1) > 0x8F);
  return wrong ? 0 : size;
}

// Closes it with the block.
struct Descriptor {
  explicit Descriptor(int number) : number(number) {}
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  const int number;
};

// Nothing if it can be read to an end.
std::string_view unreadable_kind(mode_t mode) {
  if (S_ISREG(mode) || S_ISFIFO(mode)) return "";
  return S_ISDIR(mode) ? "a directory" : S_ISSOCK(mode) ? "a socket" : "a device";
}

// What is left of a file, piece by piece: its size is known at the end only.
std::string read_all(const Descriptor& file, const std::string& name) {
  constexpr std::size_t kPiece = 1 << 16;
  std::string text;
  for (std::size_t size = 0;;) {
    text.resize(size + std::max(size, kPiece));
    const ssize_t count = ::read(file.number, text.data() + size, text.size() - size);
    user_check(count >= 0 || errno == EINTR, "{}: cannot read the file: {}", name,
               std::strerror(errno));
    size += static_cast<std::size_t>(std::max<ssize_t>(count, 0));
    if (count != 0) continue;
    text.resize(size);
    return text;
  }
}

}  // namespace

std::size_t TextFile::line(std::size_t offset) const {
  return 1 + std::ranges::count(std::string_view(text).substr(0, offset), '\n');
}

void TextFile::fail(std::size_t offset, std::string_view found, std::string_view expected) const {
  const std::size_t line_begin = std::string_view(text).substr(0, offset).rfind('\n') + 1;
  throw UserError(fmt::format("{}:{}:{}: found {}, expected {}", name, line(offset),
                              offset - line_begin + 1, found, expected));
}

TextFile text_file(std::string name, std::string bytes) {
  TextFile file{std::move(name), std::move(bytes)};
  if (file.text.starts_with(kByteOrderMark)) {
    file.text.erase(0, kByteOrderMark.size());
    file.tolerated.add("byte order mark");
  }
  return file;
}

TextFile read_text_file(const std::filesystem::path& path) {
  const std::string name = path.string();
  const Descriptor file(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOCTTY));
  user_check(file.number >= 0, "{}: cannot open the file: {}", name, std::strerror(errno));
  struct stat status = {};
  user_check(::fstat(file.number, &status) == 0, "{}: cannot read the file: {}", name,
             std::strerror(errno));
  const std::string_view kind = unreadable_kind(status.st_mode);
  user_check(kind.empty(), "{}: found {}, expected a file", name, kind);
  return text_file(name, read_all(file, name));
}

std::size_t find_not_utf8(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t size = character_size(text.substr(at));
    if (size == 0) return at;
    at += size;
  }
  return text.npos;
}

std::string quoted(std::string_view piece) {
  constexpr std::size_t kLongest = 40;
  std::string result = "'";
  std::size_t at = 0;
  while (at < piece.size()) {
    const std::string_view rest = piece.substr(at);
    const std::size_t size = character_size(rest);
    if (at + std::max<std::size_t>(size, 1) > kLongest) break;
    const auto byte = static_cast<unsigned char>(rest[0]);
    if (size == 0 || byte < 0x20 || byte == 0x7F)
      result += fmt::format("\\x{:02X}", byte);
    else if (rest.starts_with("\u00A0"))
      result += "\\u00A0";
    else if (rest.starts_with(kByteOrderMark))
      result += "\\uFEFF";
    else
      result += rest.substr(0, size);
    at += std::max<std::size_t>(size, 1);
  }
  return result + (at < piece.size() ? "'…" : "'");
}

}  // namespace espalier::data
