// Writes a file whole or not at all: a reader sees the old content or the new, also after a crash.
// Used for everything that a run leaves behind.
#pragma once

#include <filesystem>
#include <span>
#include <string>
#include <string_view>

namespace espalier {

/// New content of a file, on disk in a temporary file beside it. Unless it is published, nothing
/// of it is left and the file is as it was.
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

 private:
  std::filesystem::path file_, path_;  ///< an empty path_: published, or moved away
};

/// Replaces `file` by the concatenation of `pieces`, through a temporary file in the same folder
/// that is synced to disk and renamed. UserError with the name and the system's reason if that
/// fails; then `file` is as it was and the temporary file is gone.
void write_atomically(const std::filesystem::path& file, std::span<const std::string_view> pieces);

/// Reads all of a file. UserError if it is missing, a folder, or cannot be read.
std::string read_whole_file(const std::filesystem::path& file);

}  // namespace espalier
