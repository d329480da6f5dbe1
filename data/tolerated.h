// What a reader took though the format asks for something else, where nothing can be misread: a
// byte order mark, empty lines too many. Filled by the readers of data/, said once a file by
// whoever loads a data set.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace espalier::data {

class Tolerated {
 public:
  /// `count` more of a kind, which is a literal; 0 adds nothing.
  void add(std::string_view kind, std::int64_t count = 1);

  /// `byte order mark (1), empty lines too many (3)` in the order of first appearance; empty if
  /// there was nothing.
  std::string to_text() const;

 private:
  std::vector<std::pair<std::string_view, std::int64_t>> counts_;  // by kind
};

}  // namespace espalier::data
