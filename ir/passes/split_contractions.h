// A contraction that is read in slices of different lengths becomes one contraction per slice, so
// that each part is computed where it is used: the gradients of the two halves of a concat go to
// two places. Slices of equal length share a contraction, because they are the gates of one tile.
// Values do not change. Tested by tests/ir/split_contractions_test.cpp.
#pragma once

#include "ir/differentiated.h"

namespace espalier::ir {

/// The backward cell rebuilt.
BackwardCell split_contractions(const BackwardCell& cell);

}  // namespace espalier::ir
