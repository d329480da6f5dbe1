// Object code on disk, one file per key. A file is found by a hash of its key, but belongs to it
// only if the full key text in it is equal and its checksum holds; anything else is as good as
// absent. Several processes may share a directory: a file appears whole, by rename, and may vanish,
// since those that were used longest ago are removed when all together become too large.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

namespace espalier::codegen {

class KernelCache {
 public:
  static constexpr std::int64_t kUsualLimit = std::int64_t{256} << 20;

  /// An empty directory means no cache: load finds nothing, store does nothing. `limit` is for the
  /// bytes of all files; other processes that store at the same time may exceed it for a while, by
  /// an eighth each.
  explicit KernelCache(std::filesystem::path directory, std::int64_t limit = kUsualLimit)
      : directory_(std::move(directory)), limit_(limit) {}

  /// The object stored under exactly this key, which counts as used just now.
  std::optional<std::string> load(std::string_view key) const;
  /// Writes or replaces the key's file, then removes files if they are too large together. False if
  /// the directory cannot be written.
  bool store(std::string_view key, std::string_view object);
  /// The file of a key, whether it exists or not.
  std::filesystem::path file(std::string_view key) const;

 private:
  void trim();

  std::filesystem::path directory_;
  std::int64_t limit_;
  std::int64_t room_ = 0;  // bytes that can be stored before the files are counted again
};

}  // namespace espalier::codegen
