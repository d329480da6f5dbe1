# Installs the build in BUILD_DIR, moves the result, builds the README's program against it with
# find_package and with pkg-config, and runs it. Called by ctest; see tests/CMakeLists.txt.
cmake_minimum_required(VERSION 3.25)
include("${CMAKE_CURRENT_LIST_DIR}/readme_program.cmake")

if(NOT EXISTS "${SOURCE_DIR}/README.md")
  message("[  SKIPPED ] there is no README.md yet")
  return()
endif()

function(run)
  list(JOIN ARGV " " command)
  message("> ${command}")
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE status)
  if(NOT status EQUAL 0)
    message(FATAL_ERROR "failed (${status}): ${command}")
  endif()
endfunction()

set(work "${BUILD_DIR}/package-test")
set(prefix "${work}/moved/prefix")
file(REMOVE_RECURSE "${work}")
run("${CMAKE_COMMAND}" --install "${BUILD_DIR}" --prefix "${work}/installed")
file(MAKE_DIRECTORY "${work}/moved")
file(RENAME "${work}/installed" "${prefix}")

# No installed file may mention the checkout, or the folder of the first installation.
file(GLOB_RECURSE texts "${prefix}/*.cmake" "${prefix}/*.pc" "${prefix}/*.h")
foreach(file IN LISTS texts)
  file(READ "${file}" text)
  foreach(place "${SOURCE_DIR}/" "${BUILD_DIR}/")
    string(FIND "${text}" "${place}" at)
    if(NOT at EQUAL -1)
      message(FATAL_ERROR "${file} mentions ${place}")
    endif()
  endforeach()
endforeach()

set(consumer "${work}/consumer")
file(COPY "${SOURCE_DIR}/tests/package/CMakeLists.txt" DESTINATION "${consumer}")
readme_program("${SOURCE_DIR}/README.md" "${consumer}/tree_lstm.cpp")
run("${CMAKE_COMMAND}" -S "${consumer}" -B "${consumer}/build" -G "${GENERATOR}"
    -D CMAKE_BUILD_TYPE=Release "-DCMAKE_PREFIX_PATH=${prefix}" "-DCMAKE_CXX_COMPILER=${COMPILER}"
    "-DCMAKE_CXX_COMPILER_LAUNCHER=${LAUNCHER}" "-DCMAKE_CXX_FLAGS=${FLAGS}")
run("${CMAKE_COMMAND}" --build "${consumer}/build")
execute_process(COMMAND "${consumer}/build/tree_lstm" OUTPUT_VARIABLE printed
                COMMAND_ERROR_IS_FATAL ANY)

# The program prints the output in the README, except for the losses: their last digits depend on
# the target.
file(READ "${SOURCE_DIR}/README.md" shown)
foreach(text IN ITEMS printed shown)
  string(REGEX MATCHALL "step +[0-9]+: loss [0-9.]+; [^\n]*" ${text} "${${text}}")
  string(REGEX REPLACE "loss [0-9.]+" "loss" ${text} "${${text}}")
endforeach()
if(NOT printed STREQUAL shown)
  message(FATAL_ERROR "the README's program prints\n${printed}\nand the README shows\n${shown}")
endif()

if(PKG_CONFIG)
  set(ENV{PKG_CONFIG_PATH} "${prefix}/${LIBDIR}/pkgconfig:$ENV{PKG_CONFIG_PATH}")
  execute_process(COMMAND "${PKG_CONFIG}" --cflags --libs espalier OUTPUT_VARIABLE flags
                  COMMAND_ERROR_IS_FATAL ANY)
  separate_arguments(flags UNIX_COMMAND "${flags}")
  separate_arguments(sanitize UNIX_COMMAND "${FLAGS}")
  run(${LAUNCHER} "${COMPILER}" -std=c++20 ${sanitize} -c "${consumer}/tree_lstm.cpp" ${flags} -o
      "${consumer}/by_pkg_config.o")
  run("${COMPILER}" ${sanitize} "${consumer}/by_pkg_config.o" ${flags} -o
      "${consumer}/by_pkg_config")
  run("${consumer}/by_pkg_config")
endif()
