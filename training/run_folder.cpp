#include "training/run_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "base/atomic_file.h"
#include "base/error.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;

constexpr const char* kLockFile = ".lock";
/// The names of the drafts of a publication, a line each. While it is there they are the files.
constexpr const char* kRecordFile = ".publication";

bool is_there(const fs::path& file) {
  struct stat status{};
  return ::lstat(file.c_str(), &status) == 0;
}

/// The drafts that the record of a folder names.
std::vector<std::string> recorded_drafts(const fs::path& folder) {
  const fs::path record = folder / kRecordFile;
  std::vector<std::string> drafts;
  if (!is_there(record)) return drafts;
  const std::string text = read_whole_file(record, Links::refuse);
  for (std::string_view rest = text; !rest.empty();) {
    const std::size_t end = std::min(rest.find('\n'), rest.size());
    if (const std::string_view line = rest.substr(0, end); !Draft::file_of(line).empty())
      drafts.emplace_back(line);
    rest.remove_prefix(std::min(end + 1, rest.size()));
  }
  return drafts;
}

/// `pid 123 on host x`, as the owner of a lock wrote it; what shows of it.
std::string owner_of(int lock) {
  char text[128];
  const ssize_t size = ::pread(lock, text, sizeof text, 0);
  std::string owner(text, static_cast<std::size_t>(std::max<ssize_t>(size, 0)));
  owner = owner.substr(0, owner.find('\n'));
  std::ranges::replace_if(owner, [](char c) { return c < ' ' || c > '~'; }, '?');
  return owner.empty() ? "another process" : owner;
}

}  // namespace

RunFolder::RunFolder(fs::path folder) : path_(std::move(folder)) {
  if (!path_.has_filename()) path_ = path_.parent_path();  // "run/"
  std::error_code error;
  made_ = fs::create_directories(path_, error);
  user_check(!error, "{}: cannot make the folder: {}", path_.string(), error.message());
  lock();
  tidy();
}

RunFolder::~RunFolder() {
  // While it is still locked: whoever waits for this file sees that it is gone and makes a new one.
  ::unlink((path_ / kLockFile).c_str());
  ::close(lock_);
  if (made_) ::rmdir(path_.c_str());
}

void RunFolder::lock() {
  const fs::path file = path_ / kLockFile;
  for (;;) {
    const int opened =
        ::open(file.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0666);
    user_check(opened >= 0, "{}: cannot write the file: {}", file.string(),
               std::system_category().message(errno));
    // A file system that knows no locks, as some of clusters, is used without.
    if (::flock(opened, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
      const std::string owner = owner_of(opened);
      ::close(opened);
      throw UserError(fmt::format(
          "{}: found it in use by {}, expected a folder that no other process saves into",
          path_.string(), owner));
    }
    struct stat locked{}, there{};
    if (::fstat(opened, &locked) == 0 && ::lstat(file.c_str(), &there) == 0 &&
        locked.st_ino == there.st_ino && locked.st_dev == there.st_dev) {
      lock_ = opened;
      break;
    }
    ::close(opened);  // its owner has just removed it
  }
  char host[256] = "";
  ::gethostname(host, sizeof host - 1);
  const std::string owner = fmt::format("pid {} on host {}\n", ::getpid(), host);
  // Only for those who meet the lock: it holds without.
  if (::ftruncate(lock_, 0) == 0) (void)!::pwrite(lock_, owner.data(), owner.size(), 0);
}

void RunFolder::tidy() const {
  for (const std::string& draft : recorded_drafts(path_)) {
    if (!is_there(path_ / draft)) continue;  // it was published already
    const fs::path file = path_ / Draft::file_of(draft);
    user_check(::rename((path_ / draft).c_str(), file.c_str()) == 0,
               "{}: cannot write the file: {}", file.string(),
               std::system_category().message(errno));
  }
  ::unlink((path_ / kRecordFile).c_str());
  std::error_code error;
  for (fs::directory_iterator entry(path_, error), end; !error && entry != end;
       entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    if (!Draft::file_of(name).empty()) ::unlink(entry->path().c_str());
  }
}

void RunFolder::publish(std::span<Draft> drafts) const {
  if (drafts.size() == 1) return drafts.front().publish();
  std::string record;
  for (const Draft& draft : drafts) {
    internal_check(draft.file().parent_path() == path_, "{} is not in {}", draft.file().string(),
                   path_.string());
    std::error_code unknown;
    user_check(!fs::is_directory(fs::symlink_status(draft.file(), unknown)),
               "{}: found a folder, expected a file", draft.file().string());
    record += draft.path().filename().string() + '\n';
  }
  const std::string_view piece = record;
  write_atomically(path_ / kRecordFile, {&piece, 1});
  // Now they are the files, whatever happens.
  for (Draft& draft : drafts) draft.keep();
  for (Draft& draft : drafts) draft.publish();
  ::unlink((path_ / kRecordFile).c_str());
}

fs::path current_file(const fs::path& folder, std::string_view name) {
  for (const std::string& draft : recorded_drafts(folder))
    if (Draft::file_of(draft) == name && is_there(folder / draft)) return folder / draft;
  return folder / name;
}

}  // namespace espalier
