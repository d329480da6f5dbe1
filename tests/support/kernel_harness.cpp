#include "tests/support/kernel_harness.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <numeric>

namespace espalier::test {

using codegen::Buffer;
using codegen::BufferRole;
using ir::PortKind;

namespace {

/// Where row `row` of n elements begins in an arena.
std::size_t row_begin(std::size_t row, std::size_t n) {
  return row * std::size_t(codegen::row_stride(std::int64_t(n)));
}

std::size_t parts(std::size_t rows, int part_rows) {
  return (rows + std::size_t(part_rows) - 1) / std::size_t(part_rows);
}

}  // namespace

KernelHarness::KernelHarness(const ir::Program& program, const ir::Cell& cell,
                             std::vector<CellInputs> instances, Random& random)
    : program_(program), cell_(cell), inputs_(std::move(instances)), ports_(cell.ports.size()) {
  const auto n = inputs_.size();
  own_rows_.resize(n);
  std::iota(own_rows_.begin(), own_rows_.end(), 0);
  for (std::size_t i = 0; i < n; ++i) keys_.push_back(key(i));
  fill_ports(random);
  counts_.push_back(std::int32_t(n));
  for (const PortRows& port : ports_) counts_.push_back(std::int32_t(port.values.size()));
}

void KernelHarness::fill_ports(Random& random) {
  for (std::size_t p = 0; p < ports_.size(); ++p) {
    PortRows& rows = ports_[p];
    const ir::Port& port = cell_.ports[p];
    if (port.kind == PortKind::index) {
      for (const CellInputs& input : inputs_)
        rows.values.push_back(std::int32_t(input.ports.at({int(p), 0})[0]));
      continue;
    }
    rows.offsets.push_back(0);
    for (std::size_t i = 0; i < inputs_.size(); ++i) {
      const int count = port.kind == PortKind::children ? inputs_[i].children[p] : 1;
      for (int k = 0; k < count; ++k) {
        rows.owners.push_back(std::int32_t(i));
        rows.values.push_back(std::int32_t(rows.values.size() * 2 + 1));  // spread
      }
      rows.offsets.push_back(std::int32_t(rows.values.size()));
    }
    rows.rows = int(rows.values.size()) * 2 + 1;
    for (std::size_t i = rows.values.size(); i > 1; --i)
      std::swap(rows.values[i - 1], rows.values[std::size_t(random.integer(int(i)))]);
    rows.gradient_rows = rows.values;
    std::ranges::reverse(rows.gradient_rows);
    const auto& fields = program_.states[std::size_t(port.state)].fields;
    for (std::size_t f = 0; f < fields.size(); ++f) {
      const auto n = std::size_t(fields[f].shape.size());
      auto& arena =
          floats({BufferRole::state_field, int(p), int(f)}, row_begin(std::size_t(rows.rows), n));
      for (std::size_t i = 0; i < inputs_.size(); ++i) {
        const auto& data = inputs_[i].ports.at({int(p), int(f)});
        for (std::size_t e = 0; e < data.size(); ++e) {
          const auto row = std::size_t(rows.values[std::size_t(rows.offsets[i]) + e / n]);
          arena[row_begin(row, n) + e % n] = float(data[e]);
        }
      }
    }
  }
}

std::vector<float>& KernelHarness::floats(const Key& key, std::size_t size) {
  std::vector<float>& data = floats_[key];
  const bool added_to = std::get<0>(key) == BufferRole::param_gradient;
  if (data.size() < size)
    data.resize(size, added_to ? -77.F : std::numeric_limits<float>::quiet_NaN());
  return data;
}

void* KernelHarness::pointer(const codegen::Kernel& kernel, const Buffer& buffer) {
  const auto a = std::size_t(buffer.a);
  const auto n = std::size_t(buffer.row_elements);
  const Key key{buffer.role, buffer.a, buffer.b};
  std::size_t kept = buffer.children == ir::per_instance
                         ? inputs_.size()
                         : ports_[std::size_t(buffer.children)].values.size();
  if (buffer.role == BufferRole::partial) kept = parts(kept, buffer.b);
  if (buffer.padded) kept = std::size_t(codegen::padded_rows(std::int64_t(kept)));
  switch (buffer.role) {
    case BufferRole::state_field:
    case BufferRole::child_gradient:
      return floats(key, std::size_t(ports_[a].rows) * n).data();
    case BufferRole::own_field:
    case BufferRole::cotangent:
    case BufferRole::residual:
    case BufferRole::contribution:
    case BufferRole::scratch:
    case BufferRole::partial:
      return floats(key, kept * n + 1).data();
    case BufferRole::param: {
      auto& data = floats(key, n);
      std::ranges::transform(inputs_[0].params[a], data.begin(), [](double x) { return float(x); });
      return data.data();
    }
    case BufferRole::param_gradient:
      return floats(key, n).data();
    case BufferRole::packed: {
      // 64-byte aligned, as kernels may assume.
      packed_.push_back(pack(kernel.packings[a], inputs_[0].params));
      std::vector<float>& data = packed_.back();
      if (kernel.packings[a].bf16)
        for (std::size_t i = 0; i < data.size(); ++i) {
          const std::uint16_t bits = codegen::to_bf16(data[i]);
          std::memcpy(reinterpret_cast<char*>(data.data()) + 2 * i, &bits, sizeof bits);
        }
      const std::size_t size = data.size();
      data.resize(size + 16);
      const auto address = reinterpret_cast<std::uintptr_t>(data.data());
      const std::size_t shift = (64 - address % 64) % 64 / sizeof(float);
      std::move_backward(data.begin(), data.begin() + std::ptrdiff_t(size),
                         data.begin() + std::ptrdiff_t(size + shift));
      return data.data() + shift;
    }
    case BufferRole::port_values:
      return ports_[a].values.data();
    case BufferRole::port_offsets:
      return ports_[a].offsets.data();
    case BufferRole::port_owners:
      return ports_[a].owners.data();
    case BufferRole::port_gradient_rows:
      return ports_[a].gradient_rows.data();
    case BufferRole::own_rows:
      return own_rows_.data();
    case BufferRole::row_count:
      return &counts_[std::size_t(buffer.a + 1)];
    case BufferRole::random_keys:
      return keys_.data();
  }
  return nullptr;
}

void KernelHarness::run(const codegen::Kernel& kernel, const RunStage& run_stage) {
  std::vector<void*> pointers;
  packed_.clear();
  for (const Buffer& buffer : kernel.buffers) pointers.push_back(pointer(kernel, buffer));
  for (int s = 0; s < int(kernel.stages.size()); ++s) {
    const codegen::Stage& stage = kernel.stages[std::size_t(s)];
    std::int64_t rows = std::int64_t(inputs_.size());
    if (stage.port >= 0) rows = std::int64_t(ports_[std::size_t(stage.port)].values.size());
    if (stage.rows == codegen::RowDomain::once) rows = 1;
    if (stage.rows == codegen::RowDomain::parts)
      rows = std::int64_t(parts(std::size_t(rows), int(stage.part_rows)));
    if (stage.rows == codegen::RowDomain::padding)
      run_stage(kernel, s, pointers.data(), rows, codegen::padded_rows(rows));
    else
      run_stage(kernel, s, pointers.data(), 0, rows);
  }
}

void KernelHarness::set_cotangents(
    const std::vector<std::vector<std::vector<double>>>& cotangents) {
  for (std::size_t i = 0; i < cotangents.size(); ++i)
    for (std::size_t f = 0; f < cotangents[i].size(); ++f) {
      const std::vector<double>& row = cotangents[i][f];
      auto& data =
          floats({BufferRole::cotangent, int(f), 0}, row_begin(cotangents.size(), row.size()) + 1);
      std::ranges::transform(row, data.begin() + std::ptrdiff_t(row_begin(i, row.size())),
                             [](double x) { return float(x); });
    }
}

std::vector<float> KernelHarness::output(int instance, int field) const {
  const auto n = std::size_t(
      program_.states[std::size_t(cell_.state)].fields[std::size_t(field)].shape.size());
  const float* row =
      floats_.at({BufferRole::own_field, field, 0}).data() + row_begin(std::size_t(instance), n);
  return {row, row + n};
}

std::vector<float> KernelHarness::child_gradient(int instance, int port, int field) const {
  const PortRows& rows = ports_[std::size_t(port)];
  const auto state = std::size_t(cell_.ports[std::size_t(port)].state);
  const auto n = std::size_t(program_.states[state].fields[std::size_t(field)].shape.size());
  std::vector<float> result;
  for (std::int32_t c = rows.offsets[std::size_t(instance)];
       c < rows.offsets[std::size_t(instance) + 1]; ++c) {
    const float* row = floats_.at({BufferRole::child_gradient, port, field}).data() +
                       row_begin(std::size_t(rows.gradient_rows[std::size_t(c)]), n);
    result.insert(result.end(), row, row + n);
  }
  return result;
}

std::vector<float> KernelHarness::param_gradient(int param) const {
  const auto found = floats_.find({BufferRole::param_gradient, param, 0});
  return found == floats_.end() ? std::vector<float>{} : found->second;
}

std::vector<float> KernelHarness::contribution(int instance, int number, std::int64_t elements,
                                               std::int8_t children) const {
  std::size_t begin = std::size_t(instance), end = begin + 1;
  if (children != ir::per_instance) {
    const auto& offsets = ports_[std::size_t(children)].offsets;
    std::tie(begin, end) = std::pair(std::size_t(offsets[begin]), std::size_t(offsets[end]));
  }
  const float* data = floats_.at({BufferRole::contribution, number, 0}).data();
  std::vector<float> rows;
  for (std::size_t row = begin; row < end; ++row) {
    const float* from = data + row_begin(row, std::size_t(elements));
    rows.insert(rows.end(), from, from + elements);
  }
  return rows;
}

std::vector<float> pack(const codegen::Packing& p, const std::vector<std::vector<double>>& params) {
  std::vector<float> packed(std::size_t(p.elements()), 0.F);
  const std::int64_t n = p.gate_length();
  for (const codegen::Packing::Block& block : p.blocks)
    for (std::int64_t r = 0; r < block.rows; ++r)
      for (std::int64_t c = 0; c < block.columns; ++c) {
        const std::int64_t row = block.row + r, k = block.column + c;
        const std::int64_t gate = row / n, j = row % n;
        const std::int64_t from_row = block.param_row + (block.transposed ? c : r);
        const std::int64_t from_column = block.param_column + (block.transposed ? r : c);
        packed[std::size_t(((j / p.lanes * p.k + k) * p.gates + gate) * p.lanes + j % p.lanes)] =
            float(params[std::size_t(block.param)]
                        [std::size_t(from_row * block.param_columns + from_column)]);
      }
  return packed;
}

bool same_bits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace espalier::test
