#include "ir/text/reference.h"

#include <fmt/format.h>

#include <algorithm>

#include "ir/op.h"

namespace espalier::ir {
namespace {

struct Section {
  OpClass kind;
  std::string_view title, text;
};

constexpr Section sections[] = {
    {OpClass::elementwise, "Element-wise ops",
     "The same scalar function for every element. Operands are broadcast against each other: axes "
     "are aligned at the end; extents must be equal or 1."},
    {OpClass::reduction, "Reductions",
     "Combine the elements of an axis, or the values of all children. The error bound is per "
     "term."},
    {OpClass::movement, "Movements",
     "Rearrange or repeat elements. Nothing is copied: kernels only compute other addresses."},
    {OpClass::contraction, "Contractions",
     "Multiply, and sum over the shared axis, if there is one, in the order k = 0, 1, 2, …. The "
     "error bound is per term."},
    {OpClass::composite, "Composites",
     "Made of the ops above, into which they are expanded when a cell is traced. Their gradients "
     "and kernels are those of these ops."},
    {OpClass::leaf, "Leaves",
     "Sources of values. They occur in printed programs; user code does not call them."}};

/// `slice(x; axis, begin, shape)`.
std::string signature(const Op& op) {
  std::string text = fmt::format("{}", fmt::join(op.operands, ", "));
  if (op.variadic) text += ", …";
  std::string attributes;
  const auto add = [&](std::string_view name) {
    if (!name.empty()) attributes += fmt::format("{}{}", attributes.empty() ? "" : ", ", name);
  };
  add(op.attributes.ints[0]);
  add(op.attributes.ints[1]);
  add(op.attributes.number);
  if (op.attributes.shape) add("shape");
  if (!attributes.empty()) text += (text.empty() ? "" : "; ") + attributes;
  return fmt::format("`{}({})`", op.name, text);
}

std::string cell(std::string_view text) {
  std::string escaped;
  for (char c : text) {
    if (c == '|') escaped += '\\';
    escaped += c;
  }
  return escaped;
}

/// The error bound, and for element-wise ops that are not rounded correctly, where it holds.
std::string bound(const Op& op) {
  std::string text = op.ulp == 0 ? "exact" : fmt::format("{} ulp", op.ulp);
  if (op.kind != OpClass::elementwise || op.ulp <= 0.5) return text;
  for (std::size_t i = 0; i < op.operands.size(); ++i)
    text += fmt::format(", {} in {} … {}", op.operands[i], op.domain[i].low, op.domain[i].high);
  return text;
}

std::string_view gradient(const Op& op) {
  const bool numbers = std::ranges::any_of(op.examples, [](const Op::Example& example) {
    return std::ranges::any_of(example.operands, [](auto& t) { return t.dtype == DType::f32; });
  });
  return op.gradient || (op.kind == OpClass::composite && numbers) ? "yes" : "none";
}

}  // namespace

std::string op_reference() {
  std::string text =
      "# Ops\n\n"
      "<!-- Generated from the op table (ir/ops_*.cpp). ESPALIER_UPDATE_GOLDEN=1 ir_tests "
      "regenerates it. -->\n\n"
      "The ops that the body of a cell may use. Every op is one record in `ir/ops_*.cpp`, from "
      "which shape rules, gradients, kernels, tests and this page are derived. In a signature, "
      "operands come before the semicolon and attributes after it. The result of an op is a value "
      "per child if an operand is one; only the reductions over children give one value per "
      "instance.\n";
  for (const Section& section : sections) {
    const bool leaf = section.kind == OpClass::leaf;
    text += fmt::format("\n## {}\n\n{}\n\n", section.title, section.text);
    text += leaf ? "| leaf | what it is |\n|---|---|\n"
                 : "| op | computes | error | gradient |\n|---|---|---|---|\n";
    for (const Op& op : ops()) {
      if (op.kind != section.kind) continue;
      text += fmt::format("| {} | {} |", signature(op), cell(op.summary));
      if (!leaf) text += fmt::format(" {} | {} |", bound(op), gradient(op));
      text += '\n';
    }
  }
  return text;
}

}  // namespace espalier::ir
