// The stream of progress and messages: stderr and, once a run folder is known, its training.log.
// A bar that is written over reaches the terminal only; the file gets finished lines without
// control sequences.
#pragma once

#include <filesystem>
#include <optional>
#include <ostream>
#include <streambuf>
#include <string>

#include "base/atomic_file.h"

namespace espalier::app {

class LogStream : public std::ostream {
 public:
  explicit LogStream(std::ostream& terminal);

  /// Lines from here on go into `file` too, a new one; `hidden` as of LogFile. UserError if it
  /// cannot be made.
  void keep_in(const std::filesystem::path& file, bool hidden);
  void show_file();

 private:
  class Buffer : public std::streambuf {
   public:
    explicit Buffer(std::ostream& terminal) : terminal_(terminal) {}
    std::optional<LogFile> file;

   private:
    int_type overflow(int_type c) override;
    std::streamsize xsputn(const char* text, std::streamsize size) override;
    int sync() override;
    void put(char c);

    std::ostream& terminal_;
    std::string line_;        // not finished yet
    bool in_escape_ = false;  // within ESC [ … letter
  };

  Buffer buffer_;
};

}  // namespace espalier::app
