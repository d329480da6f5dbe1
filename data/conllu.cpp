#include "data/conllu.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/error.h"
#include "data/text_file.h"

namespace espalier::data::conllu {
namespace {

enum Field { kId, kForm, kLemma, kUpos, kXpos, kFeats, kHead, kDeprel, kDeps, kMisc, kFields };
constexpr std::array<std::string_view, kFields> kNames = {
    "ID", "FORM", "LEMMA", "UPOS", "XPOS", "FEATS", "HEAD", "DEPREL", "DEPS", "MISC"};
using Fields = std::array<std::string_view, kFields>;

bool may_hold_spaces(int field) { return field == kForm || field == kLemma || field == kMisc; }

void check_text(const TextFile& file) {
  const std::string_view text = file.text;
  const std::size_t not_utf8 = std::min(find_not_utf8(text), text.size());
  for (std::size_t at = 0; at < not_utf8; ++at) {
    const auto byte = static_cast<unsigned char>(text[at]);
    if (byte == '\r' && !text.substr(at + 1).starts_with('\n'))
      file.fail(at, "a carriage return", "a line feed after it, or none");
    const bool control = byte < 0x20 && byte != '\t' && byte != '\n' && byte != '\r';
    if (control || byte == 0x7F) file.fail(at, quoted(text.substr(at, 1)), "no control characters");
  }
  if (not_utf8 < text.size())
    file.fail(not_utf8, fmt::format("byte 0x{:02X}", static_cast<unsigned char>(text[not_utf8])),
              "UTF-8");
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
  Reader(const TextFile& file, Structure structure, Vocabulary& vocabulary, Tolerated& tolerated)
      : file_(file), structure_(structure), vocabulary_(vocabulary), tolerated_(tolerated) {}

  std::vector<Tree> sentences() {
    std::vector<Tree> result;
    while (!at_end())
      if (read_sentence()) result.push_back(tree());
    if (result.empty()) file_.fail(0, "no sentence", "at least one");
    return result;
  }

 private:
  struct Word {
    int id, tag;
    std::string_view head;
  };

  int words() const { return static_cast<int>(words_.size()); }
  bool at_end() const { return offset_ == file_.text.size(); }

  // Reads lines up to an empty one or the end of the file. False if they hold no sentence.
  bool read_sentence() {
    words_.clear();
    range_ = {};
    range_end_ = empty_nodes_ = 0;
    in_front_of_range_ = false;
    bool comments = false, nodes = false;  // nodes: lines that are no comments
    std::size_t begin = offset_;           // of the last line, or the end of the file
    for (; !at_end(); begin = offset_) {
      const std::string_view line = next_line();
      if (line.empty()) break;
      if (line[0] != '#') {
        nodes = true;
        read(fields(line));
      } else {
        comments = true;
        if (nodes) tolerated_.add("comments between words");
      }
    }
    const bool cut = begin == file_.text.size();
    if (nodes) {
      if (words_.empty())
        file_.fail(begin, cut ? "the end of the file" : "an empty line",
                   "the first word of a sentence");
      if (cut) tolerated_.add("no empty line at the end");
      finish();
    } else {
      tolerated_.add(comments ? "comments without a sentence" : "empty lines too many");
    }
    return nodes;
  }

  // Without its end; empty too if it holds nothing but spaces.
  std::string_view next_line() {
    const std::string_view rest = std::string_view(file_.text).substr(offset_);
    const std::size_t size = std::min(rest.find('\n'), rest.size());
    offset_ += std::min(size + 1, rest.size());
    std::string_view line = rest.substr(0, size);
    if (line.ends_with('\r')) {
      tolerated_.add("lines that end in CR LF");
      line.remove_suffix(1);
    }
    if (line.empty() || line.find_first_not_of(' ') != line.npos) return line;
    tolerated_.add("empty lines of spaces");
    return line.substr(0, 0);
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
    read_word(fields);
    empty_nodes_ = 0;
    in_front_of_range_ = false;
  }

  void read_word(const Fields& fields) {
    const std::string_view head = fields[kHead];
    if (!number(head) && (head != "_" || structure_ == Structure::dependencies))
      fail(head, "0 or the ID of a word as HEAD");
    if (head == "_") tolerated_.add("HEAD '_'");
    std::string form(fields[kForm]);
    for (std::size_t at = 0; (at = form.find(' ', at)) != form.npos;) form.replace(at, 1, "\u00A0");
    words_.push_back({vocabulary_.intern(form), tag(fields[kUpos]), head});
  }

  int tag(std::string_view upos) {
    if (upos == "_") {
      tolerated_.add("UPOS '_', which is no label");
      return Tree::kNone;
    }
    const auto tag = std::ranges::find(kTags, upos);
    if (tag == kTags.end())
      fail(upos, fmt::format("a universal part-of-speech tag ({})", fmt::join(kTags, ", ")));
    return static_cast<int>(tag - kTags.begin());
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
  void finish() {
    if (range_end_ > words())
      fail(range_, fmt::format("a range within the {} words of the sentence", words()));
    if (std::ranges::any_of(words_, [](const Word& word) { return word.head == "_"; })) return;
    const std::optional<Complaint> complaint = complaint_about_heads();
    if (!complaint) return;
    if (structure_ == Structure::dependencies) fail(complaint->piece, complaint->expected);
    tolerated_.add("sentences whose HEADs make no tree");
  }

  struct Complaint {
    std::string_view piece;
    std::string expected;
  };

  // Nothing if they make one tree.
  std::optional<Complaint> complaint_about_heads() const {
    int root = 0;
    for (int i = 1; i <= words(); ++i) {
      const int head = head_of(i);
      if (head > words())
        return Complaint{word(i).head,
                         fmt::format("0 or the ID of one of the {} words as HEAD", words())};
      if (head == 0 && root > 0)
        return Complaint{word(i).head, fmt::format("one root, which is word {} already", root)};
      if (head == 0) root = i;
    }
    if (root == 0)
      return Complaint{word(1).head,
                       "HEAD 0 at exactly one word of the sentence, and there is none"};
    // From every word the heads lead to the root.
    std::vector<int> seen_from(words() + 1, 0);
    for (int i = 1; i <= words(); ++i) {
      int at = i;
      for (; at != 0 && seen_from[at] == 0; at = head_of(at)) seen_from[at] = i;
      if (at != 0 && seen_from[at] == i)
        return Complaint{word(at).head, fmt::format("a HEAD that leads word {} to the root", at)};
    }
    return std::nullopt;
  }

  Tree tree() {
    structure_ == Structure::sequence ? build_sequence() : build_dependencies();
    return builder_.finish();
  }

  void build_sequence() {
    for (const Word& word : words_) builder_.leaf(word.id, word.tag);
    builder_.node(words());
  }

  // Depth first from the root, without recursion: a chain may be as long as the sentence.
  void build_dependencies() {
    std::vector<int> next_child(words() + 1, 0), sibling(words() + 1, 0), arity(words() + 1, 0);
    for (int i = words(); i >= 1; --i) {
      ++arity[head_of(i)];
      sibling[i] = std::exchange(next_child[head_of(i)], i);
    }
    std::vector<int> path = {next_child[0]};
    while (!path.empty()) {
      const int at = path.back();
      if (const int child = next_child[at]; child > 0) {
        next_child[at] = sibling[child];
        path.push_back(child);
        continue;
      }
      if (arity[at] == 0)
        builder_.leaf(word(at).id, word(at).tag);
      else
        builder_.node(arity[at], word(at).tag, word(at).id);
      path.pop_back();
    }
  }

  const Word& word(int id) const { return words_[id - 1]; }
  int head_of(int id) const { return *number(word(id).head); }

  std::size_t at(std::string_view piece) const { return piece.data() - file_.text.data(); }

  [[noreturn]] void fail(std::string_view piece, std::string_view expected) const {
    file_.fail(at(piece), quoted(piece), expected);
  }

  const TextFile& file_;
  const Structure structure_;
  Vocabulary& vocabulary_;
  Tolerated& tolerated_;
  TreeBuilder builder_;
  std::size_t offset_ = 0;  // of the next line
  // Of the sentence so far.
  std::vector<Word> words_;
  std::string_view range_;  // the last one
  int range_end_ = 0;
  bool in_front_of_range_ = false;  // the last line was a range
  int empty_nodes_ = 0;             // since the last word
};

}  // namespace

Treebank parse(const TextFile& file, Structure structure, Vocabulary& vocabulary) {
  check_text(file);
  Treebank bank;
  bank.classes = static_cast<int>(kTags.size());
  bank.label_names.assign(kTags.begin(), kTags.end());
  bank.tolerated = file.tolerated;
  bank.trees = Reader(file, structure, vocabulary, bank.tolerated).sentences();
  return bank;
}

}  // namespace espalier::data::conllu
