#include "runtime/step/random_keys.h"

#include "base/random.h"
#include "codegen/kernel/kernel.h"

namespace espalier::runtime {

void draw_keys(std::uint64_t seed, std::uint64_t step, const ir::InstanceGraph& graph,
               std::span<const ir::InstanceId> instances, std::uint64_t* keys) {
  const std::uint64_t base = splitmix(seed, step);
  for (std::size_t i = 0; i < instances.size(); ++i) {
    const ir::InstanceGraph::Stream stream = graph.stream(instances[i]);
    const std::uint64_t key = splitmix(base, splitmix(stream.example, stream.call));
    const std::uint64_t first = stream.element * std::uint64_t(codegen::child_counter_stride);
    keys[i] = (key & ~std::uint64_t(UINT32_MAX)) | std::uint32_t(key + first);
  }
}

}  // namespace espalier::runtime
