#include "base/disk_cache.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdlib>
#include <ctime>
#include <random>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

#include "base/cache_folder.h"
#include "base/sha256.h"

namespace espalier {

namespace fs = std::filesystem;

namespace {

// magic, length of the key, length of the object, key, object, checksum of all that
constexpr std::string_view magic = "espalier kernel 2\n";
constexpr std::size_t checksum_bytes = std::tuple_size_v<Sha256>;

std::string header(std::string_view key, std::size_t object_bytes) {
  std::string text(magic);
  for (const std::uint64_t size : {key.size(), object_bytes})
    text.append(reinterpret_cast<const char*>(&size), sizeof size);
  return text.append(key);
}

Sha256 checksum(std::string_view content) { return sha256({content}); }

std::string_view text_of(const Sha256& hash) {
  return {reinterpret_cast<const char*>(hash.data()), hash.size()};
}

// Names: an entry's, `<32 digits>.kernel`; while it is written, with six letters more.
constexpr std::string_view ending = ".kernel";
constexpr std::size_t name_digits = 32, random_letters = 6;
constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyz012345";

std::string name_of(std::string_view key) {
  return to_hex(sha256({key})).substr(0, name_digits).append(ending);
}

std::string temporary_name(std::string_view name) {
  std::random_device random;
  std::string result = fmt::format("{}.", name);
  for (std::size_t i = 0; i < random_letters; ++i) result += letters[random() % letters.size()];
  return result;
}

bool is_entry(std::string_view name) {
  return name.size() == name_digits + ending.size() && name.ends_with(ending) &&
         name.substr(0, name_digits).find_first_not_of("0123456789abcdef") == name.npos;
}

bool is_temporary(std::string_view name) {
  constexpr std::size_t size = name_digits + ending.size();
  return name.size() == size + 1 + random_letters && is_entry(name.substr(0, size)) &&
         name[size] == '.' && name.find_first_not_of(letters, size + 1) == name.npos;
}

bool write_all(int file, std::string_view text) {
  while (!text.empty()) {
    const ssize_t written = ::write(file, text.data(), text.size());
    if (written < 0 && errno == EINTR) continue;
    if (written <= 0) return false;
    text.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

/// The cache's own files; others in the directory are left alone. A file that another process is
/// still writing does not count, unless it is old enough to be abandoned.
std::vector<CacheFolder::File> own_files(const CacheFolder& folder) {
  std::vector<CacheFolder::File> files = folder.files();
  const std::time_t abandoned = std::time(nullptr) - 3600;
  std::erase_if(files, [&](const CacheFolder::File& file) {
    return !is_entry(file.name) && !(is_temporary(file.name) && file.used.tv_sec < abandoned);
  });
  return files;
}

}  // namespace

std::string entry_bytes(std::string_view key, std::string_view object) {
  std::string bytes = header(key, object.size()).append(object);
  return bytes.append(text_of(checksum(bytes)));
}

std::optional<std::string_view> entry_object(std::string_view bytes, std::string_view key) {
  const std::size_t before = header(key, 0).size();
  if (bytes.size() < before + checksum_bytes) return std::nullopt;
  const std::string_view content = bytes.substr(0, bytes.size() - checksum_bytes);
  // The key is compared in full. With it, the header says what length the rest must have.
  const std::string_view object = content.substr(before);
  if (!content.starts_with(header(key, object.size()))) return std::nullopt;
  if (bytes.substr(content.size()) != text_of(checksum(content))) return std::nullopt;
  return object;
}

DiskCache::DiskCache(fs::path directory, std::int64_t limit)
    : directory_(std::move(directory)), limit_(limit) {
  // A trailing slash would make the system follow a link of that name.
  if (!directory_.empty() && !directory_.has_filename()) directory_ = directory_.parent_path();
}

fs::path DiskCache::file(std::string_view key) const { return directory_ / name_of(key); }

void DiskCache::note(const std::string& problem) {
  if (problem_.empty() && !problem.empty())
    problem_ = fmt::format("{}: {}", directory_.string(), problem);
}

std::optional<std::string> DiskCache::load(std::string_view key) {
  if (directory_.empty()) return std::nullopt;
  const CacheFolder folder(directory_, /*make=*/false);
  note(folder.problem());
  std::string bytes;
  if (!folder || !folder.read(name_of(key), limit_, bytes)) return std::nullopt;
  const std::optional<std::string_view> object = entry_object(bytes, key);
  if (!object) return std::nullopt;
  folder.touch(name_of(key));
  return std::string(*object);
}

void DiskCache::trim(const CacheFolder& folder) {
  std::vector<CacheFolder::File> files = own_files(folder);
  std::int64_t total = 0;
  for (const CacheFolder::File& file : files) total += file.size;
  if (total > limit_) {
    std::ranges::sort(files, {}, [](const CacheFolder::File& file) {
      return std::pair(file.used.tv_sec, file.used.tv_nsec);
    });
    // Frees a little more than needed, so that the next files need no trimming.
    for (const CacheFolder::File& file : files) {
      if (total <= limit_ - limit_ / 8) break;
      folder.remove(file.name);  // another process removes the same ones
      total -= file.size;
    }
  }
  room_ = std::min(limit_ - total, limit_ / 8);
}

bool DiskCache::store(std::string_view key, std::string_view object) {
  if (directory_.empty()) return true;
  const std::string bytes = entry_bytes(key, object);
  if (std::ssize(bytes) > limit_) return true;
  const CacheFolder folder(directory_, /*make=*/true);
  note(folder.problem());
  if (!folder) return false;

  const std::string name = name_of(key), temporary = temporary_name(name);
  Descriptor file = folder.create(temporary);
  bool written = file && write_all(file.number(), bytes) && file.close();
  if (written) folder.touch(temporary);
  written = written && folder.rename(temporary, name);
  if (written) {
    room_ -= std::ssize(bytes);
    if (room_ < 0) trim(folder);
    return true;
  }
  note(fmt::format("cannot be written: {}", std::system_category().message(errno)));
  folder.remove(temporary);
  return false;
}

DiskCache::Usage DiskCache::usage() {
  Usage usage;
  if (directory_.empty()) return usage;
  const CacheFolder folder(directory_, /*make=*/false);
  note(folder.problem());
  if (!folder) return usage;
  for (const CacheFolder::File& file : own_files(folder)) {
    if (!is_entry(file.name)) continue;
    ++usage.files;
    usage.bytes += file.size;
  }
  return usage;
}

std::filesystem::path default_cache_directory() {
  // By the XDG base directory specification, a relative path counts as unset.
  if (const char* cache = std::getenv("XDG_CACHE_HOME"); cache && *cache == '/')
    return std::filesystem::path(cache) / "espalier";
  if (const char* home = std::getenv("HOME"); home && *home)
    return std::filesystem::path(home) / ".cache" / "espalier";
  return {};
}

}  // namespace espalier
