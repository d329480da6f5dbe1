// A cache on disk, one file per key: compiled kernels, and measurements of devices. A file is found
// by the hash of its key, and used only if it holds exactly that key and a valid checksum. Kernels
// run as machine code, so files that another user may have written are never read. Several
// processes may share a directory: a file appears whole, by rename, and may vanish, because the
// least recently used files are removed when all together become too large.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>

namespace espalier {

/// The content of an entry's file, and back: the object, if `bytes` are an entry of exactly this
/// key.
std::string entry_bytes(std::string_view key, std::string_view object);
std::optional<std::string_view> entry_object(std::string_view bytes, std::string_view key);

class CacheFolder;

class DiskCache {
 public:
  static constexpr std::int64_t default_limit = std::int64_t{256} << 20;

  /// With an empty directory there is no cache: load finds nothing, store does nothing. The first
  /// store creates the directory, for this user alone (0700). `limit` bounds the bytes of all
  /// files; each other process that stores at the same time may exceed it by an eighth for a while.
  explicit DiskCache(std::filesystem::path directory, std::int64_t limit = default_limit);

  /// The object stored under exactly this key; marks it as just used.
  std::optional<std::string> load(std::string_view key);
  /// Writes or replaces the key's file, then removes old files if all together exceed the limit. An
  /// entry larger than the limit is not written. False if the directory cannot be used.
  bool store(std::string_view key, std::string_view object);
  /// The first reason why the directory could not be used, for the user; empty if there is none.
  const std::string& problem() const { return problem_; }

  struct Usage {
    std::int64_t files = 0, bytes = 0;
  };
  /// Counts entries only, no other files in the directory.
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
