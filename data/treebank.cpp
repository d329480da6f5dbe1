#include "data/treebank.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <optional>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/error.h"
#include "data/scanner.h"
#include "data/text_file.h"

namespace espalier::data {
namespace {

constexpr int kSstClasses = 5;
constexpr int kMaxInferredClasses = 1000;

constexpr std::array<std::pair<std::string_view, std::string_view>, 6> kEscapes = {
    {{"-LRB-", "("},
     {"-RRB-", ")"},
     {"-LSB-", "["},
     {"-RSB-", "]"},
     {"-LCB-", "{"},
     {"-RCB-", "}"}}};

std::string_view unescaped(std::string_view token) {
  for (const auto& [escape, character] : kEscapes)
    if (token == escape) return character;
  return token;
}

std::string_view escaped(std::string_view token) {
  return token == "(" ? "-LRB-" : token == ")" ? "-RRB-" : token;
}

// The integer 0 … bound − 1 that `text` spells, in one way only: 01 and -0 are none.
std::optional<int> integer_below(int bound, std::string_view text) {
  int value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  if (text != std::to_string(value)) return std::nullopt;
  return 0 <= value && value < bound ? std::optional(value) : std::nullopt;
}

// Label text → number: integers if `classes` > 0, else places in a list of names, which grows
// unless it was given.
class Labels {
 public:
  Labels(int classes, const std::vector<std::string>& names)
      : classes_(classes), fixed_(!names.empty()) {
    for (const std::string& name : names) add(name);
  }

  std::optional<int> number(std::string_view text) {
    if (classes_ > 0) return integer_below(classes_, text);
    std::string name(text);
    if (const auto known = numbers_.find(name); known != numbers_.end()) return known->second;
    return fixed_ ? std::nullopt : std::optional(add(std::move(name)));
  }

  std::string expected() const {
    return classes_ > 0 ? fmt::format("a label 0..{}", classes_ - 1)
                        : fmt::format("one of the {} known labels", names_.size());
  }

  // Completes the bank: numbers the labels by value if that is what all the names are.
  void finish(Treebank& bank) && {
    bank.classes = classes_ > 0 ? classes_ : static_cast<int>(names_.size());
    if (classes_ == 0 && !fixed_) number_by_value(bank);
    bank.label_names = std::move(names_);
  }

 private:
  int add(std::string name) {
    const int number = static_cast<int>(names_.size());
    names_.push_back(name);
    numbers_.emplace(std::move(name), number);
    return number;
  }

  void number_by_value(Treebank& bank) {
    std::vector<int> values;
    int classes = 0;
    for (const std::string& name : names_) {
      const std::optional<int> value = integer_below(kMaxInferredClasses, name);
      if (!value) return;
      values.push_back(*value);
      classes = std::max(classes, *value + 1);
    }
    for (Tree& tree : bank.trees)
      for (int node = 0; node < tree.size(); ++node)
        if (const int label = tree.label(node); label != Tree::kNone)
          tree.set_label(node, values[label]);
    bank.classes = classes;
    names_.clear();
  }

  int classes_;
  bool fixed_;
  std::vector<std::string> names_;
  std::unordered_map<std::string, int> numbers_;
};

// What differs between the forms.
struct Form {
  bool tree_a_line;
  bool label_on_every_node;
  bool binary;
  std::string binary_reason;  // ends complaints about nodes that are not
  std::string label_hint;     // ends complaints about labels
};

std::string with_reason(std::string expected, const std::string& reason) {
  return reason.empty() ? expected : fmt::format("{} ({})", expected, reason);
}

// Keeps the open brackets on a stack of its own, so that nesting is bounded by memory only.
class Parser {
 public:
  Parser(const TextFile& file, const Form& form, bool unescape, Labels& labels,
         Vocabulary& vocabulary, Tolerated& tolerated)
      : file_(file),
        scanner_(file),
        form_(form),
        unescape_(unescape),
        labels_(labels),
        vocabulary_(vocabulary),
        tolerated_(tolerated) {}

  std::vector<Tree> trees() {
    std::vector<Tree> result;
    for (skip_between(); !scanner_.at_end(); skip_between()) {
      result.push_back(tree());
      if (form_.tree_a_line) end_line();
    }
    if (result.empty()) file_.fail(0, "no tree", "at least one");
    return result;
  }

 private:
  void skip_between() {
    for (scanner_.skip_space(); at_comment(); scanner_.skip_space()) {
      tolerated_.add("comments");
      scanner_.skip_line();
    }
  }

  // Between trees only: within one, # is a token or a label.
  bool at_comment() const {
    return scanner_.at('#') || scanner_.at('%') || scanner_.at(';') || scanner_.at("*x*");
  }

  struct Bracket {
    int label;
    int children = 0;
  };

  Tree tree() {
    tree_begin_ = scanner_.offset();
    do {
      skip();
      if (!open_.empty() && scanner_.at(')'))
        close();
      else
        open();
    } while (!open_.empty());
    return builder_.finish();
  }

