#include "runtime/cuda/driver.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <cmath>

#include "base/error.h"

namespace espalier::runtime {

SharedLibrary::SharedLibrary(std::vector<std::string> names) {
  for (std::string& name : names) {
    // Never unloaded: these libraries hold memory for the whole process.
    handle_.reset(::dlopen(name.c_str(), RTLD_NOW | RTLD_LOCAL | RTLD_NODELETE));
    if (!handle_) continue;
    name_ = std::move(name);
    return;
  }
}

void SharedLibrary::Close::operator()(void* handle) const { ::dlclose(handle); }

void* SharedLibrary::symbol(const char* name) const {
  return handle_ ? ::dlsym(handle_.get(), name) : nullptr;
}

CudaDriver::CudaDriver() : library_({"libcuda.so.1"}) {
  user_check(bool(library_), "found no CUDA driver (libcuda.so.1)");
  const auto find = [&]<class Function>(Function& function, const char* name) {
    function = library_.find<Function>(name);
    user_check(function != nullptr,
               "the CUDA driver lacks {}: expected a driver of CUDA 12 or newer", name);
  };
  CudaFunctions& f = functions_;
  find(f.init, "cuInit");
  find(f.driver_version, "cuDriverGetVersion");
  find(f.error_name, "cuGetErrorName");
  find(f.error_string, "cuGetErrorString");
  find(f.device_count, "cuDeviceGetCount");
  find(f.device_get, "cuDeviceGet");
  find(f.device_name, "cuDeviceGetName");
  find(f.device_memory, "cuDeviceTotalMem_v2");
  find(f.device_attribute, "cuDeviceGetAttribute");
  find(f.context_retain, "cuDevicePrimaryCtxRetain");
  find(f.context_release, "cuDevicePrimaryCtxRelease_v2");
  find(f.context_set_current, "cuCtxSetCurrent");
  find(f.module_load, "cuModuleLoadData");
  find(f.module_unload, "cuModuleUnload");
  find(f.module_function, "cuModuleGetFunction");
  find(f.function_set_attribute, "cuFuncSetAttribute");
  find(f.occupancy, "cuOccupancyMaxActiveBlocksPerMultiprocessor");
  find(f.memory_info, "cuMemGetInfo_v2");
  find(f.memory_allocate, "cuMemAlloc_v2");
  find(f.memory_free, "cuMemFree_v2");
  find(f.pinned_allocate, "cuMemHostAlloc");
  find(f.pinned_free, "cuMemFreeHost");
  find(f.copy_up, "cuMemcpyHtoDAsync_v2");
  find(f.copy_down, "cuMemcpyDtoHAsync_v2");
  find(f.copy_within, "cuMemcpyDtoDAsync_v2");
  find(f.fill, "cuMemsetD32Async");
  find(f.stream_create, "cuStreamCreate");
  find(f.stream_destroy, "cuStreamDestroy_v2");
  find(f.stream_synchronize, "cuStreamSynchronize");
  find(f.event_create, "cuEventCreate");
  find(f.event_destroy, "cuEventDestroy_v2");
  find(f.event_record, "cuEventRecord");
  find(f.event_synchronize, "cuEventSynchronize");
  find(f.event_elapsed, "cuEventElapsedTime");
  find(f.launch, "cuLaunchKernel");
  find(f.launch_cooperative, "cuLaunchCooperativeKernel");
  find(f.capture_begin, "cuStreamBeginCapture_v2");
  find(f.capture_end, "cuStreamEndCapture");
  find(f.graph_instantiate, "cuGraphInstantiateWithFlags");
  find(f.graph_destroy, "cuGraphDestroy");
  find(f.graph_exec_destroy, "cuGraphExecDestroy");
  find(f.graph_launch, "cuGraphLaunch");
  const CUresult started = f.init(0);
  const char* name = nullptr;
  if (started != CUDA_SUCCESS) f.error_name(started, &name);
  user_check(started == CUDA_SUCCESS, "the CUDA driver does not start: {}",
             name ? name : fmt::format("error {}", int(started)));
}

std::string CudaDriver::version() const {
  int version = 0;
  check(functions_.driver_version(&version), "cuDriverGetVersion");
  return fmt::format("{}.{}", version / 1000, version % 1000 / 10);
}

std::vector<CudaGpu> CudaDriver::gpus() const {
  int count = 0;
  check(functions_.device_count(&count), "cuDeviceGetCount");
  std::vector<CudaGpu> gpus;
  for (int i = 0; i < count; ++i) {
    CUdevice device = 0;
    check(functions_.device_get(&device, i), "cuDeviceGet");
    char name[256] = {};
    check(functions_.device_name(name, sizeof name, device), "cuDeviceGetName");
    std::size_t bytes = 0;
    check(functions_.device_memory(&bytes, device), "cuDeviceTotalMem");
    const auto attribute = [&](CUdevice_attribute which) {
      int value = 0;
      check(functions_.device_attribute(&value, which, device), "cuDeviceGetAttribute");
      return value;
    };
    gpus.push_back(
        {.name = name,
         .bytes = std::int64_t(bytes),
         .major = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR),
         .minor = attribute(CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR),
         .multiprocessors = attribute(CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT),
         .shared_bytes = attribute(CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN),
         .cooperative = attribute(CU_DEVICE_ATTRIBUTE_COOPERATIVE_LAUNCH) != 0});
  }
  return gpus;
}

void CudaDriver::check(CUresult result, std::string_view call, std::string_view what) const {
  if (result == CUDA_SUCCESS) return;
  const char *name = nullptr, *text = nullptr;
  functions_.error_name(result, &name);
  functions_.error_string(result, &text);
  const std::string message =
      fmt::format("{} failed{}{}: {} ({})", call, what.empty() ? "" : " for ", what,
                  name ? name : "unknown error", text ? text : fmt::format("{}", int(result)));
  user_check(result != CUDA_ERROR_OUT_OF_MEMORY, "{}", message);
  throw InternalError(message);
}

