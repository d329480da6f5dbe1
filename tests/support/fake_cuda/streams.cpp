// The calls of the stand-in for libcuda.so.1 that queue work or wait for it: copies, launches,
// events, graphs.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>

#include "tests/support/fake_cuda/machine.h"

using namespace espalier::fake;

FAKE cuMemcpyHtoDAsync(CUdeviceptr to, const void* from, std::size_t bytes, CUstream) {
  const Lock lock(mutex);
  Machine& m = machine();
  if (!is_current()) return CUDA_ERROR_INVALID_CONTEXT;
  if (!Machine::holds(m.device, std::uintptr_t(to), bytes)) return CUDA_ERROR_INVALID_VALUE;
  // Pinned memory is read when the copy runs, other memory now.
  if (Machine::holds(m.pinned, std::uintptr_t(from), bytes))
    return m.add([=] {
      std::memcpy(reinterpret_cast<void*>(to), from, bytes);
      return CUDA_SUCCESS;
    });
  const std::string copy(static_cast<const char*>(from), bytes);
  return m.add([=] {
    std::memcpy(reinterpret_cast<void*>(to), copy.data(), bytes);
    return CUDA_SUCCESS;
  });
}
FAKE cuMemcpyDtoHAsync(void* to, CUdeviceptr from, std::size_t bytes, CUstream) {
  const Lock lock(mutex);
  Machine& m = machine();
  if (!is_current()) return CUDA_ERROR_INVALID_CONTEXT;
  if (!Machine::holds(m.device, std::uintptr_t(from), bytes)) return CUDA_ERROR_INVALID_VALUE;
  return m.add([=] {
    std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
    return CUDA_SUCCESS;
  });
}
FAKE cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, std::size_t bytes, CUstream) {
  const Lock lock(mutex);
  Machine& m = machine();
  if (!is_current()) return CUDA_ERROR_INVALID_CONTEXT;
  if (!Machine::holds(m.device, std::uintptr_t(to), bytes) ||
      !Machine::holds(m.device, std::uintptr_t(from), bytes))
    return CUDA_ERROR_INVALID_VALUE;
  return m.add([=] {
    std::memcpy(reinterpret_cast<void*>(to), reinterpret_cast<const void*>(from), bytes);
    return CUDA_SUCCESS;
  });
}
FAKE cuMemsetD32Async(CUdeviceptr to, unsigned value, std::size_t count, CUstream) {
  const Lock lock(mutex);
  Machine& m = machine();
  if (!is_current()) return CUDA_ERROR_INVALID_CONTEXT;
  if (!Machine::holds(m.device, std::uintptr_t(to), 4 * count)) return CUDA_ERROR_INVALID_VALUE;
  return m.add([=] {
    for (std::size_t i = 0; i < count; ++i) reinterpret_cast<unsigned*>(to)[i] = value;
    return CUDA_SUCCESS;
  });
}

FAKE cuStreamCreate(CUstream* stream, unsigned) {
  *stream = reinterpret_cast<CUstream>(&machine());
  return CUDA_SUCCESS;
}
FAKE cuStreamDestroy(CUstream) {
  const Lock lock(mutex);
  return machine().drain();
}
FAKE cuStreamSynchronize(CUstream) {
  const Lock lock(mutex);
  if (!is_current()) return CUDA_ERROR_INVALID_CONTEXT;
  if (machine().captured) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  return machine().drain();
}
FAKE cuEventCreate(CUevent* event, unsigned) {
  *event = reinterpret_cast<CUevent>(new long(-1));
  return CUDA_SUCCESS;
}
FAKE cuEventDestroy(CUevent event) {
  const Lock lock(mutex);
  machine().drain();
  delete reinterpret_cast<long*>(event);
  return CUDA_SUCCESS;
}
FAKE cuEventRecord(CUevent event, CUstream) {
  const Lock lock(mutex);
  return machine().add([=] {
    *reinterpret_cast<long*>(event) = machine().clock;
    return CUDA_SUCCESS;
  });
}
#undef cuEventElapsedTime  // a newer header's name for the second version
FAKE cuEventElapsedTime(float* milliseconds, CUevent begin, CUevent end) {
  const long from = *reinterpret_cast<long*>(begin), to = *reinterpret_cast<long*>(end);
  const char* const times = std::getenv("ESPALIER_FAKE_CUDA_CLOCK_RATE");
  *milliseconds = float(to - from) * (times ? float(std::atof(times)) : 1.0F);
  return from < 0 || to < 0 ? CUDA_ERROR_INVALID_HANDLE : CUDA_SUCCESS;
}
FAKE cuEventSynchronize(CUevent) {
  const Lock lock(mutex);
  return machine().drain();
}

