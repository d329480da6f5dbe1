// Object code on disk, one file per key. A file is found by a hash of its key, but belongs to it
// only if the full key text in it is equal and its checksum holds; anything else is as good as
// absent. Objects are run as machine code, so nothing is read that another user may have written.
// Several processes may share a directory: a file appears whole, by rename, and may vanish, since
// those that were used longest ago are removed when all together become too large.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace espalier {

/// What an entry's file holds, and back: the object, if the bytes are those of an entry of exactly
/// this key.
std::string entry_bytes(std::string_view key, std::string_view object);
std::optional<std::string_view> entry_object(std::string_view bytes, std::string_view key);

class CacheFolder;

class DiskCache {
 public:
  static constexpr std::int64_t kUsualLimit = std::int64_t{256} << 20;

  /// An empty directory means no cache: load finds nothing, store does nothing. The directory is
  /// made when something is stored, for this user alone (0700). `limit` is for the bytes of all
  /// files; other processes that store at the same time may exceed it for a while, by an eighth
  /// each.
  explicit DiskCache(std::filesystem::path directory, std::int64_t limit = kUsualLimit);

  /// The object stored under exactly this key, which counts as used just now.
  std::optional<std::string> load(std::string_view key);
  /// Writes or replaces the key's file, then removes files if they are too large together; one that
  /// is larger than the limit by itself is not written. False if the directory cannot be used.
  bool store(std::string_view key, std::string_view object);
  /// Why the directory could not be used, where it could not: the first such reason, for the user.
  const std::string& problem() const { return problem_; }

  struct Usage {
    std::int64_t files = 0, bytes = 0;
  };
  /// Of the entries; other files do not count.
  Usage usage();
  /// The file of a key, whether it exists or not.
  std::filesystem::path file(std::string_view key) const;

 private:
  void trim(const CacheFolder& folder);
  void note(const std::string& problem);

  std::filesystem::path directory_;
  std::int64_t limit_;
  std::int64_t room_ = 0;  // bytes that can be stored before the files are counted again
  std::string problem_;
};

/// `$XDG_CACHE_HOME/espalier`, or `~/.cache/espalier`; empty if neither variable is set.
std::filesystem::path default_cache_directory();

}  // namespace espalier
