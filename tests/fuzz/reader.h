// What a fuzz target asks of a reader: it takes the bytes or refuses them by a UserError, whose
// message is short however long the bytes are. All else is a finding.
#pragma once

#include <cstdlib>
#include <string_view>

#include "ir/error.h"

namespace espalier::test {

template <class Read>
int read_or_refuse(Read&& read) {
  constexpr std::size_t longest = 4000;
  try {
    read();
  } catch (const UserError& error) {
    if (std::string_view(error.what()).size() > longest) std::abort();
  }
  return 0;
}

}  // namespace espalier::test
