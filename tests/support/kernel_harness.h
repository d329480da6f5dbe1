// Runs the kernels of one cell on instances given in double, by the interpreter or compiled, and
// gives back what they stored. Arena rows lie shuffled and spread, so that a wrong index shows;
// what nobody has stored is NaN.
#pragma once

#include <functional>
#include <map>
#include <tuple>
#include <vector>

#include "codegen/kernel/compiled_kernel.h"
#include "codegen/kernel/lower.h"
#include "tests/support/cells.h"

namespace espalier::test {

class KernelHarness {
 public:
  KernelHarness(const ir::Program& program, const ir::Cell& cell, std::vector<CellInputs> instances,
                Random& random);

  /// Runs all rows of a stage of a kernel with the given pointers.
  using RunStage = std::function<void(const codegen::Kernel&, int stage, void* const* buffers,
                                      std::int64_t row_begin, std::int64_t row_end)>;
  void run(const codegen::Kernel& kernel, const RunStage& run_stage);

  /// Cotangents of the outputs, [instances][field][elements].
  void set_cotangents(const std::vector<std::vector<std::vector<double>>>& cotangents);

  /// What was stored: field f of instance i.
  std::vector<float> output(int instance, int field) const;
  std::vector<float> child_gradient(int instance, int port, int field) const;
  std::vector<float> param_gradient(int param) const;
  /// A kept row of instance i (all its child rows if it is per child).
  std::vector<float> contribution(int instance, int number, std::int64_t elements,
                                  std::int8_t children) const;
  /// All floats by role and numbers of their buffer.
  const std::map<std::tuple<codegen::BufferRole, int, int>, std::vector<float>>& memory() const {
    return floats_;
  }
  int instances() const { return int(inputs_.size()); }
  /// Of the random numbers of an instance.
  static std::uint64_t key(std::size_t instance) { return instance * 0x9e3779b97f4a7c15; }

 private:
  using Key = std::tuple<codegen::BufferRole, int, int>;
  struct PortRows {
    std::vector<std::int32_t> values, offsets, owners, gradient_rows;
    int rows = 0;  ///< of the arena
  };
  void* pointer(const codegen::Kernel& kernel, const codegen::Buffer& buffer);
  std::vector<float>& floats(const Key& key, std::size_t size);
  void fill_ports(Random& random);

  const ir::Program& program_;
  const ir::Cell& cell_;
  std::vector<CellInputs> inputs_;
  std::vector<PortRows> ports_;
  std::vector<std::int32_t> own_rows_, counts_;
  std::vector<std::uint64_t> keys_;
  std::map<Key, std::vector<float>> floats_;
  std::vector<std::vector<float>> packed_;
};

/// Packs weights by the formula of codegen::Packing, element by element.
std::vector<float> pack(const codegen::Packing& packing,
                        const std::vector<std::vector<double>>& params);

/// Whether the numbers are the same bits; what nobody has stored is NaN in both.
bool same_bits(const std::vector<float>& a, const std::vector<float>& b);

}  // namespace espalier::test
