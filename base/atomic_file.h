// Writes a file whole or not at all: a reader sees the old content or the new, also after a crash.
// Used for everything that a run leaves behind but its log, which grows by whole lines. What is
// written takes the place of a link; it never goes where one points.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace espalier {

/// New content of a file, on disk in a temporary file beside it, whose name nobody can forecast.
/// Unless it is published, nothing of it is left and the file is as it was.
class Draft {
 public:
  /// Writes and syncs the concatenation of `pieces`. UserError with the name of `file` and the
  /// system's reason if that fails.
  Draft(const std::filesystem::path& file, std::span<const std::string_view> pieces);
  ~Draft();
  Draft(Draft&& other) noexcept;
  Draft& operator=(Draft&&) = delete;

  /// Takes the place of the file. UserError as above.
  void publish();

  const std::filesystem::path& file() const { return file_; }
  /// Where it lies; empty once it is published.
  const std::filesystem::path& path() const { return path_; }
  /// From now on it stays on disk, published or not.
  void keep() { kept_ = true; }

  /// The name of the file that a draft of this name is of; empty if no draft is called so.
  static std::string_view file_of(std::string_view draft);

 private:
  std::filesystem::path file_, path_;  ///< an empty path_: published, or moved away
  bool kept_ = false;
};

/// A file that takes the place of what was there and grows line by line; a crash leaves whole
/// lines.
class LogFile {
 public:
  /// Takes its place at once or, if `hidden`, by show(): until then it is called as a draft, and
  /// goes with the object. UserError if it cannot be made.
  explicit LogFile(std::filesystem::path file, bool hidden = false);
  ~LogFile();
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  /// Adds `text` and a line end. A disk that is full does not end the run: it loses the line.
  void add(std::string_view text);
  /// UserError if it cannot take its place.
  void show();

 private:
  std::filesystem::path file_, draft_;  ///< an empty draft_: it has its place
  int descriptor_;
};

/// Replaces `file` by the concatenation of `pieces`, through a temporary file in the same folder
/// that is synced to disk and renamed. UserError with the name and the system's reason if that
/// fails; then `file` is as it was and the temporary file is gone.
void write_atomically(const std::filesystem::path& file, std::span<const std::string_view> pieces);

/// Whether a file that is read may be somewhere else: a link, or no regular file.
enum class Links : std::uint8_t { follow, refuse };

/// Reads all of a file. UserError if it is missing, a folder, or cannot be read; with
/// Links::refuse, if it is no regular file.
std::string read_whole_file(const std::filesystem::path& file, Links links = Links::follow);

}  // namespace espalier
