#include "runtime/random_keys.h"

#include "codegen/kernel_ir.h"
#include "runtime/random.h"

namespace espalier::runtime {

void draw_keys(std::uint64_t seed, std::uint64_t step, const ir::InstanceGraph& graph,
               std::span<const ir::InstanceId> instances, std::uint64_t* keys) {
  const std::uint64_t base = mix(seed, step);
  for (std::size_t i = 0; i < instances.size(); ++i) {
    const ir::InstanceGraph::Stream stream = graph.stream(instances[i]);
    const std::uint64_t key = mix(base, mix(stream.example, stream.call));
    const std::uint64_t first = stream.element * std::uint64_t(codegen::child_counter_stride);
    keys[i] = (key & ~std::uint64_t(UINT32_MAX)) | std::uint32_t(key + first);
  }
}

}  // namespace espalier::runtime
