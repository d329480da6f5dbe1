// What code is generated for. A CPU target gives vector width and register count, from which tile
// shapes follow; it is read from the host, and tests also force narrower ones. A GPU target gives
// its architecture; its tile shapes are in codegen/cuda.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace espalier::codegen {

enum class TargetKind : std::uint8_t { cpu, cuda };

struct Target {
  std::string name;      ///< "avx512", "avx2", "portable"; "sm_90"
  std::string cpu;       ///< LLVM's name of the CPU to tune for
  std::string features;  ///< LLVM's feature list
  int width = 4;         ///< floats in a vector
  int registers = 16;    ///< vector registers
  bool fma = false;      ///< a fused multiply-add instruction; without it, fma means mul, then add
  TargetKind kind = TargetKind::cpu;

  bool operator==(const Target&) const = default;
};

/// Rows × vectors (per gate) of a contraction's register tile.
struct TileShape {
  int rows = 1, vectors = 1;
};

/// The tile of a contraction with `gates` gates of length n: as many accumulators as the registers
/// hold beside the weight vectors and a broadcast. Throws InternalError if `gates` > max_gates.
TileShape tile_shape(const Target& target, int gates, long n);
/// Lanes of a panel per gate (see Packing) for a contraction of that many gates of length n.
int panel_lanes(const Target& target, int gates, long n);
/// The most gates that can share a tile.
int max_gates(const Target& target);
/// Rows of a tile with that many weight vectors over all gates; 0 if not even one fits.
int tile_rows(const Target& target, int vectors);

/// A GPU by its architecture, such as "sm_90"; throws UserError for another name.
Target cuda_target(std::string_view architecture);

}  // namespace espalier::codegen
