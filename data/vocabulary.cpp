#include "data/vocabulary.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <random>
#include <system_error>

#include "base/error.h"
#include "data/text_file.h"

namespace espalier::data {
namespace {

// The first byte that no token may hold, npos if there is none.
std::size_t bad_byte(std::string_view token) {
  const auto bad = std::ranges::find_if(token, [](char c) { return is_space(c) || c == '\0'; });
  return bad == token.end() ? token.npos : bad - token.begin();
}

bool write_all(int descriptor, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t written = ::write(descriptor, bytes.data(), bytes.size());
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) return false;
    bytes.remove_prefix(static_cast<std::size_t>(written));
  }
  return true;
}

/// Gives the file new content, whole or not at all, through a new file beside it whose name nobody
/// can forecast. What the file was, a link too, is replaced.
void replace_file(const std::filesystem::path& file, std::string_view text) {
  std::random_device random;
  std::filesystem::path draft;
  int opened = -1;
  do {
    draft = file.parent_path() /
            fmt::format(".{}.{:08x}{:08x}.tmp", file.filename().string(), random(), random());
    opened = ::open(draft.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
  } while (opened < 0 && errno == EEXIST);
  bool written = opened >= 0 && write_all(opened, text) && ::fsync(opened) == 0;
  int reason = errno;
  if (opened >= 0) ::close(opened);
  if (written && ::rename(draft.c_str(), file.c_str()) == 0) return;
  if (written) reason = errno;
  if (opened >= 0) ::unlink(draft.c_str());
  throw UserError(fmt::format("{}: cannot write the file: {}", file.string(),
                              std::system_category().message(reason)));
}

}  // namespace

int Vocabulary::intern(std::string_view token) {
  if (const auto known = ids_.find(token); known != ids_.end()) return known->second;
  if (frozen_) return kUnknown;
  user_check(!token.empty() && bad_byte(token) == token.npos,
             "vocabulary: found {}, expected a token without white space", quoted(token));
  return add(token);
}

int Vocabulary::find(std::string_view token) const {
  const auto known = ids_.find(token);
  return known == ids_.end() ? kUnknown : known->second;
}

int Vocabulary::add(std::string_view token) {
  const int id = size();
  tokens_.emplace_back(token);
  ids_.emplace(token, id);
  return id;
}

void Vocabulary::truncate(int size) {
  for (int id = size; id < this->size(); ++id) ids_.erase(tokens_[id]);
  tokens_.resize(size);
}

void Vocabulary::save(const std::filesystem::path& file) const {
  std::string text;
  for (const std::string& token : tokens_) {
    text += token;
    text += '\n';
  }
  replace_file(file, text);
}

Vocabulary Vocabulary::parse(const TextFile& file) {
  const std::string_view text = file.text;
  Vocabulary result;
  std::size_t begin = 0;
  for (int line = 1; begin < text.size() || line == 1; ++line) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view token = text.substr(begin, end - begin);
    if (token.ends_with('\r')) token.remove_suffix(1);

    if (token.empty()) file.fail(begin, "an empty line", "a token");
    if (const std::size_t bad = bad_byte(token); bad != token.npos)
      file.fail(begin + bad, quoted(token.substr(bad, 1)), "a token without white space");
    if (line == 1) {
      if (token != kUnknownToken) file.fail(begin, quoted(token), "'<unk>' on the first line");
    } else if (const auto known = result.ids_.find(token); known != result.ids_.end()) {
      file.fail(begin, fmt::format("{} again, as on line {}", quoted(token), known->second + 1),
                "a new token");
    } else {
      result.add(token);
    }
    begin = end + 1;
  }
  result.freeze();
  return result;
}

Vocabulary Vocabulary::load(const std::filesystem::path& file) {
  return parse(read_text_file(file));
}

}  // namespace espalier::data
