# The fingerprint depends on the contents and names of the sources and on nothing else, and that of
# this build covers all files of ir/, ir/passes/ and codegen/. Called by ctest with SOURCE_DIR and
# BUILD_DIR; see tests/CMakeLists.txt.
cmake_minimum_required(VERSION 3.25)

set(work "${BUILD_DIR}/fingerprint-test")
file(REMOVE_RECURSE "${work}")

# Hashes files of a folder, named in this order.
function(fingerprint result root)
  execute_process(
    COMMAND "${CMAKE_COMMAND}" -D "OUTPUT=${work}/out.cpp" -D "ROOT=${root}" -D "FILES=${ARGN}" -P
            "${SOURCE_DIR}/cmake/EspalierFingerprint.cmake" COMMAND_ERROR_IS_FATAL ANY)
  file(READ "${work}/out.cpp" text)
  string(REGEX MATCH "[0-9a-f]+\";" hash "${text}")
  string(LENGTH "${hash}" length)
  if(NOT length EQUAL 66)
    message(FATAL_ERROR "found no SHA-256 in ${text}")
  endif()
  set(${result} "${text}" PARENT_SCOPE)
endfunction()

function(expect_equal is a b what)
  string(COMPARE EQUAL "${a}" "${b}" found)
  if(is AND NOT found OR found AND NOT is)
    message(FATAL_ERROR "${what}: equal ${found}, expected ${is}\n${a}\n${b}")
  endif()
endfunction()

foreach(folder IN ITEMS here there)
  file(WRITE "${work}/${folder}/x.cpp" "x")
  file(WRITE "${work}/${folder}/y.h" "y")
endforeach()
fingerprint(before "${work}/here" x.cpp y.h)
fingerprint(after "${work}/there" y.h x.cpp)
expect_equal(TRUE "${before}" "${after}" "another place and order")
fingerprint(after "${work}/here" x.cpp)
expect_equal(FALSE "${before}" "${after}" "a file less")
file(APPEND "${work}/here/y.h" "\n")
fingerprint(after "${work}/here" x.cpp y.h)
expect_equal(FALSE "${before}" "${after}" "a byte more")
file(WRITE "${work}/here/y.h" "y")
fingerprint(after "${work}/here" x.cpp y.h)
expect_equal(TRUE "${before}" "${after}" "the original contents again")
file(WRITE "${work}/here/x.cpp" "y")
file(WRITE "${work}/here/y.h" "x")
fingerprint(after "${work}/here" x.cpp y.h)
expect_equal(FALSE "${before}" "${after}" "contents exchanged")

foreach(folder IN ITEMS ir ir/passes codegen codegen/kernel codegen/cpu codegen/cuda)
  file(GLOB files RELATIVE "${SOURCE_DIR}" "${SOURCE_DIR}/${folder}/*.cpp" "${SOURCE_DIR}/${folder}/*.h"
       "${SOURCE_DIR}/${folder}/*.cuh")
  list(APPEND all ${files})
endforeach()
fingerprint(of_sources "${SOURCE_DIR}" ${all})
file(READ "${BUILD_DIR}/codegen/fingerprint.cpp" of_build)
expect_equal(TRUE "${of_sources}" "${of_build}" "this build and all files of ir/, ir/passes/ and codegen/")
