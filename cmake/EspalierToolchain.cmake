# Settings for all targets: the language standard, the build type, ccache, sanitizers.
include_guard()

set(CMAKE_CXX_STANDARD 20)
set(CMAKE_CXX_STANDARD_REQUIRED ON)
set(CMAKE_CXX_EXTENSIONS OFF)
set(CMAKE_POSITION_INDEPENDENT_CODE ON)

if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU" AND CMAKE_CXX_COMPILER_VERSION VERSION_LESS 12)
  message(FATAL_ERROR "Espalier needs g++ 12 or newer, found ${CMAKE_CXX_COMPILER_VERSION}")
endif()

get_property(multi_config GLOBAL PROPERTY GENERATOR_IS_MULTI_CONFIG)
if(NOT multi_config AND NOT CMAKE_BUILD_TYPE)
  set(CMAKE_BUILD_TYPE Release CACHE STRING "Build type" FORCE)
endif()

if(NOT DEFINED CMAKE_CXX_COMPILER_LAUNCHER)
  find_program(ESPALIER_CCACHE ccache)
  mark_as_advanced(ESPALIER_CCACHE)
  if(ESPALIER_CCACHE)
    set(CMAKE_CXX_COMPILER_LAUNCHER "${ESPALIER_CCACHE}")
  endif()
endif()

if(ESPALIER_SANITIZE)
  set(ESPALIER_SANITIZE_FLAGS "-fsanitize=${ESPALIER_SANITIZE}" -fno-sanitize-recover=all
                              -fno-omit-frame-pointer)
  # gcc gives false warnings about the sanitizers' instrumentation.
  add_compile_options(${ESPALIER_SANITIZE_FLAGS}
                      $<$<CXX_COMPILER_ID:GNU>:-Wno-maybe-uninitialized>)
  add_link_options(${ESPALIER_SANITIZE_FLAGS})
endif()
