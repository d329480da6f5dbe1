// ListOps (Nangia & Bowman 2018): nested MIN, MAX, MED and SM (sum modulo 10) over digits, labelled
// with their value. A seeded generator, a reader of the published form, and the evaluator. Trees
// are the published binary bracketing: `( ( ( [SM 6 ) 5 ) ] )`, leaves are operators, digits and
// `]`. The root's label is 0 … 9, all other nodes have none.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "data/tree.h"
#include "data/vocabulary.h"

namespace espalier::data {
struct TextFile;
}

namespace espalier::data::listops {

inline constexpr int kClasses = 10;

/// Word ids. Digit d is kDigit + d.
enum Word : int { kMin = 1, kMax, kMed, kSum, kClose, kDigit };

/// `<unk> [MIN [MAX [MED [SM ] 0 1 … 9`, frozen.
Vocabulary vocabulary();

struct GeneratorOptions {
  std::uint64_t seed = 42;
  int count = 20'000;   // expressions, no two alike
  int max_tokens = 60;  // longer ones are not drawn; the published set has no such limit
};

/// Draws expressions as the published "d20s" set was drawn: an operator with probability 1/4, else
/// a digit; 2 to 5 arguments; operators no deeper than level 19, so depth ≤ 20; repetitions
/// discarded; then shuffled. The same options give the same trees on every machine. UserError if
/// there are not that many expressions.
std::vector<Tree> generate(const GeneratorOptions& options);

/// Reads lines `label TAB binary-bracketed expression`. Blank lines are allowed. UserError
/// FILE:LINE:COLUMN for anything else, and for a file without trees. The label is taken as it is.
std::vector<Tree> parse(const TextFile& file);

/// The value 0 … 9. MED of an even number of arguments is the mean of the two in the middle,
/// truncated. UserError if the tree is not a ListOps expression in its binary bracketing.
int evaluate(const Tree& tree);

/// The tree as the published form writes it, without label.
std::string bracketed(const Tree& tree);

}  // namespace espalier::data::listops
