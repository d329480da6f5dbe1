// A stand-in for libcuda.so.1 that runs kernels on this machine's processor, for tests on machines
// without a GPU. It is as unforgiving as it can be: memory of the device cannot be touched by the
// host and is NaN at first, nothing happens before somebody waits for it, kernels that read past
// the end of an allocation crash, and writes past it are found when it is freed. Its clock counts
// what has run: everything takes a millisecond, launches with shared memory (tiles) as many as
// ESPALIER_FAKE_TILE_TIME says, and times that are read are multiplied by ESPALIER_FAKE_CUDA_TIMES.
// ESPALIER_FAKE_CUDA_COOPERATIVE=0 takes away cooperative launches, ESPALIER_FAKE_CUDA_MAJOR makes
// it an older GPU, and one of other than 2 multiprocessors is ESPALIER_FAKE_CUDA_MULTIPROCESSORS.
#include <cuda.h>
#include <dlfcn.h>
#include <elf.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

namespace {

using Operation = std::function<CUresult()>;
constexpr std::size_t page = 4096, device_alignment = 256;
constexpr unsigned char poison = 0xff;
constexpr std::size_t usual_shared_bytes = 48 << 10, most_shared_bytes = 227 << 10;
constexpr std::size_t reserved_shared_bytes = 1 << 10;  // of each block
constexpr int most_blocks_each = 2;

int multiprocessors() {
  const char* const given = std::getenv("ESPALIER_FAKE_CUDA_MULTIPROCESSORS");
  return given ? std::atoi(given) : 2;
}

int blocks_each(std::size_t shared_bytes) {
  const std::size_t most = most_shared_bytes + reserved_shared_bytes;
  return int(
      std::min<std::size_t>(most_blocks_each, most / (shared_bytes + reserved_shared_bytes)));
}

[[noreturn]] void fail(const char* what) {
  std::fprintf(stderr, "fake CUDA driver: %s\n", what);
  std::abort();
}

struct Allocation {
  char* pages = nullptr;
  std::size_t mapped = 0, size = 0;
};

struct Function {
  void* kernel = nullptr;
  void (*launch)(void*, unsigned, unsigned, std::size_t, void**, bool) = nullptr;
  std::size_t shared_bytes = usual_shared_bytes;
};

struct Module {
  void* library = nullptr;
  std::map<std::string, std::unique_ptr<Function>> functions;
};

struct Machine {
  std::map<std::uintptr_t, Allocation> device, pinned;  // by address
  std::size_t used = 0;
  std::vector<Operation> queue;
  std::vector<Operation>* captured = nullptr;
  CUresult failed = CUDA_SUCCESS;
  long clock = 0;

  std::size_t total() const {
    const char* bytes = std::getenv("ESPALIER_FAKE_CUDA_BYTES");
    return bytes ? std::strtoull(bytes, nullptr, 10) : std::size_t{4} << 30;
  }
  void protect(int how) {
    for (auto& [address, allocation] : device)
      if (mprotect(allocation.pages, allocation.mapped - page, how) != 0) fail("mprotect");
  }
  CUresult drain() {
    if (!queue.empty()) {
      protect(PROT_READ | PROT_WRITE);
      std::vector<Operation> todo;
      todo.swap(queue);
      for (Operation& operation : todo) {
        if (failed == CUDA_SUCCESS) failed = operation();
        ++clock;
      }
      protect(PROT_NONE);
    }
    return failed;
  }
  CUresult add(Operation operation) {
    if (failed != CUDA_SUCCESS) return failed;
    (captured ? *captured : queue).push_back(std::move(operation));
    return CUDA_SUCCESS;
  }
  static bool holds(const std::map<std::uintptr_t, Allocation>& all, std::uintptr_t address,
                    std::size_t bytes) {
    auto after = all.upper_bound(address);
    if (after == all.begin()) return false;
    const auto& [begin, allocation] = *--after;
    return address + bytes <= begin + allocation.size;
  }
};

std::mutex mutex;
Machine& machine() {
  static Machine one;
  return one;
}
// In the static block of thread-local storage: LeakSanitizer takes one block in 64 of those that
// are allocated for libraries loaded later for an older C library's, reads a size before it, and
// crashes.
[[gnu::tls_model("initial-exec")]] thread_local bool is_current = false;

using Lock = std::lock_guard<std::mutex>;

/// What gives something back and is not checked: with another context, or none, it would be lost.
void needs_context(const char* what) {
  if (!is_current) fail((std::string(what) + " without a context").c_str());
  if (machine().captured) fail((std::string(what) + " while a graph is captured").c_str());
}

/// The bytes of an object file whose section headers lie at its end, as linkers write them.
std::size_t elf_bytes(const void* image) {
  Elf64_Ehdr header;
  std::memcpy(&header, image, sizeof header);
  if (std::memcmp(header.e_ident, ELFMAG, SELFMAG) != 0) return 0;
  return header.e_shoff + std::size_t{header.e_shnum} * header.e_shentsize;
}

}  // namespace

