#include "app/log_stream.h"

namespace espalier::app {

LogStream::LogStream(std::ostream& terminal) : std::ostream(nullptr), buffer_(terminal) {
  rdbuf(&buffer_);
}

void LogStream::keep_in(const std::filesystem::path& file, bool hidden) {
  buffer_.file.emplace(file, hidden);
}

void LogStream::show_file() {
  if (buffer_.file) buffer_.file->show();
}

std::streambuf::int_type LogStream::Buffer::overflow(int_type c) {
  if (traits_type::eq_int_type(c, traits_type::eof())) return traits_type::not_eof(c);
  const char byte = traits_type::to_char_type(c);
  return xsputn(&byte, 1) == 1 ? c : traits_type::eof();
}

std::streamsize LogStream::Buffer::xsputn(const char* text, std::streamsize size) {
  terminal_.write(text, size);
  if (file)
    for (std::streamsize i = 0; i < size; ++i) put(text[i]);
  return size;
}

int LogStream::Buffer::sync() {
  terminal_.flush();
  return 0;
}

void LogStream::Buffer::put(char c) {
  if (in_escape_) {
    in_escape_ = !((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'));
  } else if (c == '\x1b') {
    in_escape_ = true;
  } else if (c == '\r') {
    line_.clear();
  } else if (c == '\n') {
    file->add(line_);
    line_.clear();
  } else {
    line_ += c;
  }
}

}  // namespace espalier::app
