#include "runtime/step/params.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "base/error.h"
#include "base/random.h"
#include "ir/passes/gradient.h"
#include "runtime/step/pack.h"

namespace espalier::runtime {
namespace {
/// Rows of a weight matrix that are packed together: they fill whole cache lines of a packed copy.
constexpr std::int64_t rows_a_piece = 16;
}  // namespace

std::vector<StoredParam> stored_params(const ir::Program& program) {
  std::vector<StoredParam> stored;
  const std::vector<ir::Reach> reached = ir::reached_params(program);
  for (std::size_t p = 0; p < reached.size(); ++p) {
    const ir::Param& param = program.params[p];
    stored.push_back({.name = param.name,
                      .shape = param.shape,
                      .size = std::size_t(param.shape.size()),
                      .reached = reached[p] != ir::Reach::none,
                      .by_rows = reached[p] == ir::Reach::rows});
  }
  return stored;
}

ir::ParamId find_param(const ir::Program& program, std::string_view name) {
  std::vector<std::string_view> names;
  for (std::size_t i = 0; i < program.params.size(); ++i) {
    if (program.params[i].name == name) return ir::ParamId(i);
    names.push_back(program.params[i].name);
  }
  throw UserError(
      fmt::format("no param is called '{}'; the nearest is '{}'", name, nearest_name(name, names)));
}

ParamStore::ParamStore(const ir::Program& program, std::uint64_t seed, MemoryCounter& counter,
                       DeviceMemory* device)
    : program_(program), counter_(counter), device_(device) {
  for (ir::ParamId id = 0; id < ir::ParamId(program.params.size()); ++id) {
    const ir::Param& param = program.params[std::size_t(id)];
    values_.emplace_back(counter, device).reserve(size(id));
    gradients_.emplace_back(counter, device);
    if (device) mirrors_.push_back({.values = std::vector<float>(size(id))});
    const std::span<float> values = this->values(id);
    double bound = param.initializer.value;
    if (param.initializer.kind == ir::Initializer::Kind::constant) {
      std::ranges::fill(values, float(bound));
      continue;
    }
    if (param.initializer.kind == ir::Initializer::Kind::glorot) {
      const double rows = param.shape.rank() ? param.shape[0] : 1;
      bound = std::sqrt(6 / (rows + double(values.size()) / rows));
    }
    const std::uint64_t key = splitmix(seed, std::uint64_t(id));
    for (std::size_t i = 0; i < values.size(); ++i)
      values[i] = float((2 * uniform_real(key, i) - 1) * bound);
  }
}

float* ParamStore::data(ir::ParamId param) {
  float* const at = values_[std::size_t(param)].data();
  if (!device_) return at;
  Mirror& mirror = mirrors_[std::size_t(param)];
  if (mirror.ahead == Mirror::Ahead::host) {
    device_->write(at, mirror.values.data(), size(param) * sizeof(float));
    mirror.ahead = Mirror::Ahead::neither;
  }
  return at;
}

std::span<float> ParamStore::values(ir::ParamId param) {
  Buffer<float>& buffer = values_[std::size_t(param)];
  if (!device_) return buffer.first(size(param));
  Mirror& mirror = mirrors_[std::size_t(param)];
  if (mirror.ahead == Mirror::Ahead::device) {
    device_->read(mirror.values.data(), buffer.data(), size(param) * sizeof(float));
    mirror.ahead = Mirror::Ahead::neither;
  }
  return mirror.values;
}

std::span<float> ParamStore::gradient(ir::ParamId param) {
  Buffer<float>& buffer = gradients_[std::size_t(param)];
  buffer.reserve(size(param));
  return buffer.first(size(param));
}

float* ParamStore::packed(const codegen::Packing& packing) {
  for (const auto& packed : packed_)
    if (packed->packing == packing) return packed->data.data();
  packed_.push_back(
      std::make_unique<Packed>(Packed{packing, Buffer<float>(counter_, device_), false}));
  Buffer<float>& data = packed_.back()->data;
  data.reserve(std::size_t(packing.floats()));
  const std::size_t bytes = std::size_t(packing.floats()) * sizeof(float);
  if (device_)
    device_->clear(data.data(), bytes);
  else
    std::memset(data.data(), 0, bytes);
  return data.data();
}

void ParamStore::mark_changed(ir::ParamId param) {
  values(param);
  if (device_) mirrors_[std::size_t(param)].ahead = Mirror::Ahead::host;
  mark_unpacked(param);
}

void ParamStore::changed_on_device(ir::ParamId param) {
  mirrors_[std::size_t(param)].ahead = Mirror::Ahead::device;
  mark_unpacked(param);
}

void ParamStore::mark_unpacked(ir::ParamId param) {
  for (const auto& packed : packed_)
    for (const codegen::Packing::Block& block : packed->packing.blocks)
      if (block.param == param) packed->fresh = false;
}

void ParamStore::repack(ThreadTeam& team) {
  if (std::ranges::all_of(packed_, [](const auto& packed) { return packed->fresh; })) return;
  team.run([&](int thread) {
    for (const auto& packed : packed_) {
      if (packed->fresh) continue;
      for (const codegen::Packing::Block& block : packed->packing.blocks) {
        const std::int64_t pieces =
            std::int64_t(size(block.param)) / block.param_columns / rows_a_piece + 1;
        const std::int64_t first = pieces * thread / team.size();
        const std::int64_t last = pieces * (thread + 1) / team.size();
        pack_rows(packed->packing, block, values(block.param).data(), first * rows_a_piece,
                  last * rows_a_piece, packed->data.data());
      }
    }
  });
  for (const auto& packed : packed_) packed->fresh = true;
}

std::size_t ParamStore::piece(ir::ParamId param) const {
  std::size_t floats = 0;
  for (const auto& packed : packed_)
    for (const codegen::Packing::Block& block : packed->packing.blocks) {
      if (block.param != param) continue;
      const auto rows = std::size_t(rows_a_piece * block.param_columns);
      if (floats != 0 && floats != rows) return size(param);  // seen as matrices of two widths
      floats = rows;
    }
  return floats == 0 ? 4096 : floats;
}

void ParamStore::pack(ir::ParamId param, std::size_t begin, std::size_t end) {
  for (const auto& packed : packed_)
    for (const codegen::Packing::Block& block : packed->packing.blocks)
      if (block.param == param)
        pack_rows(packed->packing, block, values(param).data(),
                  std::int64_t(begin) / block.param_columns,
                  std::int64_t(end) / block.param_columns, packed->data.data());
}

}  // namespace espalier::runtime