  // '(' [label], and for a leaf also token ')'.
  void open() {
    if (!open_.empty() && form_.binary && open_.back().children == 2)
      fail(with_reason("')' after two children", form_.binary_reason));
    if (!scanner_.accept('(')) fail(open_.empty() ? "'(' or the end of the file" : "'(' or ')'");
    if (!open_.empty()) ++open_.back().children;

    skip();
    int label = Tree::kNone;
    if (scanner_.at_atom()) {
      const std::size_t begin = scanner_.offset();
      const std::string_view first = scanner_.atom();
      skip();
      if (scanner_.at(')') && !form_.label_on_every_node) return leaf(first, label);
      label = label_number(first, begin);
    } else if (form_.label_on_every_node) {
      fail(expected_label());
    }
    if (scanner_.at_atom()) return leaf(scanner_.atom(), label);
    if (!scanner_.at('(')) fail("a token or '('");
    open_.push_back({label});
  }

  void leaf(std::string_view token, int label) {
    if (find_not_utf8(token) != token.npos) tolerated_.add("tokens that are not UTF-8");
    skip();
    if (!scanner_.accept(')')) fail("')' after the token of a leaf");
    builder_.leaf(vocabulary_.intern(unescape_ ? unescaped(token) : token), label);
  }

  void close() {
    const auto [label, children] = open_.back();
    const bool wrapper = open_.size() == 1 && label == Tree::kNone && children == 1;
    if (form_.binary && children == 1 && !wrapper)
      fail(with_reason("'(' of a second child", form_.binary_reason));
    scanner_.accept(')');
    open_.pop_back();
    if (!wrapper) builder_.node(children, label);
  }

  void end_line() {
    scanner_.skip_blanks();
    if (!scanner_.at_end() && !scanner_.accept('\n')) fail("the end of the line");
  }

  int label_number(std::string_view text, std::size_t begin) {
    if (const std::size_t bad = find_not_utf8(text); bad != text.npos)
      file_.fail(begin + bad, fmt::format("the label {}", quoted(text)),
                 "UTF-8 (a file in Latin-1 must be converted)");
    const std::optional<int> number = labels_.number(text);
    if (!number) file_.fail(begin, quoted(text), expected_label());
    return *number;
  }

  std::string expected_label() const { return with_reason(labels_.expected(), form_.label_hint); }

  void skip() { form_.tree_a_line ? scanner_.skip_blanks() : scanner_.skip_space(); }

  // A bracket left open eats the trees after it: at the end of the file, say where that began.
  [[noreturn]] void fail(const std::string& expected) const {
    const bool inside = scanner_.at_end() && scanner_.offset() > tree_begin_;
    scanner_.fail(inside ? fmt::format("{} in the tree that begins on line {}", expected,
                                       file_.line(tree_begin_))
                         : expected);
  }

  const TextFile& file_;
  Scanner scanner_;
  const Form& form_;
  const bool unescape_;
  Labels& labels_;
  Vocabulary& vocabulary_;
  Tolerated& tolerated_;
  TreeBuilder builder_;
  std::vector<Bracket> open_;
  std::size_t tree_begin_ = 0;
};

Treebank parse(const TextFile& file, const Form& form, Labels labels, bool unescape,
               Vocabulary& vocabulary) {
  Treebank bank;
  bank.tolerated = file.tolerated;
  bank.trees = Parser(file, form, unescape, labels, vocabulary, bank.tolerated).trees();
  std::move(labels).finish(bank);
  return bank;
}

}  // namespace

Treebank parse_sst(const TextFile& file, const TreebankOptions& options, Vocabulary& vocabulary) {
  const int classes = options.classes > 0 ? options.classes : kSstClasses;
  return parse(file,
               {.tree_a_line = true,
                .label_on_every_node = true,
                .binary = true,
                .binary_reason = "ptb:FILE may hold trees of any arity",
                .label_hint = "ptb:FILE may hold any labels"},
               Labels(classes, {}), options.unescape, vocabulary);
}

Treebank parse_ptb(const TextFile& file, const TreebankOptions& options, Vocabulary& vocabulary) {
  return parse(file,
               {.tree_a_line = false,
                .label_on_every_node = false,
                .binary = options.binary,
                .binary_reason = options.binary_reason,
                .label_hint = ""},
               Labels(options.classes, options.label_names), options.unescape, vocabulary);
}

std::string bracketed(const Tree& tree, const Vocabulary& vocabulary,
                      std::span<const std::string> label_names) {
  std::string text;
  const auto open = [&](int node) {
    const int label = tree.label(node);
    if (!text.empty() && text.back() != '(') text += ' ';
    text += '(';
    if (label != Tree::kNone)
      text += label_names.empty() ? std::to_string(label) : label_names[label];
    if (!tree.is_leaf(node)) {
      user_check(tree.word(node) == Tree::kNone,
                 "tree node {}: found a word at an inner node, expected words at leaves", node);
      return;
    }
    if (label != Tree::kNone) text += ' ';
    text += escaped(vocabulary.token(tree.word(node)));
  };
  walk(tree, open, [&](int) { text += ')'; });
  const bool like_wrapper =
      tree.label(tree.root()) == Tree::kNone && tree.children(tree.root()).size() == 1;
  return like_wrapper ? "(" + text + ")" : text;
}

}  // namespace espalier::data