#define FAKE extern "C" __attribute__((visibility("default"))) CUresult

FAKE cuInit(unsigned) {
  const char* const visible = std::getenv("CUDA_VISIBLE_DEVICES");
  return visible && std::strcmp(visible, "-1") == 0 ? CUDA_ERROR_NO_DEVICE : CUDA_SUCCESS;
}
FAKE cuDriverGetVersion(int* version) {
  *version = 13000;
  return CUDA_SUCCESS;
}
FAKE cuGetErrorName(CUresult error, const char** name) {
  const Lock lock(mutex);
  static std::map<CUresult, std::string> names{
      {CUDA_ERROR_OUT_OF_MEMORY, "CUDA_ERROR_OUT_OF_MEMORY"}};
  *name = names.try_emplace(error, "error " + std::to_string(int(error))).first->second.c_str();
  return CUDA_SUCCESS;
}
FAKE cuGetErrorString(CUresult, const char** text) {
  *text = "of the fake driver";
  return CUDA_SUCCESS;
}
FAKE cuDeviceGetCount(int* count) {
  *count = 1;
  return CUDA_SUCCESS;
}
FAKE cuDeviceGet(CUdevice* device, int ordinal) {
  *device = ordinal;
  return ordinal == 0 ? CUDA_SUCCESS : CUDA_ERROR_INVALID_DEVICE;
}
FAKE cuDeviceGetName(char* name, int length, CUdevice) {
  std::snprintf(name, std::size_t(length), "this machine's processor");
  return CUDA_SUCCESS;
}
FAKE cuDeviceTotalMem(std::size_t* bytes, CUdevice) {
  *bytes = machine().total();
  return CUDA_SUCCESS;
}
FAKE cuDeviceGetAttribute(int* value, CUdevice_attribute attribute, CUdevice) {
  switch (attribute) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: {
      const char* const given = std::getenv("ESPALIER_FAKE_CUDA_MAJOR");
      *value = given ? std::atoi(given) : 9;
      return CUDA_SUCCESS;
    }
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR:
      *value = 0;
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT:
      *value = multiprocessors();
      return CUDA_SUCCESS;
    case CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH: {
      const char* given = std::getenv("ESPALIER_FAKE_CUDA_COOPERATIVE");
      *value = given ? std::atoi(given) : 1;
      return CUDA_SUCCESS;
    }
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN:
      *value = int(most_shared_bytes);
      return CUDA_SUCCESS;
    default:
      return CUDA_ERROR_INVALID_VALUE;
  }
}
FAKE cuDevicePrimaryCtxRetain(CUcontext* context, CUdevice) {
  *context = reinterpret_cast<CUcontext>(&machine());
  return CUDA_SUCCESS;
}
FAKE cuDevicePrimaryCtxRelease(CUdevice) {
  const Lock lock(mutex);
  if (machine().failed != CUDA_SUCCESS) {  // what failed is gone with the context
    machine().failed = CUDA_SUCCESS;
    machine().queue.clear();
  }
  return CUDA_SUCCESS;
}
FAKE cuCtxSetCurrent(CUcontext context) {
  is_current = context != nullptr;
  return CUDA_SUCCESS;
}

