// What the tests of data/ share: the message of a refusal, and files that vanish with the test.
#pragma once

#include <gtest/gtest.h>

#include <string>
#include <string_view>

#include "base/error.h"
#include "data/text_file.h"
#include "tests/support/refusal.h"
#include "tests/support/temporary_folder.h"

namespace espalier::data {

using test::refusal;
using test::TemporaryFolder;

/// `text`, `count` times.
inline std::string repeated(std::string_view text, int count) {
  std::string result;
  for (int i = 0; i < count; ++i) result += text;
  return result;
}

}  // namespace espalier::data
