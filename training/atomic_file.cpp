#include "training/atomic_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include "ir/error.h"

namespace espalier {
namespace {

namespace fs = std::filesystem;

[[noreturn]] void fail(const fs::path& file, std::string_view what, int reason) {
  throw UserError(fmt::format("{}: cannot {}: {}", file.string(), what,
                              std::system_category().message(reason)));
}

/// An open file, closed at the end.
struct Descriptor {
  explicit Descriptor(int number) : number(number) {}
  ~Descriptor() {
    if (number >= 0) ::close(number);
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int number;
};

/// Opens a new file beside `file`; `path` is where.
Descriptor make_beside(const fs::path& file, fs::path& path) {
  for (int i = 0;; ++i) {
    path =
        file.parent_path() / fmt::format(".{}.{}-{}.tmp", file.filename().string(), ::getpid(), i);
    const int number = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (number >= 0) return Descriptor(number);
    if (errno != EEXIST) fail(file, "write the file", errno);
  }
}

/// Whether all of it arrived; errno says why not.
bool write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    // Linux writes at most 2 GiB a call.
    const ssize_t written =
        ::write(descriptor, bytes.data(), std::min<std::size_t>(bytes.size(), 1 << 30));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

}  // namespace

Draft::Draft(const fs::path& file, std::span<const std::string_view> pieces) : file_(file) {
  Descriptor opened = make_beside(file, path_);
  bool written = std::ranges::all_of(
      pieces, [&](std::string_view piece) { return write_all(opened.number, piece); });
  written = written && ::fsync(opened.number) == 0;
  // Some file systems report a full disk only here.
  written = written && ::close(std::exchange(opened.number, -1)) == 0;
  if (written) return;
  const int reason = errno;
  ::unlink(path_.c_str());
  fail(file, "write the file", reason);
}

Draft::Draft(Draft&& other) noexcept
    : file_(std::move(other.file_)), path_(std::exchange(other.path_, {})) {}

Draft::~Draft() {
  if (!path_.empty()) ::unlink(path_.c_str());
}

void Draft::publish() {
  if (::rename(path_.c_str(), file_.c_str()) != 0) fail(file_, "write the file", errno);
  path_.clear();
  // The new name must survive a crash too. Not every file system can sync a folder: that is no
  // failure.
  const fs::path folder = file_.has_parent_path() ? file_.parent_path() : fs::path(".");
  const Descriptor opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (opened.number >= 0) ::fsync(opened.number);
}

void write_atomically(const fs::path& file, std::span<const std::string_view> pieces) {
  Draft(file, pieces).publish();
}

std::string read_whole_file(const fs::path& file) {
  const Descriptor opened(::open(file.c_str(), O_RDONLY | O_CLOEXEC));
  struct stat status{};
  if (opened.number < 0 || ::fstat(opened.number, &status) != 0) fail(file, "read the file", errno);
  if (S_ISDIR(status.st_mode)) fail(file, "read the file", EISDIR);
  // One byte more than the file has, so that its end is seen without growing.
  std::string bytes(static_cast<std::size_t>(std::max<off_t>(status.st_size, 0)) + 1, '\0');
  std::size_t size = 0;
  for (;;) {
    // Grows past what fstat said: pipes and files of /proc have no size.
    if (size == bytes.size()) bytes.resize(2 * size + 4096);
    const ssize_t count = ::read(opened.number, bytes.data() + size,
                                 std::min<std::size_t>(bytes.size() - size, 1 << 30));
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) fail(file, "read the file", errno);
    if (count == 0) break;
    size += static_cast<std::size_t>(count);
  }
  bytes.resize(size);
  return bytes;
}

}  // namespace espalier
