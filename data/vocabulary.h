// Token ↔ id. Grown while the training data is read (ids in order of first appearance), then
// frozen; dev and test tokens that training never showed are `<unk>`, id 0. Saved as vocab.txt:
// a token a line, line number = id.
#pragma once

#include <cstddef>
#include <filesystem>
#include <functional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace espalier::data {

struct TextFile;

/// A token is not empty and holds no ASCII white space and no NUL; any other byte may be in it.
class Vocabulary {
 public:
  static constexpr int kUnknown = 0;
  static constexpr std::string_view kUnknownToken = "<unk>";

  /// Holds `<unk>` only.
  Vocabulary() { add(kUnknownToken); }

  int size() const { return static_cast<int>(tokens_.size()); }

  /// The id of `token`. A new token is added, or is kUnknown once frozen. UserError if it cannot
  /// be a token.
  int intern(std::string_view token);

  /// The id of `token`, kUnknown if it is not there.
  int find(std::string_view token) const;

  /// The token of id 0 ≤ `id` < size().
  const std::string& token(int id) const { return tokens_[id]; }

  /// From now on intern() adds nothing.
  void freeze() { frozen_ = true; }
  bool frozen() const { return frozen_; }

  /// Forgets the tokens of id ≥ `size`, where 1 ≤ `size` ≤ size().
  void truncate(int size);

  /// Writes vocab.txt, whole or not at all. UserError if it cannot be written.
  void save(const std::filesystem::path& file) const;

  /// The text of a vocab.txt; the result is frozen. UserError with file:line:column unless line 1
  /// is `<unk>` and every line is a token that no other line holds. CR LF is accepted.
  static Vocabulary parse(const TextFile& file);

  /// Reads vocab.txt.
  static Vocabulary load(const std::filesystem::path& file);

  /// Same tokens, same ids.
  bool operator==(const Vocabulary& other) const { return tokens_ == other.tokens_; }

 private:
  struct Hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view token) const {
      return std::hash<std::string_view>()(token);
    }
  };

  int add(std::string_view token);

  std::vector<std::string> tokens_;
  std::unordered_map<std::string, int, Hash, std::equal_to<>> ids_;
  bool frozen_ = false;
};

}  // namespace espalier::data
