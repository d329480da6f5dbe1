#include "codegen/kernel_cache.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <utility>
#include <vector>

namespace espalier::codegen {

namespace fs = std::filesystem;

namespace {

// magic, length of the key, length of the object, key, object, checksum of all that
constexpr std::string_view magic = "espalier kernel 1\n";

/// FNV-1a with a finaliser (MurmurHash3's), so that every bit of the text reaches every bit.
std::uint64_t hash(std::string_view text, std::uint64_t seed) {
  std::uint64_t h = 0xcbf29ce484222325 ^ seed;
  for (const char c : text) h = (h ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  h = (h ^ (h >> 33)) * 0xff51afd7ed558ccd;
  h = (h ^ (h >> 33)) * 0xc4ceb9fe1a85ec53;
  return h ^ (h >> 33);
}

void append(std::string& text, std::uint64_t number) {
  text.append(reinterpret_cast<const char*>(&number), sizeof number);
}

std::string header(std::string_view key, std::string_view object) {
  std::string text(magic);
  append(text, key.size());
  append(text, object.size());
  return text.append(key);
}

bool write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = write(file, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

constexpr std::string_view ending = ".kernel", temporary_name = "new.";

struct Entry {
  fs::path path;
  fs::file_time_type used;
  std::int64_t size;
};

/// The files that are ours; others in the directory are left alone. What others are writing is not
/// counted, unless it has been left behind.
std::vector<Entry> entries_in(const fs::path& directory) {
  std::vector<Entry> entries;
  const auto abandoned = fs::file_time_type::clock::now() - std::chrono::hours(1);
  std::error_code error;
  for (fs::directory_iterator at(directory, error), end; !error && at != end; at.increment(error)) {
    // Each may vanish at any time.
    std::error_code gone;
    const std::string name = at->path().filename().string();
    const bool is_temporary = name.starts_with(temporary_name);
    if ((!name.ends_with(ending) && !is_temporary) || !at->is_regular_file(gone) || gone) continue;
    const fs::file_time_type used = at->last_write_time(gone);
    if (gone || (is_temporary && used > abandoned)) continue;
    const std::uintmax_t size = at->file_size(gone);
    if (!gone) entries.push_back({at->path(), used, static_cast<std::int64_t>(size)});
  }
  return entries;
}

}  // namespace

fs::path KernelCache::file(std::string_view key) const {
  return directory_ /
         fmt::format("{:016x}{:016x}{}", hash(key, 0), hash(key, key.size() + 1), ending);
}

std::optional<std::string> KernelCache::load(std::string_view key) const {
  if (directory_.empty()) return std::nullopt;
  std::error_code error;
  const std::uintmax_t size = fs::file_size(file(key), error);
  if (error) return std::nullopt;
  std::string text(size, '\0');
  if (!std::ifstream(file(key), std::ios::binary).read(text.data(), std::ssize(text)))
    return std::nullopt;

  constexpr std::size_t number = sizeof(std::uint64_t);
  const std::size_t fixed = magic.size() + 2 * number + key.size() + number;
  if (text.size() < fixed) return std::nullopt;
  const std::string_view content(text.data(), text.size() - number);
  std::uint64_t checksum;
  std::memcpy(&checksum, text.data() + content.size(), number);
  // The key is compared in full. With it, the header says what length the rest must have.
  const std::string_view object = content.substr(magic.size() + 2 * number + key.size());
  if (!content.starts_with(header(key, object)) || checksum != hash(content, 0))
    return std::nullopt;
  fs::last_write_time(file(key), fs::file_time_type::clock::now(), error);  // if it can
  return std::string(object);
}

void KernelCache::trim() {
  std::vector<Entry> entries = entries_in(directory_);
  std::int64_t total = 0;
  for (const Entry& entry : entries) total += entry.size;
  if (total > limit_) {
    std::ranges::sort(entries, {}, &Entry::used);
    // A little more than needed, so as not to come here again with each file.
    for (const Entry& entry : entries) {
      if (total <= limit_ - limit_ / 8) break;
      // It may be gone already: another process removes the same ones.
      std::error_code ignored;
      fs::remove(entry.path, ignored);
      total -= entry.size;
    }
  }
  room_ = std::min(limit_ - total, limit_ / 8);
}

bool KernelCache::store(std::string_view key, std::string_view object) {
  if (directory_.empty()) return true;
  std::string text = header(key, object).append(object);
  append(text, hash(text, 0));

  std::error_code error;
  fs::create_directories(directory_, error);
  std::string temporary = (directory_ / fmt::format("{}XXXXXX", temporary_name)).string();
  const int descriptor = mkstemp(temporary.data());
  if (descriptor < 0) return false;
  const bool written = write_all(descriptor, text);
  if (close(descriptor) == 0 && written) {
    // The clock of the file system is coarser: all times come from this one, so that they compare.
    fs::last_write_time(temporary, fs::file_time_type::clock::now(), error);
    fs::rename(temporary, file(key), error);
    if (!error) {
      room_ -= std::ssize(text);
      if (room_ < 0) trim();
      return true;
    }
  }
  fs::remove(temporary, error);
  return false;
}

}  // namespace espalier::codegen
