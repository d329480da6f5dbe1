// Bracket trees with labels: text → trees. Two forms: SST (Socher et al. 2013), a binary tree with
// integer labels on each line, and PTB (Penn Treebank .mrg), trees of any arity and any labels over
// any number of lines. Grammar: tree := '(' [label] (token | tree+) ')'. Only '(', ')' and ASCII
// white space delimit; lines may end in CR LF. Between trees, blank lines and comments are skipped:
// from '#', '%', ';' or '*x*' (the header of files of the Penn Treebank) to the end of the line.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "data/dataset.h"
#include "data/text_file.h"
#include "data/tree.h"
#include "data/vocabulary.h"

namespace espalier::data {

struct Treebank {
  std::vector<Tree> trees;               // at least one; words are ids of the given vocabulary
  int classes = 0;                       // labels are below this
  std::vector<std::string> label_names;  // [classes]; empty if the labels are integers themselves
  Tolerated tolerated;
};

/// Reads one labelled binary tree a line. Every node has a label. Tokens go through
/// `vocabulary.intern`; those that are not UTF-8 are taken byte by byte. UserError FILE:LINE:COLUMN
/// for anything else, for a label that is not UTF-8, and for a file without trees. Tolerated: a
/// byte order mark, comments, tokens that are not UTF-8.
Treebank parse_sst(const TextFile& file, const TreebankOptions& options, Vocabulary& vocabulary);

/// Reads trees that may span lines. Labels may be absent (Tree::kNone; a bracket with a single
/// word is that token); an outermost bracket without label around one tree is dropped. Errors as
/// above.
Treebank parse_ptb(const TextFile& file, const TreebankOptions& options, Vocabulary& vocabulary);

/// The tree on one line, as SST writes it: `(3 (2 It) (4 works))`. The tokens ( and ) are escaped;
/// a root that parse_ptb would take for a wrapper gets one, so that reading gives the tree back.
/// UserError for a word at an inner node, which has no place in it.
std::string bracketed(const Tree& tree, const Vocabulary& vocabulary,
                      std::span<const std::string> label_names = {});

}  // namespace espalier::data
