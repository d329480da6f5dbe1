// A run folder while something is saved into it, and how several files of it change together. One
// process at a time saves into a folder; a reader needs no lock and, also after a crash, sees the
// files of one save. Made by whoever saves a model (training/checkpoint.h), for the whole run by
// the command.
#pragma once

#include <filesystem>
#include <span>
#include <string_view>

#include "base/atomic_file.h"

namespace espalier {

/// Holds the lock of a folder. The lock goes with the process, however that ends.
class RunFolder {
 public:
  /// Makes the folder where it is missing and locks it; then brings to an end what a process that
  /// was killed there had begun, and removes its drafts. UserError if the folder cannot be made, or
  /// naming process and host if another one has the lock.
  explicit RunFolder(std::filesystem::path folder);
  /// Unlocks. A folder that was made here and is empty still goes away.
  ~RunFolder();
  RunFolder(const RunFolder&) = delete;
  RunFolder& operator=(const RunFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }

  /// Publishes drafts of files in the folder together: whoever reads through current_file sees all
  /// of the old files or all of the new. UserError if one cannot be written; if it says so before
  /// anything has changed, nothing changes.
  void publish(std::span<Draft> drafts) const;

 private:
  void lock();
  void tidy() const;

  std::filesystem::path path_;
  bool made_ = false;
  int lock_ = -1;
};

/// Where the content of the file `name` of a run folder lies: there, or in its draft, if the
/// process that published it was killed in between.
std::filesystem::path current_file(const std::filesystem::path& folder, std::string_view name);

}  // namespace espalier
