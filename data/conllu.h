// Sentences of Universal Dependencies in CoNLL-U (universaldependencies.org/format.html), for
// taggers: a sentence becomes a flat tree, a root without label over a leaf for each word, labelled
// with its UPOS. Multiword ranges (3-4) and empty nodes (5.1) are checked but are no part of the
// sequence, and the dependency tree is checked but not kept.
#pragma once

#include <array>
#include <string_view>
#include <vector>

#include "data/text_file.h"
#include "data/tree.h"
#include "data/vocabulary.h"

namespace espalier::data::conllu {

/// The universal part-of-speech tags in alphabetical order. Label = place.
inline constexpr std::array<std::string_view, 17> kTags = {
    "ADJ",  "ADP",  "ADV",   "AUX",   "CCONJ", "DET", "INTJ", "NOUN", "NUM",
    "PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"};

/// Reads the sentences of a file; at least one. Words are the FORMs as they stand, through
/// `vocabulary.intern`; a space within one becomes U+00A0, since no token holds white space.
///
/// UserError FILE:LINE:COLUMN for anything but the format: UTF-8 without control characters; lines
/// that end in LF alone, the last too; comments before the words; ten fields, none empty, with
/// spaces only within FORM, LEMMA and MISC; IDs 1, 2, … with ranges before their first word and
/// empty nodes in order; a known UPOS on every word; HEADs that make one tree with one root; an
/// empty line after every sentence, the last too, and nowhere else.
std::vector<Tree> parse(const TextFile& file, Vocabulary& vocabulary);

}  // namespace espalier::data::conllu
