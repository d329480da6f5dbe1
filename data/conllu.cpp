#include "data/conllu.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>

#include "ir/error.h"

namespace espalier::data::conllu {
namespace {

enum Field { kId, kForm, kLemma, kUpos, kXpos, kFeats, kHead, kDeprel, kDeps, kMisc, kFields };
constexpr std::array<std::string_view, kFields> kNames = {
    "ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC"};
using Fields = std::array<std::string_view, kFields>;

bool may_hold_spaces(int field) { return field == kForm || field == kLemma || field == kMisc; }

// The bytes of the UTF-8 character that `text` begins with; 0 if that is none.
std::size_t character_size(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  if (first < 0xC2 || first > 0xF4) return 0;
  const std::size_t size = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  if (text.size() < size) return 0;
  for (std::size_t i = 1; i < size; ++i)
    if ((byte(i) & 0xC0) != 0x80) return 0;
  // Spelled too long, a surrogate, or above U+10FFFF.
  const bool wrong = (first == 0xE0 && byte(1) < 0xA0) || (first == 0xED && byte(1) > 0x9F) ||
                     (first == 0xF0 && byte(1) < 0x90) || (first == 0xF4 && byte(1) > 0x8F);
  return wrong ? 0 : size;
}

void check_text(const TextFile& file) {
  const std::string_view text = file.text;
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t size = character_size(text.substr(at));
    const auto byte = static_cast<unsigned char>(text[at]);
    if (size == 0) file.fail(at, fmt::format("byte 0x{:02X}", byte), "UTF-8");
    if (byte == '\r') file.fail(at, "a carriage return", "lines that end in a line feed alone");
    const bool control = (byte < 0x20 && byte != '\t' && byte != '\n') || byte == 0x7F;
    if (control) file.fail(at, quoted(text.substr(at, 1)), "no control characters");
    at += size;
  }
}

// The number ≥ 0 that `text` spells, without a sign or zeros in front.
std::optional<int> number(std::string_view text) {
  int value = 0;
  const char* const end = text.data() + text.size();
  const auto [read, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || read != end || text[0] == '-') return std::nullopt;
  return text.size() > 1 && text[0] == '0' ? std::nullopt : std::optional(value);
}

class Reader {
 public:
  Reader(const TextFile& file, Vocabulary& vocabulary) : file_(file), vocabulary_(vocabulary) {}

  std::vector<Tree> sentences() {
    std::vector<Tree> result;
    while (offset_ < file_.text.size()) result.push_back(sentence());
    if (result.empty()) file_.fail(0, "an empty file", "at least one sentence");
    return result;
  }

 private:
  int words() const { return static_cast<int>(heads_.size()); }

  Tree sentence() {
    const std::size_t begin = offset_;
    heads_.clear();
    range_ = {};
    range_end_ = empty_nodes_ = 0;
    bool comments = true;
    for (;;) {
      if (offset_ == file_.text.size())
        file_.fail(offset_, "the end of the file",
                   fmt::format("an empty line after the sentence that begins on line {}",
                               file_.line(begin)));
      const std::string_view line = next_line();
      if (line.empty()) break;
      if (line[0] != '#') {
        comments = false;
        read(fields(line));
      } else if (!comments) {
        fail(line, "a word or an empty line, for comments stand before the words");
      }
    }
    finish();
    builder_.node(words());
    return builder_.finish();
  }

  std::string_view next_line() {
    const std::string_view rest = std::string_view(file_.text).substr(offset_);
    const std::size_t size = rest.find('\n');
    if (size == rest.npos)
      file_.fail(file_.text.size(), "the end of the file", "the end of the line");
    offset_ += size + 1;
    return rest.substr(0, size);
  }

  Fields fields(std::string_view line) const {
    Fields result;
    for (int i = 0; i < kFields; ++i) {
      const std::size_t size = std::min(line.find('\t'), line.size());
      const std::string_view field = result[i] = line.substr(0, size);
      if (field.empty())
        file_.fail(at(line), "an empty field", fmt::format("{}{}", kNames[i], i ? " or '_'" : ""));
      if (field[0] == ' ' || field.back() == ' ')
        fail(field, fmt::format("{} without spaces at its ends", kNames[i]));
      if (!may_hold_spaces(i) && field.find(' ') != field.npos)
        fail(field, fmt::format("{} without spaces", kNames[i]));
      line.remove_prefix(size);
      if (i == kMisc) break;
      if (line.empty())
        file_.fail(at(line), fmt::format("the end of the line after {} of 10 fields", i + 1),
                   fmt::format("a tab and {}", kNames[i + 1]));
      line.remove_prefix(1);
    }
    if (!line.empty()) file_.fail(at(line), "a tab after 10 fields", "the end of the line");
    return result;
  }

