// Kernel IR: what a kernel does to memory, for every target. A kernel is a list of stages; a stage
// is a loop nest over rows and a domain whose stores write scalar expressions. Lowering makes it,
// the interpreter defines it, the emitters print it. Only the emitters know vectors and threads.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "ir/program.h"
#include "ir/scalar.h"

namespace espalier::codegen {

using ExprId = std::int32_t;
using BufferId = std::int32_t;
using VarId = std::int32_t;

/// What a buffer is; the runtime binds one pointer per buffer and batch. A "cell row" numbers the
/// instances of one cell in batch order, a "child row" the elements of one of its Children ports.
enum class BufferRole : std::uint8_t {
  // f32
  state_field,     ///< a = port, b = field: the arena of the port's state, [state rows, n]
  own_field,       ///< a = field of the cell's own state. Kernels of a batch: row = cell row.
                   ///< Weight-gradient kernels: row = state row (see own_rows)
  cotangent,       ///< a = field: gradient of own_field; rows as there
  child_gradient,  ///< a = port, b = field: gradient arena of the port's state, [rows, n]
  residual,        ///< a = residual: kept from forward to backward, [cell or child rows, n]
  contribution,    ///< a = contribution: kept for the weight gradients, [cell or child rows, n]
  scratch,         ///< a = number: lives within a batch, [cell or child rows, n]
  partial,         ///< a = number, b = rows of a part: lives within a kernel, [parts of rows, n]
  param,           ///< a = param, in C order
  param_gradient,  ///< a = param, in C order
  packed,          ///< a = index into Kernel::packings
  // i32
  port_values,         ///< a = port: Index value or state row per cell row; state row per child row
  port_offsets,        ///< a = Children port: first child row of each cell row, one more at the end
  port_owners,         ///< a = Children port: the cell row that owns a child row
  port_gradient_rows,  ///< a = port: row of child_gradient, per cell or child row
  own_rows,            ///< state row per cell row
  row_count,           ///< a = port or -1: one number, the child rows of that port or the cell rows
  // u64
  random_keys,  ///< one key per cell row
};

enum class Element : std::uint8_t { f32, i32, u64, bf16 };
Element element(BufferRole role);

/// bfloat16: the upper half of a float's bits. Rounding is to nearest, ties to even.
std::uint16_t to_bf16(float x);
float from_bf16(std::uint16_t bits);

/// a / b, rounded up.
constexpr std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

/// Floats from one row of n elements to the next: rows begin at cache lines, and the same element
/// of neighbouring rows does not fall into the same few sets of the cache. Short rows lie densely.
std::int64_t row_stride(std::int64_t n);

/// `rows` rounded up to one of few different numbers, at most a quarter more and at least one: the
/// rows that a library is asked for, so that products of many sizes are calls with the same
/// arguments.
std::int64_t padded_rows(std::int64_t rows);

struct Buffer {
  BufferRole role = BufferRole::scratch;
  int a = 0, b = 0;
  std::int64_t row_elements = 0;  ///< from one row to the next; of the whole for params
  /// Rows, or rows of parts, count the children of this port rather than cell rows (residual,
  /// contribution, scratch, partial).
  std::int8_t children = ir::per_instance;
  bool padded = false;  ///< scratch with room for padded_rows of its rows
  bool bf16 = false;    ///< scratch or packed: stores round to bfloat16, loads are exact

  /// Floats of memory from one row to the next.
  std::int64_t row_floats() const { return bf16 ? (row_elements + 1) / 2 : row_elements; }

