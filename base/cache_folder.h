// The folder of the kernel cache, opened once for each use: all of its files are reached through
// that descriptor, and none of them through a link. Only what this user owns and nobody else may
// write is trusted.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

namespace espalier {

/// A file descriptor, closed at the end; negative for none.
class Descriptor {
 public:
  explicit Descriptor(int number = -1) : number_(number) {}
  ~Descriptor() { close(); }
  Descriptor(Descriptor&& other) noexcept : number_(std::exchange(other.number_, -1)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(number_, other.number_);
    return *this;
  }

  explicit operator bool() const { return number_ >= 0; }
  int number() const { return number_; }
  /// False, with errno, if what was written is not there.
  bool close();

 private:
  int number_;
};

class CacheFolder {
 public:
  /// Opens the folder; with `make`, makes it and those above it first, for this user alone. Where
  /// it cannot be used, problem() says why; a folder that is missing is a problem only if it was to
  /// be made.
  CacheFolder(const std::filesystem::path& path, bool make);

  explicit operator bool() const { return bool(folder_); }
  const std::string& problem() const { return problem_; }

  /// The whole file; false if there is none to be trusted, or it has more bytes than `most`.
  bool read(const std::string& name, std::int64_t most, std::string& bytes) const;
  /// The file counts as used just now.
  void touch(const std::string& name) const;
  /// A new file that only this user can read. No file if the name is taken, or by errno.
  Descriptor create(const std::string& name) const;
  bool rename(const std::string& from, const std::string& to) const;
  /// It may be gone already.
  void remove(const std::string& name) const;

  struct File {
    std::string name;
    std::int64_t size;
    timespec used;
  };
  /// This user's own regular files; sizes of more than a TiB count as one.
  std::vector<File> files() const;

 private:
  Descriptor folder_;
  std::string problem_;
};

}  // namespace espalier