  void read(const Fields& fields) {
    const std::string_view id = fields[kId];
    if (id.find('-') != id.npos) return range(fields);
    if (id.find('.') != id.npos) return empty_node(fields);
    if (number(id) != words() + 1) fail(id, expected_id());
    word(fields);
    empty_nodes_ = 0;
    in_front_of_range_ = false;
  }

  void word(const Fields& fields) {
    const auto tag = std::ranges::find(kTags, fields[kUpos]);
    if (tag == kTags.end())
      fail(fields[kUpos],
           fmt::format("a universal part-of-speech tag ({})", fmt::join(kTags, ", ")));
    if (!number(fields[kHead])) fail(fields[kHead], "0 or the ID of a word as HEAD");
    heads_.push_back(fields[kHead]);

    std::string form;
    for (const char c : fields[kForm])
      if (c == ' ')
        form += "\u00A0";
      else
        form += c;
    builder_.leaf(vocabulary_.intern(form), static_cast<int>(tag - kTags.begin()));
  }

  void range(const Fields& fields) {
    const std::string_view id = fields[kId];
    const std::size_t dash = id.find('-');
    const std::optional<int> first = number(id.substr(0, dash)), last = number(id.substr(dash + 1));
    if (range_end_ > words() || first != words() + 1 || !last || *last < *first)
      fail(id, expected_id());
    check_no_head(fields);
    range_ = id;
    range_end_ = *last;
    in_front_of_range_ = true;
  }

  void empty_node(const Fields& fields) {
    const std::string_view id = fields[kId];
    const std::size_t dot = id.find('.');
    if (in_front_of_range_ || number(id.substr(0, dot)) != words() ||
        number(id.substr(dot + 1)) != empty_nodes_ + 1)
      fail(id, expected_id());
    check_no_head(fields);
    ++empty_nodes_;
  }

  void check_no_head(const Fields& fields) const {
    if (fields[kHead] != "_") fail(fields[kHead], "'_': only words have a HEAD");
  }

  std::string expected_id() const {
    const int next = words() + 1;
    if (in_front_of_range_) return fmt::format("ID {}, the first of the range {}", next, range_);
    const std::string empty = fmt::format("an empty node {}.{}", words(), empty_nodes_ + 1);
    if (range_end_ > words()) return fmt::format("ID {} or {}", next, empty);
    return fmt::format("ID {}, a range that begins with it, or {}", next, empty);
  }

  // What can be checked when all words are known.
  void finish() const {
    // At the line that has just been read, which is empty.
    if (heads_.empty()) file_.fail(offset_ - 1, "an empty line", "the first word of a sentence");
    if (range_end_ > words())
      fail(range_, fmt::format("a range within the {} words of the sentence", words()));
    int root = 0;
    for (int i = 1; i <= words(); ++i) {
      const int head = head_of(i);
      if (head > words())
        fail(heads_[i - 1], fmt::format("0 or the ID of one of the {} words as HEAD", words()));
      if (head == 0 && root > 0)
        fail(heads_[i - 1], fmt::format("one root, which is word {} already", root));
      if (head == 0) root = i;
    }
    if (root == 0) fail(heads_[0], "HEAD 0 at exactly one word of the sentence, and there is none");
    check_tree();
  }

  // From every word the heads lead to the root.
  void check_tree() const {
    std::vector<int> seen_from(words() + 1, 0);
    for (int i = 1; i <= words(); ++i) {
      int at = i;
      for (; at != 0 && seen_from[at] == 0; at = head_of(at)) seen_from[at] = i;
      if (at != 0 && seen_from[at] == i)
        fail(heads_[at - 1], fmt::format("a HEAD that leads word {} to the root", at));
    }
  }

  int head_of(int id) const { return *number(heads_[id - 1]); }

  std::size_t at(std::string_view piece) const { return piece.data() - file_.text.data(); }

  [[noreturn]] void fail(std::string_view piece, std::string_view expected) const {
    file_.fail(at(piece), quoted(piece), expected);
  }

  const TextFile& file_;
  Vocabulary& vocabulary_;
  TreeBuilder builder_;
  std::size_t offset_ = 0;  // of the next line
  // Of the sentence so far.
  std::vector<std::string_view> heads_;  // a number each
  std::string_view range_;               // the last one
  int range_end_ = 0;
  bool in_front_of_range_ = false;  // the last line was a range
  int empty_nodes_ = 0;             // since the last word
};

}  // namespace

std::vector<Tree> parse(const TextFile& file, Vocabulary& vocabulary) {
  check_text(file);
  return Reader(file, vocabulary).sentences();
}

}  // namespace espalier::data::conllu