  bool operator==(const Buffer&) const = default;
};

Element element(const Buffer& buffer);

enum class ExprKind : std::uint8_t {
  // integers
  integer,     ///< `integer`
  variable,    ///< loop variable number `integer`
  load_index,  ///< i32 buffer[operand 0]
  iadd,        ///< operand 0 + operand 1
  imul,        ///< operand 0 · `integer`
  idiv,        ///< operand 0 / `integer`; operand 0 ≥ 0
  imod,        ///< operand 0 mod `integer`; operand 0 ≥ 0
  imin,        ///< the lesser of operands 0 and 1
  // floats
  scalar,       ///< `opcode` of the operands; `number` for constants
  load,         ///< f32 buffer[operand 0]
  accumulator,  ///< gate `integer` of the stage's contraction, at the stage's coordinate
  to_float,     ///< of integer operand 0
  random,       ///< uniform [0, 1): random_uniform(u64 buffer[operand 0], `integer`, operand 1)
  reduce,       ///< `reduction` over variable `integer` from operand 0 to operand 1 of operand 2
                ///< (and operand 3 for fma)
};

enum class Reduction : std::uint8_t {
  sum,       ///< from 0, in order
  max,       ///< from the least float, ir::Opcode::max(accumulator, body)
  fma,       ///< from 0, accumulator = fma(operand 2, operand 3, accumulator), in order
  wide_sum,  ///< as sum, but in double; rounded to a float in the end
};

/// Rows of a partial sum where kernels sum over all rows of a minibatch. A sum of n rows then goes
/// through about n / row_block + row_block roundings rather than n, with the same bits on every
/// target.
inline constexpr std::int64_t row_block = 64;

struct Expr {
  ExprKind kind = ExprKind::integer;
  ir::Opcode opcode = ir::Opcode::constant;
  Reduction reduction = Reduction::sum;
  BufferId buffer = -1;
  std::array<ExprId, 4> operands{-1, -1, -1, -1};
  std::int64_t integer = 0;
  /// Of a sum or fma, not 0: each `block` steps, counted from operand 0, are a reduction of their
  /// own, and the results of these are added from 0 in order.
  std::int64_t block = 0;
  double number = 0;

  bool operator==(const Expr&) const = default;
};

/// Elements of a mask that exists per child are counted from `element · child_counter_stride` on,
/// modulo 2^32; adding that to the low half of the key is the same.
inline constexpr std::int64_t child_counter_stride = 0x9e3779b1;

/// The uniform number of an element: a counter-based generator, the same on every target. Keys must
/// be hashes: those of neighbouring keys are the same numbers shifted.
float random_uniform(std::uint64_t key, std::uint32_t mask, std::uint32_t counter);

/// A weight matrix [m, k] put together from params and stored in panels, so that a tile's loads are
/// consecutive: element (gate · n + j, k) with n = m / gates lies at
/// ((j / lanes · K + k) · gates + gate) · lanes + j % lanes, where lanes past n hold 0.
struct Packing {
  /// Rows × columns of a param, or of its transpose, seen as a matrix of `param_columns` columns.
  struct Block {
    ir::ParamId param = -1;
    bool transposed = false;
    std::int32_t param_columns = 0;
    std::int32_t param_row = 0, param_column = 0;  ///< of the block's first element, in the param
    std::int32_t row = 0, column = 0;              ///< of the block in the matrix
    std::int32_t rows = 0, columns = 0;            ///< extent in the matrix
    bool operator==(const Block&) const = default;
  };
  std::int64_t m = 0, k = 0;
  int gates = 1;
  int lanes = 1;      ///< lanes of a panel per gate; the target's choice
  bool bf16 = false;  ///< kept as that
  std::vector<Block> blocks;

