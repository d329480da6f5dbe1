#include "codegen/kernel/target.h"

#include <fmt/format.h>

#include <algorithm>

#include "base/error.h"

namespace espalier::codegen {

namespace {

/// A row pointer occupies a general register, of which a loop has about a dozen.
constexpr int max_tile_rows = 12;

/// Cycles per k of one row of the whole contraction, on a core that does two fmas and two loads a
/// cycle with a latency of four. It need not be exact: it ranks tile shapes.
double cost(int rows, int vectors, double panels) {
  const double fmas = rows * vectors / 2.0, loads = (rows + vectors) / 2.0;
  return panels * std::max({fmas, loads, 4.0}) / rows;
}

}  // namespace

int tile_rows(const Target& target, int vectors) {
  return std::min((target.registers - 1 - vectors) / vectors, max_tile_rows);
}

int max_gates(const Target& target) {
  if (target.kind == TargetKind::cuda) return 16;
  return (target.registers - 1) / 2;
}

namespace {

/// A panel of about a warp's width over all gates: narrow, so that a small batch is shared by many
/// blocks. Powers of two, so that threads find their places without dividing.
int cuda_panel_lanes(int gates, long n) {
  constexpr int least = 4, widest = 48;
  int lanes = least;
  while (lanes < n && 2 * lanes * gates <= widest) lanes *= 2;
  return lanes;
}

}  // namespace

int panel_lanes(const Target& target, int gates, long n) {
  if (target.kind == TargetKind::cuda) return cuda_panel_lanes(gates, n);
  return tile_shape(target, gates, n).vectors * target.width;
}

TileShape tile_shape(const Target& target, int gates, long n) {
  internal_check(gates >= 1 && gates <= max_gates(target), "a tile of {} gates on {}", gates,
                 target.name);
  TileShape best;
  double best_cost = 0;
  for (int vectors = 1; tile_rows(target, gates * vectors) >= 1; ++vectors) {
    const int rows = tile_rows(target, gates * vectors);
    const long lanes = static_cast<long>(vectors) * target.width;
    const double panels = static_cast<double>((n + lanes - 1) / lanes);
    // Among equals the fewer loads.
    const double shape_cost =
        cost(rows, gates * vectors, panels) + 1e-3 * panels * (rows + gates * vectors) / rows;
    if (vectors == 1 || shape_cost < best_cost) {
      best = {rows, vectors};
      best_cost = shape_cost;
    }
  }
  return best;
}

Target cuda_target(std::string_view architecture) {
  const bool known = architecture.starts_with("sm_") && architecture.size() > 3 &&
                     std::ranges::all_of(architecture.substr(3), [](char c) {
                       return (c >= '0' && c <= '9') || c == 'a' || c == 'f';
                     });
  user_check(known, "target '{}': a GPU's is named as in 'sm_90'", architecture);
  return {.name = std::string(architecture),
          .cpu = {},
          .features = {},
          .fma = true,
          .kind = TargetKind::cuda};
}

}  // namespace espalier::codegen
