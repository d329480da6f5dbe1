#include "data/listops.h"

#include <algorithm>
#include <numeric>
#include <string_view>
#include <unordered_set>
#include <utility>

#include "base/error.h"
#include "base/random.h"
#include "data/scanner.h"
#include "data/text_file.h"

namespace espalier::data::listops {
namespace {

constexpr int kMaxDepth = 20;
constexpr int kMinArguments = 2, kMaxArguments = 5;
constexpr int kOperators = 4;
constexpr int kFruitlessDraws = 1'000'000;  // in a row: then there is nothing new to be found

bool is_operator(int word) { return kMin <= word && word <= kSum; }

// An expression is drawn as its words in order, one char each: `]` makes brackets superfluous.
using Expression = std::string;

// Appends an expression that begins on level `depth`. False once it is longer than `max_tokens`.
bool draw(Random& random, int depth, std::size_t max_tokens, Expression& words) {
  if (words.size() == max_tokens) return false;
  if (depth == kMaxDepth || random.below(4) != 0) {
    words += static_cast<char>(kDigit + random.below(10));
    return true;
  }
  words += static_cast<char>(kMin + random.below(kOperators));
  const int arguments = kMinArguments + random.below(kMaxArguments - kMinArguments + 1);
  for (int i = 0; i < arguments; ++i)
    if (!draw(random, depth + 1, max_tokens, words)) return false;
  if (words.size() == max_tokens) return false;
  words += static_cast<char>(kClose);
  return true;
}

// Left-branching: an operator takes its arguments, and at last `]`, one by one.
Tree bracket(const Expression& words, TreeBuilder& builder) {
  int open = 0;
  for (const char word : words) {
    builder.leaf(word);
    if (is_operator(word)) {
      ++open;
      continue;
    }
    if (word == kClose) {
      builder.node(2);
      --open;
    }
    if (open > 0) builder.node(2);
  }
  Tree tree = builder.finish();
  tree.set_label(tree.root(), evaluate(tree));
  return tree;
}

int apply(int op, std::vector<int>& arguments) {
  switch (op) {
    case kMin:
      return std::ranges::min(arguments);
    case kMax:
      return std::ranges::max(arguments);
    case kSum:
      return std::accumulate(arguments.begin(), arguments.end(), 0) % 10;
    case kMed: {
      std::ranges::sort(arguments);
      const std::size_t upper = arguments.size() / 2, lower = (arguments.size() - 1) / 2;
      return (arguments[lower] + arguments[upper]) / 2;
    }
  }
  throw InternalError(fmt::format("internal error: listops: word {} is no operator", op));
}

// What a subtree stands for: a value (word ≥ kDigit), `]`, or an operator that takes arguments.
struct Part {
  int word;
  std::vector<int> arguments;
};

Part join(TreeRef node, Part& left, const Part& right) {
  user_check(is_operator(left.word), "listops: node {}: expected an operator on the left",
             node.id());
  if (right.word >= kDigit) {
    left.arguments.push_back(right.word - kDigit);
    return std::move(left);
  }
  user_check(right.word == kClose && !left.arguments.empty(),
             "listops: node {}: expected an argument on the right", node.id());
  return {kDigit + apply(left.word, left.arguments), {}};
}

// Binary brackets over the words of the vocabulary.
Tree expression(const TextFile& file, Scanner& scanner, const Vocabulary& words,
                TreeBuilder& builder) {
  std::vector<int> operands;  // read so far, for every open bracket
  do {
    scanner.skip_blanks();
    if (!operands.empty() && operands.back() == 2) {
      scanner.expect(')', "')' after two operands");
      operands.pop_back();
      builder.node(2);
      continue;
    }
    if (!operands.empty()) ++operands.back();
    if (scanner.accept('(')) {
      operands.push_back(0);
      continue;
    }
    if (!scanner.at_atom()) scanner.fail("'(' or a word");
    const std::size_t begin = scanner.offset();
    const std::string_view token = scanner.atom();
    const int word = words.find(token);
    if (word == Vocabulary::kUnknown)
      file.fail(begin, quoted(token), "one of [MIN [MAX [MED [SM ] 0..9");
    builder.leaf(word);
  } while (!operands.empty());
  return builder.finish();
}

}  // namespace

Vocabulary vocabulary() {
  Vocabulary result;
  for (const char* op : {"[MIN", "[MAX", "[MED", "[SM", "]"}) result.intern(op);
  for (int digit = 0; digit < 10; ++digit) result.intern(std::to_string(digit));
  result.freeze();
  return result;
}

std::vector<Tree> generate(const GeneratorOptions& options) {
  user_check(options.count >= 1 && options.max_tokens >= 1,
             "listops: found count {} and max_tokens {}, expected at least 1", options.count,
             options.max_tokens);
  std::unordered_set<Expression> seen;
  std::vector<Expression> expressions;
  int fruitless = 0;
  for (std::uint64_t attempt = 0; std::ssize(expressions) < options.count; ++attempt) {
    user_check(fruitless < kFruitlessDraws,
               "listops: found only {} different expressions of at most {} tokens, expected {}",
               expressions.size(), options.max_tokens, options.count);
    Random random = Random::stream(options.seed, attempt);
    Expression words;
    const bool fits = draw(random, 1, options.max_tokens, words);
    const bool fresh = fits && seen.insert(words).second;
    if (fresh) expressions.push_back(std::move(words));
    fruitless = fresh ? 0 : fruitless + 1;
  }

  // Short expressions come up early and only once: without this, all would lie in the first split.
  Random random(options.seed);
  shuffle(std::span(expressions), random);

  std::vector<Tree> trees;
  TreeBuilder builder;
  trees.reserve(expressions.size());
  for (const Expression& words : expressions) trees.push_back(bracket(words, builder));
  return trees;
}

std::vector<Tree> parse(const TextFile& file) {
  const Vocabulary words = vocabulary();
  std::vector<Tree> trees;
  TreeBuilder builder;
  Scanner scanner(file);
  for (scanner.skip_space(); !scanner.at_end(); scanner.skip_space()) {
    if (!scanner.at_atom()) scanner.fail("a label 0..9");
    const std::size_t begin = scanner.offset();
    const std::string_view label = scanner.atom();
    if (label.size() != 1 || label[0] < '0' || label[0] > '9')
      file.fail(begin, quoted(label), "a label 0..9");
    scanner.expect('\t', "a tab after the label");

    trees.push_back(expression(file, scanner, words, builder));
    trees.back().set_label(trees.back().root(), label[0] - '0');
    scanner.skip_blanks();
    if (!scanner.at_end()) scanner.expect('\n', "the end of the line");
  }
  if (trees.empty()) file.fail(0, "no tree", "at least one");
  return trees;
}

int evaluate(const Tree& tree) {
  const Part whole = fold<Part>(tree, [](TreeRef node, std::span<Part> children) -> Part {
    if (node.leaf()) {
      user_check(kMin <= node.word() && node.word() < kDigit + 10,
                 "listops: node {}: found word {}, expected 1..15", node.id(), node.word());
      return {node.word(), {}};
    }
    user_check(children.size() == 2, "listops: node {}: found {} children, expected 2", node.id(),
               children.size());
    return join(node, children[0], children[1]);
  });
  user_check(whole.word >= kDigit, "listops: expected a complete expression");
  return whole.word - kDigit;
}

std::string bracketed(const Tree& tree) {
  const Vocabulary words = vocabulary();
  std::string text;
  const auto open = [&](int node) {
    text += tree.is_leaf(node) ? words.token(tree.word(node)) : "(";
    text += ' ';
  };
  walk(tree, open, [&](int node) {
    if (!tree.is_leaf(node)) text += ") ";
  });
  text.pop_back();
  return text;
}

}  // namespace espalier::data::listops