static CUresult launch(CUfunction function, unsigned grid, unsigned block, unsigned shared,
                       void** arguments, bool cooperative) {
  const Lock lock(mutex);
  const Function called = *reinterpret_cast<Function*>(function);
  if (!is_current()) return CUDA_ERROR_INVALID_CONTEXT;
  if (grid == 0 || block == 0 || block > 1024 || shared > called.shared_bytes)
    return CUDA_ERROR_INVALID_VALUE;
  if (cooperative && int(grid) > multiprocessors() * blocks_each(shared))
    return CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
  void* const argument = *static_cast<void**>(arguments[0]);
  if (const char* const left = std::getenv("ESPALIER_FAKE_CUDA_FAILS_AFTER")) {
    const long count = std::strtol(left, nullptr, 10);
    setenv("ESPALIER_FAKE_CUDA_FAILS_AFTER", std::to_string(count - 1).c_str(), 1);
    if (count == 0) return machine().add([] { return CUDA_ERROR_ILLEGAL_ADDRESS; });
  }
  const char* const tile = std::getenv("ESPALIER_FAKE_CUDA_TILE_TIME");
  const long more = tile && shared > 0 ? std::atol(tile) - 1 : 0;
  return machine().add([=] {
    machine().clock += more;
    void* copy = argument;
    void* all[] = {&copy};
    called.launch(called.kernel, grid, block, shared, all, cooperative);
    return CUDA_SUCCESS;
  });
}
FAKE cuLaunchKernel(CUfunction function, unsigned grid, unsigned, unsigned, unsigned block,
                    unsigned, unsigned, unsigned shared, CUstream, void** arguments, void**) {
  return launch(function, grid, block, shared, arguments, false);
}
FAKE cuLaunchCooperativeKernel(CUfunction function, unsigned grid, unsigned, unsigned,
                               unsigned block, unsigned, unsigned, unsigned shared, CUstream,
                               void** arguments) {
  return launch(function, grid, block, shared, arguments, true);
}

/// For the stand-in for cuBLAS: queues work on the stream, or in the graph that is being captured.
/// False if the device has failed.
extern "C" __attribute__((visibility("default"))) bool espalier_fake_enqueue(
    std::function<void()> work) {
  const Lock lock(mutex);
  if (!is_current()) return false;
  return machine().add([work = std::move(work)] {
    work();
    return CUDA_SUCCESS;
  }) == CUDA_SUCCESS;
}

FAKE cuStreamBeginCapture(CUstream, CUstreamCaptureMode) {
  const Lock lock(mutex);
  if (machine().captured) return CUDA_ERROR_ILLEGAL_STATE;
  machine().captured = new std::vector<Operation>;
  return CUDA_SUCCESS;
}
FAKE cuStreamEndCapture(CUstream, CUgraph* graph) {
  const Lock lock(mutex);
  *graph = reinterpret_cast<CUgraph>(machine().captured);
  machine().captured = nullptr;
  return CUDA_SUCCESS;
}
FAKE cuGraphInstantiate(CUgraphExec* exec, CUgraph graph, unsigned long long) {
  *exec = reinterpret_cast<CUgraphExec>(
      new std::vector<Operation>(*reinterpret_cast<std::vector<Operation>*>(graph)));
  return CUDA_SUCCESS;
}
FAKE cuGraphDestroy(CUgraph graph) {
  delete reinterpret_cast<std::vector<Operation>*>(graph);
  return CUDA_SUCCESS;
}
FAKE cuGraphExecDestroy(CUgraphExec exec) {
  delete reinterpret_cast<std::vector<Operation>*>(exec);
  return CUDA_SUCCESS;
}
FAKE cuGraphLaunch(CUgraphExec exec, CUstream) {
  const Lock lock(mutex);
  for (const Operation& operation : *reinterpret_cast<std::vector<Operation>*>(exec))
    machine().add(operation);
  return CUDA_SUCCESS;
}
