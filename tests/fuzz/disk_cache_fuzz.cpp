// Entries of the kernel cache: nothing but the very bytes of an entry is one. The first byte says
// whether the checksum is put right, so that what lies behind it is reached, and whether a file is
// read, which takes long.
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <optional>
#include <string>

#include "base/disk_cache.h"
#include "base/sha256.h"
#include "tests/fuzz/fuzz.h"

using namespace espalier;

namespace {

constexpr std::string_view key = "key";

/// The folder of a cache, for as long as the process lives.
const std::filesystem::path& folder() {
  static const struct Folder {
    Folder() {
      std::string name = (std::filesystem::temp_directory_path() / "espalier_fuzz_XXXXXX").string();
      fuzz::expect(::mkdtemp(name.data()) != nullptr, "a temporary folder");
      path = name;
    }
    ~Folder() {
      std::error_code ignored;
      std::filesystem::remove_all(path, ignored);
    }
    std::filesystem::path path;
  } made;
  return made.path;
}

/// By way of a file, which another process may have written.
std::optional<std::string> load(const std::string& entry) {
  DiskCache cache(folder());
  std::ofstream(cache.file(key), std::ios::binary | std::ios::trunc) << entry;
  std::filesystem::permissions(cache.file(key), std::filesystem::perms::owner_all);
  std::optional<std::string> object = cache.load(key);
  fuzz::expect(cache.problem().empty(), "the cache's folder can be used");
  return object;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  std::string entry(fuzz::text_of(data + 1, size - 1));
  if (data[0] % 2 != 0) {
    const Sha256 checksum = sha256({entry});
    entry.append(reinterpret_cast<const char*>(checksum.data()), checksum.size());
  }
  const auto object = entry_object(entry, key);
  if (object) fuzz::expect(entry_bytes(key, *object) == entry, "an entry is its object's");
  if (data[0] % 4 > 1) fuzz::expect(load(entry) == object, "a file is read as its bytes are");
  fuzz::expect(entry_object(entry_bytes(entry, entry), entry) == entry,
               "any object under any key is read back");
  return 0;
}