FAKE cuModuleLoadData(CUmodule* module, const void* image) {
  if (!is_current) return CUDA_ERROR_INVALID_CONTEXT;
  if (machine().captured) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  const std::size_t bytes = elf_bytes(image);
  if (bytes == 0) return CUDA_ERROR_INVALID_IMAGE;
  std::string path = std::filesystem::temp_directory_path() / "espalier-fake-XXXXXX";
  const int file = mkstemp(path.data());
  if (file < 0 || write(file, image, bytes) != ssize_t(bytes)) fail("no room for a module");
  close(file);
  auto made = std::make_unique<Module>();
  made->library = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  unlink(path.c_str());
  if (!made->library) fail(dlerror());
  *module = reinterpret_cast<CUmodule>(made.release());
  return CUDA_SUCCESS;
}
FAKE cuModuleUnload(CUmodule module) {
  const Lock lock(mutex);
  needs_context("a module is unloaded");
  const CUresult result = machine().drain();
  auto* const made = reinterpret_cast<Module*>(module);  // gone also where the context has failed
  dlclose(made->library);
  delete made;
  return result;
}
FAKE cuModuleGetFunction(CUfunction* function, CUmodule module, const char* name) {
  auto* const from = reinterpret_cast<Module*>(module);
  auto& made = from->functions[name];
  if (!made) made = std::make_unique<Function>();
  made->kernel = dlsym(from->library, name);
  made->launch =
      reinterpret_cast<decltype(made->launch)>(dlsym(from->library, "espalier_host_launch"));
  if (!made->kernel || !made->launch) return CUDA_ERROR_NOT_FOUND;
  *function = reinterpret_cast<CUfunction>(made.get());
  return CUDA_SUCCESS;
}
FAKE cuFuncSetAttribute(CUfunction function, CUfunction_attribute attribute, int value) {
  if (attribute != CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES ||
      std::size_t(value) > most_shared_bytes)
    return CUDA_ERROR_INVALID_VALUE;
  reinterpret_cast<Function*>(function)->shared_bytes = std::size_t(value);
  return CUDA_SUCCESS;
}
FAKE cuOccupancyMaxActiveBlocksPerMultiprocessor(int* blocks, CUfunction, int, std::size_t shared) {
  *blocks = blocks_each(shared);
  return CUDA_SUCCESS;
}

