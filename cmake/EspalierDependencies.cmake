# The packages that Espalier needs. `scripts/setup` installs the same list.
include_guard()

find_package(Threads REQUIRED)
find_package(fmt REQUIRED)
find_package(nlohmann_json REQUIRED)
find_package(CLI11 REQUIRED)
find_package(Boost 1.74 CONFIG REQUIRED) # headers only: Boost.Graph

# Debian and Ubuntu install each LLVM version into its own prefix, which find_package does not
# search.
find_program(ESPALIER_LLVM_CONFIG NAMES llvm-config-19 PATHS /usr/lib/llvm-19/bin)
mark_as_advanced(ESPALIER_LLVM_CONFIG)
set(ESPALIER_LLVM_HINTS /usr/lib/llvm-19/lib/cmake/llvm)
if(ESPALIER_LLVM_CONFIG)
  execute_process(COMMAND "${ESPALIER_LLVM_CONFIG}" --cmakedir OUTPUT_VARIABLE llvm_cmakedir
                  OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET)
  list(PREPEND ESPALIER_LLVM_HINTS "${llvm_cmakedir}")
endif()
find_package(LLVM 19.1 CONFIG QUIET HINTS ${ESPALIER_LLVM_HINTS})
if(NOT LLVM_FOUND)
  message(FATAL_ERROR "LLVM 19.1 not found: run scripts/setup, which installs llvm-19-dev, or set LLVM_DIR")
elseif(NOT TARGET LLVM)
  message(FATAL_ERROR "the LLVM in ${LLVM_DIR} has no shared library, which Espalier links")
elseif(NOT LLVM_ENABLE_RTTI)
  message(FATAL_ERROR "the LLVM in ${LLVM_DIR} was built without RTTI; Debian's llvm-19-dev has RTTI")
endif()
message(STATUS "LLVM ${LLVM_PACKAGE_VERSION} in ${LLVM_DIR}")
set(ESPALIER_LLVM LLVM)
if(ESPALIER_STATIC_LLVM)
  llvm_map_components_to_libnames(ESPALIER_LLVM native orcjit)
endif()

find_package(CUDAToolkit QUIET)
if(CUDAToolkit_FOUND)
  message(STATUS "CUDA toolkit ${CUDAToolkit_VERSION} in ${CUDAToolkit_INCLUDE_DIRS}")
else()
  message(STATUS "CUDA toolkit not found: building without GPU support")
endif()

if(ESPALIER_BUILD_TESTS)
  find_package(GTest REQUIRED)
endif()
