#include "tests/codegen/model_kernels.h"

#include <gtest/gtest.h>

#include "codegen/cuda/form.h"
#include "runtime/update/step_kernels.h"

namespace espalier::test {

runtime::CellKernels gpu_modules(const ir::Program& program, codegen::Compiler& compiler) {
  return {program, compiler, true,
          [](codegen::Kernel kernel) { return codegen::cuda_form(std::move(kernel), {}); }};
}

std::set<const codegen::CompiledKernel*> cell_kernels(const ir::Program& program,
                                                      codegen::Compiler& compiler) {
  runtime::CellKernels modules = gpu_modules(program, compiler);
  std::set<const codegen::CompiledKernel*> kernels;
  for (ir::CellId cell = 0; cell < ir::CellId(program.cells.size()); ++cell) {
    const runtime::TrainingKernels& training = modules.training(cell);
    kernels.insert({&modules.inference(cell), training.forward, training.backward, training.weights,
                    &modules.added_weights(cell)});
  }
  for (ir::StateId state = 0; state < ir::StateId(program.states.size()); ++state)
    kernels.insert(&modules.reader_sum(state));
  return kernels;
}

std::vector<codegen::Kernel> step_kernels(const ir::Program& program, codegen::Compiler& compiler,
                                          std::span<const UpdateRule> rules) {
  std::vector<codegen::Packing> packings;
  runtime::CellKernels modules = gpu_modules(program, compiler);
  for (ir::CellId cell = 0; cell < ir::CellId(program.cells.size()); ++cell)
    for (const auto* kernel : {modules.training(cell).forward, modules.training(cell).backward})
      for (const codegen::Packing& packing : kernel->kernel.packings) packings.push_back(packing);

  std::vector<std::int64_t> sizes;
  std::vector<StoredParam> stored;
  std::vector<runtime::Updated> by_rows, whole;
  std::int64_t width = 0;
  for (const ir::Param& param : program.params) {
    const std::int64_t size = param.shape.size(), columns = size / param.shape[0];
    const auto id = ir::ParamId(stored.size());
    stored.push_back({param.name, param.shape, std::size_t(size)});
    whole.push_back({id, size, 0});
    by_rows.push_back({id, size, param.name == "embed" ? columns : 0});
    if (param.name == "embed")
      width = columns;
    else
      sizes.push_back(size);
  }
  EXPECT_EQ(by_rows.front().width, width);
  std::vector<codegen::Kernel> kernels{
      runtime::pack_kernel(packings),
      runtime::seed_kernel(1),
      runtime::gather_kernel(1),
      runtime::row_sums_kernel(width, std::vector<std::int64_t>{codegen::row_stride(width), width}),
      runtime::add_rows_kernel(width),
      runtime::clear_kernel(sizes),
      runtime::squares_kernel(sizes, width),
      runtime::norm_kernel(100, 1)};
  for (const UpdateRule& rule : rules) {
    StandardOptimizer optimizer({.rule = rule});
    optimizer.prepare(stored);
    for (const auto& params : {by_rows, whole})
      kernels.push_back(runtime::update_kernel(*optimizer.expression(), params));
  }
  return kernels;
}

}  // namespace espalier::test
