#include "base/cache_folder.h"

#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <memory>
#include <system_error>

namespace espalier {

namespace fs = std::filesystem;

namespace {

std::string reason(int error) { return std::system_category().message(error); }

/// Whether only this user can have written it.
bool is_ours(const struct stat& status) {
  return status.st_uid == ::geteuid() && (status.st_mode & (S_IWGRP | S_IWOTH)) == 0;
}

/// Creates a folder and its parents; 0, or the errno.
int make_folders(const fs::path& path) {
  if (::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST) return 0;
  if (errno != ENOENT || !path.has_parent_path() || path.parent_path() == path) return errno;
  const int error = make_folders(path.parent_path());
  if (error != 0) return error;
  return ::mkdir(path.c_str(), 0700) == 0 || errno == EEXIST ? 0 : errno;
}

bool read_all(int file, std::string& bytes) {
  for (std::size_t done = 0; done < bytes.size();) {
    const ssize_t count = ::read(file, bytes.data() + done, bytes.size() - done);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return false;
    done += static_cast<std::size_t>(count);
  }
  return true;
}

/// Sets the file's times from this clock. The file system's own is coarser, and times from both
/// would not compare.
void set_used_now(int file) {
  timespec times[2];
  ::clock_gettime(CLOCK_REALTIME, &times[0]);
  times[1] = times[0];
  ::futimens(file, times);  // best effort
}

}  // namespace

bool Descriptor::close() { return number_ < 0 || ::close(std::exchange(number_, -1)) == 0; }

CacheFolder::CacheFolder(const fs::path& path, bool make) {
  if (make) {
    if (const int error = make_folders(path)) {
      problem_ = fmt::format("cannot be made: {}", reason(error));
      return;
    }
  }
  Descriptor folder(::open(path.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  const int error = errno;
  struct stat status{};
  if (!folder) {
    std::error_code gone;
    if (fs::is_symlink(path, gone))
      problem_ = "found a symbolic link, expected a folder";
    else if (make || error != ENOENT)
      problem_ = fmt::format("cannot be opened: {}", reason(error));
  } else if (::fstat(folder.number(), &status) != 0) {
    problem_ = fmt::format("cannot be opened: {}", reason(errno));
  } else if (status.st_uid != ::geteuid()) {
    problem_ = fmt::format("found a folder of user {}, expected one of user {}, who runs this",
                           status.st_uid, ::geteuid());
  } else if (!is_ours(status)) {
    problem_ = fmt::format(
        "found a folder that other users may write to (mode {:04o}), expected one of this user "
        "alone (0700)",
        status.st_mode & 07777U);
  } else {
    folder_ = std::move(folder);
  }
}

bool CacheFolder::read(const std::string& name, std::int64_t most, std::string& bytes) const {
  // O_NONBLOCK: a pipe of that name must not block.
  const Descriptor file(
      ::openat(folder_.number(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  struct stat status{};
  if (!file || ::fstat(file.number(), &status) != 0) return false;
  if (!S_ISREG(status.st_mode) || !is_ours(status) || status.st_size > most) return false;
  bytes.resize(static_cast<std::size_t>(status.st_size));
  return read_all(file.number(), bytes);
}

void CacheFolder::touch(const std::string& name) const {
  const Descriptor file(
      ::openat(folder_.number(), name.c_str(), O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  if (file) set_used_now(file.number());
}

Descriptor CacheFolder::create(const std::string& name) const {
  return Descriptor(::openat(folder_.number(), name.c_str(),
                             O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600));
}

bool CacheFolder::rename(const std::string& from, const std::string& to) const {
  return ::renameat(folder_.number(), from.c_str(), folder_.number(), to.c_str()) == 0;
}

void CacheFolder::remove(const std::string& name) const {
  ::unlinkat(folder_.number(), name.c_str(), 0);
}

std::vector<CacheFolder::File> CacheFolder::files() const {
  // A sparse file may claim any size; the cap keeps sums of sizes from overflowing.
  constexpr std::int64_t most = std::int64_t{1} << 40;
  std::vector<File> found;
  // Duplicated, since readdir moves its offset and closedir closes it.
  const int listed = ::openat(folder_.number(), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (listed < 0) return found;
  const std::unique_ptr<DIR, int (*)(DIR*)> folder(::fdopendir(listed), ::closedir);
  if (!folder) {
    ::close(listed);
    return found;
  }
  while (const dirent* entry = ::readdir(folder.get())) {
    struct stat status{};
    // Another process may remove a file at any time.
    if (::fstatat(listed, entry->d_name, &status, AT_SYMLINK_NOFOLLOW) != 0) continue;
    if (!S_ISREG(status.st_mode) || status.st_uid != ::geteuid()) continue;
    found.push_back({entry->d_name, std::min<std::int64_t>(status.st_size, most), status.st_mtim});
  }
  return found;
}

}  // namespace espalier
