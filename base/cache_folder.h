// The folder of a disk cache, opened once per use. All of its files are opened relative to that
// descriptor, and symbolic links are never followed. Only files that this user owns and nobody else
// may write are trusted.
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
  /// False, with errno set, if the system reports that written data was lost.
  bool close();

 private:
  int number_;
};

class CacheFolder {
 public:
  /// Opens the folder; with `make`, first creates it and its parents, for this user alone. If it
  /// cannot be used, problem() says why. A missing folder is a problem only with `make`.
  CacheFolder(const std::filesystem::path& path, bool make);

  explicit operator bool() const { return bool(folder_); }
  const std::string& problem() const { return problem_; }

  /// Reads the whole file; false if it is missing, not trusted, or larger than `most` bytes.
  bool read(const std::string& name, std::int64_t most, std::string& bytes) const;
  /// Marks the file as just used.
  void touch(const std::string& name) const;
  /// Creates a file that only this user can read. An empty descriptor, with errno set, if that
  /// fails; EEXIST if the name is taken.
  Descriptor create(const std::string& name) const;
  bool rename(const std::string& from, const std::string& to) const;
  /// Does nothing if the file is gone already.
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
