#include "data/vocabulary.h"

#include <algorithm>
#include <fstream>
#include <system_error>

#include "ir/error.h"

namespace espalier::data {
namespace {

// The first byte that no token may hold, npos if there is none.
std::size_t bad_byte(std::string_view token) {
  const auto bad = std::ranges::find_if(token, [](char c) { return is_space(c) || c == '\0'; });
  return bad == token.end() ? token.npos : bad - token.begin();
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
  std::filesystem::path draft = file;
  draft += ".tmp";
  std::ofstream stream(draft, std::ios::binary);
  for (const std::string& token : tokens_) stream << token << '\n';
  stream.close();
  user_check(!stream.fail(), "{}: cannot write the file", draft.string());
  std::error_code error;
  std::filesystem::rename(draft, file, error);
  user_check(!error, "{}: cannot write the file: {}", file.string(), error.message());
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

}  // namespace espalier::data
