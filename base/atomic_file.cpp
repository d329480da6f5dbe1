#include "base/atomic_file.h"

#include <fcntl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include "base/error.h"

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

constexpr std::size_t kRandomDigits = 16;
constexpr std::string_view kDraftEnd = ".tmp";

/// Opens a new file beside `file`; `path` is where.
Descriptor make_beside(const fs::path& file, fs::path& path) {
  for (;;) {
    std::uint64_t random = 0;
    // getrandom gives eight bytes at once, or fails while the kernel has no entropy yet.
    while (::getrandom(&random, sizeof random, 0) != sizeof random) {
    }
    path = file.parent_path() /
           fmt::format(".{}.{:0{}x}{}", file.filename().string(), random, kRandomDigits, kDraftEnd);
    // O_EXCL fails if the name exists, and follows no link.
    const int number = ::open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (number >= 0) return Descriptor(number);
    if (errno != EEXIST) fail(file, "write the file", errno);
  }
}

/// Whether all of it was written; if not, errno is set.
bool write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    // One call writes at most 2 GiB on Linux.
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
    : file_(std::move(other.file_)), path_(std::exchange(other.path_, {})), kept_(other.kept_) {}

Draft::~Draft() {
  if (!path_.empty() && !kept_) ::unlink(path_.c_str());
}

std::string_view Draft::file_of(std::string_view draft) {
  const auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); };
  if (draft.size() < 3 + kRandomDigits + kDraftEnd.size()) return {};
  if (!draft.starts_with('.') || !draft.ends_with(kDraftEnd)) return {};
  draft.remove_prefix(1);
  draft.remove_suffix(kDraftEnd.size());
  if (draft.find('/') != draft.npos) return {};
  const std::string_view digits = draft.substr(draft.size() - kRandomDigits);
  draft.remove_suffix(kRandomDigits);
  if (!draft.ends_with('.') || !std::ranges::all_of(digits, is_digit)) return {};
  draft.remove_suffix(1);
  return draft == "." || draft == ".." ? std::string_view() : draft;
}

void Draft::publish() {
  if (::rename(path_.c_str(), file_.c_str()) != 0) fail(file_, "write the file", errno);
  path_.clear();
  // The new name must survive a crash, too. Some file systems cannot sync a folder; that is not an
  // error.
  const fs::path folder = file_.has_parent_path() ? file_.parent_path() : fs::path(".");
  const Descriptor opened(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
  if (opened.number >= 0) ::fsync(opened.number);
}

void write_atomically(const fs::path& file, std::span<const std::string_view> pieces) {
  Draft(file, pieces).publish();
}

LogFile::LogFile(fs::path file, bool hidden) : file_(std::move(file)) {
  if (hidden) {
    Descriptor made = make_beside(file_, draft_);
    descriptor_ = std::exchange(made.number, -1);
    return;
  }
  if (::unlink(file_.c_str()) != 0 && errno != ENOENT) fail(file_, "write the file", errno);
  descriptor_ = ::open(file_.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0666);
  if (descriptor_ < 0) fail(file_, "write the file", errno);
}

LogFile::~LogFile() {
  ::close(descriptor_);
  if (!draft_.empty()) ::unlink(draft_.c_str());
}

void LogFile::show() {
  if (draft_.empty()) return;
  if (::rename(draft_.c_str(), file_.c_str()) != 0) fail(file_, "write the file", errno);
  draft_.clear();
}

void LogFile::add(std::string_view text) { write_all(descriptor_, std::string(text) + '\n'); }

std::string read_whole_file(const fs::path& file, Links links) {
  // Without O_NONBLOCK, opening a pipe without a writer would block.
  const int flags = links == Links::refuse ? O_NOFOLLOW | O_NONBLOCK : 0;
  const Descriptor opened(::open(file.c_str(), O_RDONLY | O_CLOEXEC | flags));
  struct stat status{};
  if (opened.number < 0 && errno == ELOOP && links == Links::refuse)
    throw UserError(fmt::format("{}: found a link, expected a file", file.string()));
  if (opened.number < 0 || ::fstat(opened.number, &status) != 0) fail(file, "read the file", errno);
  if (S_ISDIR(status.st_mode)) fail(file, "read the file", EISDIR);
  user_check(links == Links::follow || S_ISREG(status.st_mode),
             "{}: found a pipe or a device, expected a file", file.string());
  // One byte more than the file has, so that its end is found without growing the buffer.
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
