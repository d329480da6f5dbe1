// Atomic file writes: a reader sees the old content or the new, also after a crash. Used for every
// file of a run except its log, which grows by whole lines. A file replaces a symbolic link of its
// name and never follows it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace espalier {

/// New content of a file, on disk in a temporary file beside it with an unpredictable name. Unless
/// it is published, the destructor removes it and the file stays as it was.
class Draft {
 public:
  /// Writes and syncs the concatenation of `pieces`. UserError with the name of `file` and the
  /// system's reason if that fails.
  Draft(const std::filesystem::path& file, std::span<const std::string_view> pieces);
  ~Draft();
  Draft(Draft&& other) noexcept;
  Draft& operator=(Draft&&) = delete;

  /// Replaces the file by the draft. UserError as above.
  void publish();

  const std::filesystem::path& file() const { return file_; }
  /// The temporary file; empty once it is published.
  const std::filesystem::path& path() const { return path_; }
  /// From now on the destructor leaves the temporary file on disk.
  void keep() { kept_ = true; }

  /// The name of the file whose draft has the name `draft`; empty if that is no name of a draft.
  static std::string_view file_of(std::string_view draft);

 private:
  std::filesystem::path file_, path_;  ///< an empty path_: published, or moved away
  bool kept_ = false;
};

/// A file that replaces the one of its name and then grows line by line. After a crash it holds
/// whole lines.
class LogFile {
 public:
  /// Replaces the old file at once. If `hidden`, only show() does: until then it has the name of a
  /// draft, and the destructor removes it. UserError if it cannot be created.
  explicit LogFile(std::filesystem::path file, bool hidden = false);
  ~LogFile();
  LogFile(const LogFile&) = delete;
  LogFile& operator=(const LogFile&) = delete;

  /// Adds `text` and a newline. If the disk is full, the line is lost and the run goes on.
  void add(std::string_view text);
  /// Replaces the old file. UserError if that fails.
  void show();

 private:
  std::filesystem::path file_, draft_;  ///< an empty draft_: it is shown
  int descriptor_;
};

/// Replaces `file` by the concatenation of `pieces`, through a temporary file in the same folder
/// that is synced to disk and renamed. UserError with the name and the system's reason if that
/// fails; then `file` is as it was and the temporary file is gone.
void write_atomically(const std::filesystem::path& file, std::span<const std::string_view> pieces);

/// Whether a file that is read may be a symbolic link or something else than a regular file.
enum class Links : std::uint8_t { follow, refuse };

/// Reads all of a file. UserError if it is missing, a folder, or cannot be read; with
/// Links::refuse, if it is no regular file.
std::string read_whole_file(const std::filesystem::path& file, Links links = Links::follow);

}  // namespace espalier