  std::int64_t gate_length() const { return m / gates; }
  std::int64_t panels() const { return (gate_length() + lanes - 1) / lanes; }
  std::int64_t elements() const { return panels() * k * gates * lanes; }
  /// Of memory.
  std::int64_t floats() const { return bf16 ? (elements() + 1) / 2 : elements(); }
  bool operator==(const Packing&) const = default;
};

/// accumulator(gate g) at (row, j) = Σ_k weight[g · n + j, k] · x[row, k], summed in the order of k
/// (terms one after another) with fma from 0, whatever the tile.
struct Contraction {
  struct Term {
    BufferId x = -1;
    ExprId address = -1;  ///< element of x at k = k_begin, an expression of the row variable
    std::int64_t k_begin = 0, k_length = 0;
  };
  BufferId weights = -1;  ///< role `packed`
  int packing = -1;
  std::vector<Term> terms;
};

struct Store {
  BufferId buffer = -1;
  ExprId address = -1;  ///< element, an integer expression
  ExprId value = -1;
};

enum class RowDomain : std::uint8_t {
  instances,  ///< the row variable runs over the batch's cell rows
  children,   ///< … over the child rows of `port` that the batch's instances own
  once,       ///< no rows: the stage runs once a minibatch (weight gradients)
  parts,      ///< … over parts of `part_rows` cell rows, or child rows of `port` if that is not -1
  padding,    ///< rows that do not exist: after the batch's cell rows, or the child rows of `port`,
              ///< up to padded_rows of them
};

/// What a library does in place of a stage, on matrices whose rows lie `pitch` floats apart:
/// out = x · w (a contraction), or out = leftᵀ · right, added to out if `accumulates` (an outer
/// product, whose rows up to padded_rows of them are there and 0).
struct LibraryContraction {
  bool over_rows = false;               ///< an outer product
  std::int8_t rows = ir::per_instance;  ///< … of which rows: the batch's or children of a port
  bool accumulates = false;
  bool bf16 = false;                  ///< a and b
  BufferId a = -1, b = -1, out = -1;  ///< x [rows, k] and w [k, m]; left [rows, m], right [rows, k]
  std::int64_t m = 0, k = 0;          ///< out is [rows, m], or [m, k]
  std::int64_t a_pitch = 0, b_pitch = 0, out_pitch = 0;
  std::int64_t out_offset = 0;  ///< of its first float in the buffer
};

/// for row: for domain coordinates: all stores. Stores of one stage do not feed its loads. The
/// domain's last variable is the one to vectorise, unless `vector_reduce`: then it is the variable
/// of each outermost reduce. A contraction's domain is [gate length].
///
/// What does not depend on a loop's variable may be evaluated before the loop, and both sides of a
/// select are: loads must be in range also where the loop is empty or the side is not taken.
struct Stage {
  RowDomain rows = RowDomain::instances;
  int port = -1;
  std::int64_t part_rows = 0;
  VarId row = -1;
  std::vector<std::int64_t> extents;  ///< of the domain; empty for scalars
  std::vector<VarId> variables;
  std::optional<Contraction> contraction;
  bool vector_reduce = false;
  /// A weight gradient: `once` or `parts` over [m, k] with one store of reduce-fma in blocks, or of
  /// load + that (accumulating), whose first factor depends on variables[0] and whose second on
  /// variables[1], with stride 1. Emitters use a register tile.
  bool outer_product = false;
  /// May run at the same time as the stages before it, back to the last one that is not joined:
  /// none of them touches what another stores. It has the same rows as that one, or none.
  bool joined = false;
  /// The same as the stage's stores, but for the order of sums (see library_calls.h).
  std::optional<LibraryContraction> library;
  std::vector<Store> stores;
};

struct Kernel {
  std::string name;
  std::vector<Buffer> buffers;
  std::vector<Packing> packings;
  std::vector<Expr> exprs;
  int variables = 0;
  std::vector<Stage> stages;

  const Expr& operator[](ExprId id) const { return exprs[id]; }
};

/// Adds expressions to a kernel; equal expressions get one id, integer constants fold. As a
/// ScalarSink it receives the bodies of element-wise ops.
class KernelBuilder : public ir::ScalarSink {
 public:
  explicit KernelBuilder(Kernel& kernel) : kernel_(kernel) {}

  const Kernel& kernel() const { return kernel_; }
  BufferId buffer(const Buffer& buffer);
  VarId variable() { return kernel_.variables++; }

  ExprId integer(std::int64_t value);
  ExprId var(VarId variable);
  ExprId load_index(BufferId buffer, ExprId address);
  ExprId add(ExprId a, ExprId b);
  ExprId multiply(ExprId a, std::int64_t factor);
  ExprId divide(ExprId a, std::int64_t divisor);
  ExprId modulo(ExprId a, std::int64_t divisor);
  ExprId least(ExprId a, ExprId b);

  ExprId number(double value);
  ExprId load(BufferId buffer, ExprId address);
  ExprId accumulator(int gate);
  ExprId to_float(ExprId integer);
  ExprId random(BufferId keys, ExprId row, std::uint32_t mask, ExprId counter);
  ExprId reduce(Reduction reduction, VarId variable, ExprId begin, ExprId end, ExprId body,
                ExprId second = -1, std::int64_t block = 0);

  int emit(ir::Opcode op, std::span<const int> operands, double constant) override;

 private:
  ExprId intern(const Expr& expr);

  Kernel& kernel_;
  std::unordered_multimap<std::size_t, ExprId> table_;
  std::unordered_multimap<std::size_t, BufferId> buffers_;  // the first listed_ ones
  std::size_t listed_ = 0;
};

}  // namespace espalier::codegen
