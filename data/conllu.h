// Sentences of Universal Dependencies in CoNLL-U (universaldependencies.org/format.html): text →
// trees whose words are labelled with their UPOS. Multiword ranges (3-4) and empty nodes (5.1) are
// checked but are no part of a tree, since no word's HEAD is one.
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "data/text_file.h"
#include "data/treebank.h"
#include "data/vocabulary.h"

namespace espalier::data::conllu {

/// The universal part-of-speech tags in alphabetical order. Label = place.
inline constexpr std::array<std::string_view, 17> kTags = {
    "ADJ",  "ADP",  "ADV",   "AUX",   "CCONJ", "DET", "INTJ", "NOUN", "NUM",
    "PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X"};

/// Reads the sentences of a file; at least one. Words are the FORMs as they stand, through
/// `vocabulary.intern`; a space within one becomes U+00A0, since no token holds white space.
///
/// UserError FILE:LINE:COLUMN for anything but the format: UTF-8 without control characters; ten
/// fields, none empty, with spaces only within FORM, LEMMA and MISC; IDs 1, 2, … with ranges before
/// their first word and empty nodes in order; a known UPOS on every word; HEADs that make one tree
/// with one root; an empty line after every sentence and nowhere else. Tolerated, since nothing can
/// be misread: a byte order mark; lines that end in CR LF; empty lines too many, of spaces, or
/// missing at the end; comments anywhere; UPOS '_', which is no label; and in a sequence, which
/// needs none, HEAD '_' and HEADs that make no tree.
Treebank parse(const TextFile& file, Structure structure, Vocabulary& vocabulary);

}  // namespace espalier::data::conllu
