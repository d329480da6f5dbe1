// Random programs for property tests: cells whose bodies are drawn from the op table, so that a new
// op takes part as soon as it has its record. Outputs are whatever fits: ports and params
// themselves, concats on every axis, slices, transposes, reshapes, values read elsewhere too, also
// by contractions and reductions. Values stay moderate however deep the cells are nested.
//
// Indices lie in 0 … random_index_bound − 1, fields of ports in −1 … 1.
#pragma once

#include <cstdint>
#include <vector>

#include "ir/program.h"
#include "tests/support/random_body.h"

namespace espalier::test {

inline constexpr int random_index_bound = 3;

struct RandomProgramOptions {
  int width = 4;  ///< the extent that most shapes are made of; at least random_index_bound
  int ops = 12;   ///< per cell, about
  /// Also ops that let no gradient through though their value changes smoothly.
  bool withheld_gradients = true;
  /// Only some of the cells between leaf and loss, at least one.
  bool few_cells = false;
};

/// A model: cells that can be called on each other, with states of one to three fields of any
/// shape. The same program for the same seed. Its ops include some with kinks.
///
///   leaf(word: index) -> State                 unary(word: index, x: child State) -> State
///   node(l, r: child State) -> State           nary(word: index, hs: children State) -> State
///   join(l, r: child State) -> Wide            part(x: child Wide, hs: children Wide) -> State
///   loss(s: child State, label: index) -> "Loss" {[]}
/// To `scripts`, if given, goes how each cell was written.
ir::Program random_program(std::uint64_t seed, RandomProgramOptions options = {},
                           std::vector<BodyScript>* scripts = nullptr);

/// A small one of a width of its own, which differentiates smoothly but for kinks.
ir::Program random_model(std::uint64_t seed, std::vector<BodyScript>* scripts = nullptr);

/// One cell with one to four ports of any kind, of a width of its own.
ir::Program random_cell(std::uint64_t seed);

}  // namespace espalier::test