CudaDevice::CudaDevice(int ordinal) {
  const std::vector<CudaGpu> gpus = driver_.gpus();
  user_check(ordinal >= 0 && ordinal < int(gpus.size()), "there is no GPU {}: found {}", ordinal,
             gpus.size());
  gpu_ = gpus[std::size_t(ordinal)];
  const CudaFunctions& f = driver_.functions();
  driver_.check(f.device_get(&device_, ordinal), "cuDeviceGet");
  // The primary context, because cuBLAS uses it as well.
  CUcontext context = nullptr;
  driver_.check(f.context_retain(&context, device_), "cuDevicePrimaryCtxRetain");
  context_ = context;
  try {
    use();
    CUstream stream = nullptr;
    driver_.check(f.stream_create(&stream, CU_STREAM_NON_BLOCKING), "cuStreamCreate");
    stream_ = {stream, f.stream_destroy};
  } catch (...) {
    f.context_release(device_);
    throw;
  }
}

CudaDevice::~CudaDevice() {
  const CudaFunctions& f = driver_.functions();
  f.context_set_current(context_);
  stream_ = {};
  f.context_release(device_);
}

void CudaDevice::use() const {
  driver_.check(driver_.functions().context_set_current(context_), "cuCtxSetCurrent");
}

void CudaDevice::wait(std::string_view what) const {
  driver_.check(driver_.functions().stream_synchronize(stream_.get()), "cuStreamSynchronize", what);
}

CudaOwner<CUdeviceptr> CudaDevice::allocate(std::size_t bytes, std::string_view what) const {
  CUdeviceptr address = 0;
  const CUresult result = driver_.functions().memory_allocate(&address, bytes);
  const auto mib = [](std::int64_t n) { return double(n) / (1 << 20); };
  user_check(result != CUDA_ERROR_OUT_OF_MEMORY,
             "out of memory on the GPU: {} needs {:.2f} MiB more, but {:.2f} MiB are free", what,
             mib(std::int64_t(bytes)), mib(free_bytes()));
  driver_.check(result, "cuMemAlloc", what);
  return {address, driver_.functions().memory_free};
}

CudaOwner<void*> CudaDevice::allocate_pinned(std::size_t bytes) const {
  void* address = nullptr;
  driver_.check(driver_.functions().pinned_allocate(&address, bytes, 0), "cuMemHostAlloc",
                fmt::format("{} bytes", bytes));
  return {address, driver_.functions().pinned_free};
}

CudaOwner<CUmodule> CudaDevice::load(const std::string& cubin, std::string_view kernel) const {
  CUmodule module = nullptr;
  driver_.check(driver_.functions().module_load(&module, cubin.data()), "cuModuleLoadData",
                fmt::format("kernel '{}'", kernel));
  return {module, driver_.functions().module_unload};
}

CUfunction CudaDevice::function(CUmodule module, const std::string& symbol,
                                std::string_view kernel) const {
  CUfunction function = nullptr;
  driver_.check(driver_.functions().module_function(&function, module, symbol.c_str()),
                "cuModuleGetFunction", fmt::format("{} of kernel '{}'", symbol, kernel));
  return function;
}

CudaOwner<CUgraphExec> CudaDevice::capture(const std::function<void()>& work) const {
  const CudaFunctions& f = driver_.functions();
  driver_.check(f.capture_begin(stream_.get(), CU_STREAM_CAPTURE_MODE_THREAD_LOCAL),
                "cuStreamBeginCapture");
  CUgraph captured = nullptr;
  try {
    work();
  } catch (...) {  // end the capture before the stream is used again
    if (f.capture_end(stream_.get(), &captured) == CUDA_SUCCESS && captured)
      f.graph_destroy(captured);
    throw;
  }
  driver_.check(f.capture_end(stream_.get(), &captured), "cuStreamEndCapture");
  const CudaOwner<CUgraph> graph(captured, f.graph_destroy);
  CUgraphExec exec = nullptr;
  driver_.check(f.graph_instantiate(&exec, captured, 0), "cuGraphInstantiate");
  return {exec, f.graph_exec_destroy};
}

double CudaDevice::seconds(const std::function<void()>& work, std::string_view what) const {
  const CudaFunctions& f = driver_.functions();
  CudaOwner<CUevent> events[2];
  for (CudaOwner<CUevent>& owner : events) {
    CUevent event = nullptr;
    driver_.check(f.event_create(&event, CU_EVENT_DEFAULT), "cuEventCreate", what);
    owner = {event, f.event_destroy};
  }
  driver_.check(f.event_record(events[0].get(), stream_.get()), "cuEventRecord", what);
  work();
  driver_.check(f.event_record(events[1].get(), stream_.get()), "cuEventRecord", what);
  driver_.check(f.event_synchronize(events[1].get()), "cuEventSynchronize", what);
  float milliseconds = 0;
  driver_.check(f.event_elapsed(&milliseconds, events[0].get(), events[1].get()),
                "cuEventElapsedTime", what);
  internal_check(milliseconds > 0 && std::isfinite(milliseconds),
                 "the GPU's clock is wrong: found {} ms for {}", milliseconds, what);
  return milliseconds * 1e-3;
}

std::int64_t CudaDevice::free_bytes() const {
  std::size_t free = 0, total = 0;
  driver_.check(driver_.functions().memory_info(&free, &total), "cuMemGetInfo");
  return std::int64_t(free);
}

}  // namespace espalier::runtime
