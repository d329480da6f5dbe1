#include "codegen/kernel/kernel.h"

#include <bit>

namespace espalier::codegen {

std::int64_t row_stride(std::int64_t n) {
  constexpr std::int64_t line = 16;
  if (n < line) return n;
  const std::int64_t lines = (n + line - 1) / line;
  return (lines % 16 == 0 ? lines + 1 : lines) * line;
}

std::int64_t padded_rows(std::int64_t rows) {
  constexpr std::int64_t least = 16;
  const auto octave = static_cast<std::int64_t>(std::bit_floor(static_cast<std::uint64_t>(rows)));
  const std::int64_t step = rows <= 4 * least ? least : octave / 4;
  return rows == 0 ? least : (rows + step - 1) / step * step;
}

Element element(BufferRole role) {
  if (role == BufferRole::random_keys) return Element::u64;
  return role >= BufferRole::port_values ? Element::i32 : Element::f32;
}

Element element(const Buffer& buffer) { return buffer.bf16 ? Element::bf16 : element(buffer.role); }

std::uint16_t to_bf16(float x) {
  auto bits = std::bit_cast<std::uint32_t>(x);
  if (x != x) return static_cast<std::uint16_t>(bits >> 16 | 0x40);
  bits += 0x7fff + (bits >> 16 & 1);
  return static_cast<std::uint16_t>(bits >> 16);
}

float from_bf16(std::uint16_t bits) { return std::bit_cast<float>(std::uint32_t{bits} << 16); }

float random_uniform(std::uint64_t key, std::uint32_t mask, std::uint32_t counter) {
  // Two rounds of a 32-bit finaliser over the key's halves and the counter.
  const auto mix = [](std::uint32_t x) {
    x ^= x >> 16;
    x *= 0x7feb352dU;
    x ^= x >> 15;
    x *= 0x846ca68bU;
    return x ^ (x >> 16);
  };
  const auto low = static_cast<std::uint32_t>(key), high = static_cast<std::uint32_t>(key >> 32);
  const std::uint32_t bits = mix(mix(counter + low) ^ (high + mask * 0x9e3779b9U));
  return static_cast<float>(bits >> 8) * 0x1p-24F;
}

namespace {

std::size_t key(const Buffer& buffer) {
  return (static_cast<std::size_t>(buffer.role) << 56) ^
         (static_cast<std::size_t>(buffer.b) << 32) ^ static_cast<std::size_t>(buffer.a);
}

}  // namespace

BufferId KernelBuilder::buffer(const Buffer& buffer) {
  // The kernel may have had buffers before this builder.
  while (listed_ < kernel_.buffers.size()) {
    const Buffer& known = kernel_.buffers[listed_];
    buffers_.emplace(key(known), static_cast<BufferId>(listed_++));
  }
  for (auto [it, end] = buffers_.equal_range(key(buffer)); it != end; ++it)
    if (kernel_.buffers[it->second] == buffer) return it->second;
  kernel_.buffers.push_back(buffer);
  return static_cast<BufferId>(kernel_.buffers.size() - 1);
}

ExprId KernelBuilder::intern(const Expr& expr) {
  std::size_t hash =
      static_cast<std::size_t>(expr.kind) * 31 + static_cast<std::size_t>(expr.opcode);
  const auto mix = [&](std::uint64_t value) { hash = (hash ^ value) * 0x9e3779b97f4a7c15; };
  for (ExprId operand : expr.operands) mix(static_cast<std::uint64_t>(operand));
  mix(static_cast<std::uint64_t>(expr.integer));
  mix(static_cast<std::uint64_t>(expr.block));
  mix(std::bit_cast<std::uint64_t>(expr.number));
  mix(static_cast<std::uint64_t>(expr.buffer));
  for (auto [it, end] = table_.equal_range(hash); it != end; ++it)
    if (kernel_.exprs[it->second] == expr) return it->second;
  kernel_.exprs.push_back(expr);
  const auto id = static_cast<ExprId>(kernel_.exprs.size() - 1);
  table_.emplace(hash, id);
  return id;
}

ExprId KernelBuilder::integer(std::int64_t value) {
  return intern({.kind = ExprKind::integer, .integer = value});
}

ExprId KernelBuilder::var(VarId variable) {
  return intern({.kind = ExprKind::variable, .integer = variable});
}

ExprId KernelBuilder::load_index(BufferId buffer, ExprId address) {
  return intern(
      {.kind = ExprKind::load_index, .buffer = buffer, .operands = {address, -1, -1, -1}});
}

ExprId KernelBuilder::add(ExprId a, ExprId b) {
  const Expr &x = kernel_[a], &y = kernel_[b];
  if (x.kind == ExprKind::integer && y.kind == ExprKind::integer)
    return integer(x.integer + y.integer);
  if (x.kind == ExprKind::integer && x.integer == 0) return b;
  if (y.kind == ExprKind::integer && y.integer == 0) return a;
  // x / m · (m · q) + x mod m · q = x · q: what was taken apart into coordinates lies together.
  const bool scaled = y.kind == ExprKind::imul;
  const Expr& rest = scaled ? kernel_[y.operands[0]] : y;
  const std::int64_t q = scaled ? y.integer : 1, m = rest.integer;
  if (x.kind == ExprKind::imul && rest.kind == ExprKind::imod && x.integer == m * q) {
    const Expr& whole = kernel_[x.operands[0]];
    if (whole.kind == ExprKind::idiv && whole.integer == m && whole.operands[0] == rest.operands[0])
      return multiply(rest.operands[0], q);
  }
  return intern({.kind = ExprKind::iadd, .operands = {a, b, -1, -1}});
}

ExprId KernelBuilder::multiply(ExprId a, std::int64_t factor) {
  if (factor == 1) return a;
  const Expr& x = kernel_[a];
  if (x.kind == ExprKind::integer) return integer(x.integer * factor);
  if (factor == 0) return integer(0);
  return intern({.kind = ExprKind::imul, .operands = {a, -1, -1, -1}, .integer = factor});
}

ExprId KernelBuilder::divide(ExprId a, std::int64_t divisor) {
  if (divisor == 1) return a;
  const Expr& x = kernel_[a];
  if (x.kind == ExprKind::integer) return integer(x.integer / divisor);
  return intern({.kind = ExprKind::idiv, .operands = {a, -1, -1, -1}, .integer = divisor});
}

ExprId KernelBuilder::modulo(ExprId a, std::int64_t divisor) {
  if (divisor == 1) return integer(0);
  const Expr& x = kernel_[a];
  if (x.kind == ExprKind::integer) return integer(x.integer % divisor);
  return intern({.kind = ExprKind::imod, .operands = {a, -1, -1, -1}, .integer = divisor});
}

ExprId KernelBuilder::least(ExprId a, ExprId b) {
  if (a == b) return a;
  return intern({.kind = ExprKind::imin, .operands = {a, b, -1, -1}});
}

ExprId KernelBuilder::number(double value) {
  return intern({.kind = ExprKind::scalar, .opcode = ir::Opcode::constant, .number = value});
}

ExprId KernelBuilder::load(BufferId buffer, ExprId address) {
  return intern({.kind = ExprKind::load, .buffer = buffer, .operands = {address, -1, -1, -1}});
}

ExprId KernelBuilder::accumulator(int gate) {
  return intern({.kind = ExprKind::accumulator, .integer = gate});
}

ExprId KernelBuilder::to_float(ExprId value) {
  if (kernel_[value].kind == ExprKind::integer) return number(double(kernel_[value].integer));
  return intern({.kind = ExprKind::to_float, .operands = {value, -1, -1, -1}});
}

ExprId KernelBuilder::random(BufferId keys, ExprId row, std::uint32_t mask, ExprId counter) {
  return intern({.kind = ExprKind::random,
                 .buffer = keys,
                 .operands = {row, counter, -1, -1},
                 .integer = mask});
}

ExprId KernelBuilder::reduce(Reduction reduction, VarId variable, ExprId begin, ExprId end,
                             ExprId body, ExprId second, std::int64_t block) {
  return intern({.kind = ExprKind::reduce,
                 .reduction = reduction,
                 .operands = {begin, end, body, second},
                 .integer = variable,
                 .block = block});
}

int KernelBuilder::emit(ir::Opcode op, std::span<const int> operands, double constant) {
  Expr expr{.kind = ExprKind::scalar, .opcode = op, .number = constant};
  for (std::size_t i = 0; i < operands.size(); ++i) expr.operands[i] = operands[i];
  return intern(expr);
}

}  // namespace espalier::codegen