FAKE cuMemGetInfo(std::size_t* free, std::size_t* total) {
  const Lock lock(mutex);
  *total = machine().total();
  *free = *total > machine().used ? *total - machine().used : 0;
  return CUDA_SUCCESS;
}
FAKE cuMemAlloc(CUdeviceptr* address, std::size_t bytes) {
  const Lock lock(mutex);
  Machine& m = machine();
  if (!is_current) return CUDA_ERROR_INVALID_CONTEXT;
  if (bytes == 0) return CUDA_ERROR_INVALID_VALUE;
  if (m.captured) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  if (m.used + bytes > m.total()) return CUDA_ERROR_OUT_OF_MEMORY;
  // It ends where a page ends, but for its alignment; the next page belongs to nobody.
  const std::size_t rounded = (bytes + device_alignment - 1) / device_alignment * device_alignment;
  Allocation allocation;
  allocation.mapped = (rounded + page - 1) / page * page + page;
  allocation.size = bytes;
  void* const pages =
      mmap(nullptr, allocation.mapped, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (pages == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
  allocation.pages = static_cast<char*>(pages);
  std::memset(pages, poison, allocation.mapped - page);
  mprotect(pages, allocation.mapped, PROT_NONE);
  *address = CUdeviceptr(allocation.pages + allocation.mapped - page - rounded);
  m.device[std::uintptr_t(*address)] = allocation;
  m.used += bytes;
  return CUDA_SUCCESS;
}
FAKE cuMemFree(CUdeviceptr address) {
  const Lock lock(mutex);
  Machine& m = machine();
  needs_context("memory is freed");
  m.drain();
  const auto found = m.device.find(std::uintptr_t(address));
  if (found == m.device.end()) fail("memory is freed that was not allocated");
  const Allocation& allocation = found->second;
  mprotect(allocation.pages, allocation.mapped - page, PROT_READ);
  for (const char* at = allocation.pages; at < allocation.pages + allocation.mapped - page; ++at) {
    const auto offset = std::uintptr_t(at) - found->first;
    const bool inside = std::uintptr_t(at) >= found->first && offset < allocation.size;
    if (!inside && static_cast<unsigned char>(*at) != poison)
      fail("a kernel wrote outside of an allocation");
  }
  munmap(allocation.pages, allocation.mapped);
  m.used -= allocation.size;
  m.device.erase(found);
  return CUDA_SUCCESS;
}
FAKE cuMemHostAlloc(void** address, std::size_t bytes, unsigned) {
  const Lock lock(mutex);
  if (!is_current) return CUDA_ERROR_INVALID_CONTEXT;
  if (machine().captured) return CUDA_ERROR_STREAM_CAPTURE_UNSUPPORTED;
  *address = std::calloc(bytes, 1);
  machine().pinned[std::uintptr_t(*address)] = {.pages = nullptr, .mapped = 0, .size = bytes};
  return CUDA_SUCCESS;
}
FAKE cuMemFreeHost(void* address) {
  const Lock lock(mutex);
  needs_context("memory of the host is freed");
  machine().drain();
  machine().pinned.erase(std::uintptr_t(address));
  std::free(address);
  return CUDA_SUCCESS;
}

FAKE cuMemcpyHtoDAsync(CUdeviceptr to, const void* from, std::size_t bytes, CUstream) {
  const Lock lock(mutex);
  Machine& m = machine();
  if (!is_current) return CUDA_ERROR_INVALID_CONTEXT;
  if (!Machine::holds(m.device, std::uintptr_t(to), bytes)) return CUDA_ERROR_INVALID_VALUE;
  // Pinned memory is read when its turn comes, other memory at once.
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
  if (!is_current) return CUDA_ERROR_INVALID_CONTEXT;
  if (!Machine::holds(m.device, std::uintptr_t(from), bytes)) return CUDA_ERROR_INVALID_VALUE;
  return m.add([=] {
    std::memcpy(to, reinterpret_cast<const void*>(from), bytes);
    return CUDA_SUCCESS;
  });
}
FAKE cuMemcpyDtoDAsync(CUdeviceptr to, CUdeviceptr from, std::size_t bytes, CUstream) {
  const Lock lock(mutex);
  Machine& m = machine();
  if (!is_current) return CUDA_ERROR_INVALID_CONTEXT;
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
  if (!is_current) return CUDA_ERROR_INVALID_CONTEXT;
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
  if (!is_current) return CUDA_ERROR_INVALID_CONTEXT;
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
  const char* const times = std::getenv("ESPALIER_FAKE_CUDA_TIMES");
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
  if (!is_current) return CUDA_ERROR_INVALID_CONTEXT;
  if (grid == 0 || block == 0 || block > 1024 || shared > called.shared_bytes)
    return CUDA_ERROR_INVALID_VALUE;
  if (cooperative && int(grid) > multiprocessors() * blocks_each(shared))
    return CUDA_ERROR_COOPERATIVE_LAUNCH_TOO_LARGE;
  void* const argument = *static_cast<void**>(arguments[0]);
  // As many launches from now on as it says until one fails.
  if (const char* const left = std::getenv("ESPALIER_FAKE_CUDA_FAILS_AFTER")) {
    const long count = std::strtol(left, nullptr, 10);
    setenv("ESPALIER_FAKE_CUDA_FAILS_AFTER", std::to_string(count - 1).c_str(), 1);
    if (count == 0) return machine().add([] { return CUDA_ERROR_ILLEGAL_ADDRESS; });
  }
  const char* const tile = std::getenv("ESPALIER_FAKE_TILE_TIME");
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

/// For the other libraries of this folder: work in the order of the stream, or of the graph that is
/// being captured. False if the device has failed.
extern "C" __attribute__((visibility("default"))) bool espalier_fake_enqueue(
    std::function<void()> work) {
  const Lock lock(mutex);
  if (!is_current) return false;
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
