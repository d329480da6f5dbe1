// The CUDA driver's API, loaded at run time: a table of its functions, errors that name the call,
// owners of its handles, and a device with a stream. Needs a driver of CUDA 12 or newer. Made by
// the CUDA executor; includes cuda.h, so only headers of this folder that are not public include
// it.
#pragma once

#include <cuda.h>

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "runtime/cuda/devices.h"

namespace espalier::runtime {

/// A shared library, opened under the first of several names that exists; empty if none does.
class SharedLibrary {
 public:
  SharedLibrary() = default;
  explicit SharedLibrary(std::vector<std::string> names);

  explicit operator bool() const { return handle_ != nullptr; }
  /// The name under which it was opened.
  const std::string& name() const { return name_; }
  /// Null if the library has no such function.
  template <class Function>
  Function find(const char* function) const {
    return reinterpret_cast<Function>(symbol(function));
  }

 private:
  struct Close {
    void operator()(void* handle) const;
  };
  void* symbol(const char* name) const;

  std::unique_ptr<void, Close> handle_;
  std::string name_;
};

struct CudaFunctions {
  decltype(&::cuInit) init = nullptr;
  decltype(&::cuDriverGetVersion) driver_version = nullptr;
  decltype(&::cuGetErrorName) error_name = nullptr;
  decltype(&::cuGetErrorString) error_string = nullptr;
  decltype(&::cuDeviceGetCount) device_count = nullptr;
  decltype(&::cuDeviceGet) device_get = nullptr;
  decltype(&::cuDeviceGetName) device_name = nullptr;
  decltype(&::cuDeviceTotalMem_v2) device_memory = nullptr;
  decltype(&::cuDeviceGetAttribute) device_attribute = nullptr;
  decltype(&::cuDevicePrimaryCtxRetain) context_retain = nullptr;
  decltype(&::cuDevicePrimaryCtxRelease_v2) context_release = nullptr;
  decltype(&::cuCtxSetCurrent) context_set_current = nullptr;
  decltype(&::cuModuleLoadData) module_load = nullptr;
  decltype(&::cuModuleUnload) module_unload = nullptr;
  decltype(&::cuModuleGetFunction) module_function = nullptr;
  decltype(&::cuFuncSetAttribute) function_set_attribute = nullptr;
  decltype(&::cuOccupancyMaxActiveBlocksPerMultiprocessor) occupancy = nullptr;
  decltype(&::cuMemGetInfo_v2) memory_info = nullptr;
  decltype(&::cuMemAlloc_v2) memory_allocate = nullptr;
  decltype(&::cuMemFree_v2) memory_free = nullptr;
  decltype(&::cuMemHostAlloc) pinned_allocate = nullptr;
  decltype(&::cuMemFreeHost) pinned_free = nullptr;
  decltype(&::cuMemcpyHtoDAsync_v2) copy_up = nullptr;
  decltype(&::cuMemcpyDtoHAsync_v2) copy_down = nullptr;
  decltype(&::cuMemcpyDtoDAsync_v2) copy_within = nullptr;
  decltype(&::cuMemsetD32Async) fill = nullptr;
  decltype(&::cuStreamCreate) stream_create = nullptr;
  decltype(&::cuStreamDestroy_v2) stream_destroy = nullptr;
  decltype(&::cuStreamSynchronize) stream_synchronize = nullptr;
  decltype(&::cuEventCreate) event_create = nullptr;
  decltype(&::cuEventDestroy_v2) event_destroy = nullptr;
  decltype(&::cuEventRecord) event_record = nullptr;
  decltype(&::cuEventSynchronize) event_synchronize = nullptr;
  decltype(&::cuEventElapsedTime) event_elapsed = nullptr;
  decltype(&::cuLaunchKernel) launch = nullptr;
  decltype(&::cuLaunchCooperativeKernel) launch_cooperative = nullptr;
  decltype(&::cuStreamBeginCapture_v2) capture_begin = nullptr;
  decltype(&::cuStreamEndCapture) capture_end = nullptr;
  decltype(&::cuGraphInstantiateWithFlags) graph_instantiate = nullptr;
  decltype(&::cuGraphDestroy) graph_destroy = nullptr;
  decltype(&::cuGraphExecDestroy) graph_exec_destroy = nullptr;
  decltype(&::cuGraphLaunch) graph_launch = nullptr;
};

/// The loaded driver. Except for those that look for devices, its functions need a current context.
class CudaDriver {
 public:
  /// UserError if there is no driver or it does not start.
  CudaDriver();

  const CudaFunctions& functions() const { return functions_; }
  /// For example `13.0`.
  std::string version() const;
  std::vector<CudaGpu> gpus() const;

  /// Throws unless the call succeeded: UserError if memory ran out, otherwise InternalError. Both
  /// name the call and `what` it was for.
  void check(CUresult result, std::string_view call, std::string_view what = {}) const;

 private:
  SharedLibrary library_;
  CudaFunctions functions_;
};

/// A handle of the driver, released by one of its functions.
template <class Handle>
class CudaOwner {
 public:
  using Release = CUresult (*)(Handle);
  CudaOwner() = default;
  CudaOwner(Handle handle, Release release) : handle_(handle), release_(release) {}
  CudaOwner(CudaOwner&& other) noexcept
      : handle_(std::exchange(other.handle_, {})), release_(other.release_) {}
  CudaOwner& operator=(CudaOwner&& other) noexcept {
    std::swap(handle_, other.handle_);
    std::swap(release_, other.release_);
    return *this;
  }
  ~CudaOwner() {
    if (handle_) release_(handle_);  // unchecked: at exit the driver may have shut down already
  }
  Handle get() const { return handle_; }
  explicit operator bool() const { return bool(handle_); }

 private:
  Handle handle_{};
  Release release_ = nullptr;
};

/// A GPU with its primary context and one stream, on which everything runs in order.
class CudaDevice {
 public:
  /// UserError if there is no such GPU.
  explicit CudaDevice(int ordinal);
  ~CudaDevice();
  CudaDevice(const CudaDevice&) = delete;
  CudaDevice& operator=(const CudaDevice&) = delete;

  const CudaDriver& driver() const { return driver_; }
  const CudaGpu& gpu() const { return gpu_; }
  CUstream stream() const { return stream_.get(); }
  CUcontext context() const { return context_; }
  /// Makes the context current for the calling thread. Required before all calls below and before
  /// those of the driver.
  void use() const;
  /// Waits for everything on the stream. Errors name `what`.
  void wait(std::string_view what) const;

  CudaOwner<CUdeviceptr> allocate(std::size_t bytes, std::string_view what) const;
  CudaOwner<void*> allocate_pinned(std::size_t bytes) const;
  CudaOwner<CUmodule> load(const std::string& cubin, std::string_view kernel) const;
  CUfunction function(CUmodule module, const std::string& symbol, std::string_view kernel) const;
  /// The launches of `work` as a graph. They are recorded, not run.
  CudaOwner<CUgraphExec> capture(const std::function<void()>& work) const;
  /// Seconds that the launches of `work` take on the device. InternalError, naming `what`, if the
  /// GPU's clock gives no plausible time.
  double seconds(const std::function<void()>& work, std::string_view what) const;
  std::int64_t free_bytes() const;  ///< of the device's memory

 private:
  CudaDriver driver_;
  CudaGpu gpu_;
  CUdevice device_ = 0;
  CUcontext context_ = nullptr;
  CudaOwner<CUstream> stream_;
};

}  // namespace espalier::runtime
