# Compiles a hash of sources into a library. When included, this file defines
# espalier_fingerprint(). When run by `cmake -P` with OUTPUT, ROOT and FILES, it writes the C++
# source with the hash.
cmake_minimum_required(VERSION 3.25)

# espalier_fingerprint(<output> <target>...)
#
# Makes the C++ source <output>. It defines espalier::codegen::source_fingerprint(), a hash of the
# names and contents of all sources and headers of the targets. It is made again when one of them
# changes. tests/repo_test.cpp checks that targets list all of their files.
function(espalier_fingerprint output)
  foreach(target IN LISTS ARGN)
    get_target_property(folder ${target} SOURCE_DIR)
    get_target_property(listed ${target} SOURCES)
    foreach(file IN LISTS listed)
      cmake_path(ABSOLUTE_PATH file BASE_DIRECTORY "${folder}" NORMALIZE)
      # Generated files are left out.
      cmake_path(IS_PREFIX PROJECT_SOURCE_DIR "${file}" is_source)
      cmake_path(IS_PREFIX PROJECT_BINARY_DIR "${file}" is_made)
      if(is_source AND NOT is_made)
        list(APPEND sources "${file}")
      endif()
    endforeach()
  endforeach()
  foreach(file IN LISTS sources)
    cmake_path(RELATIVE_PATH file BASE_DIRECTORY "${PROJECT_SOURCE_DIR}" OUTPUT_VARIABLE name)
    list(APPEND names "${name}")
  endforeach()
  set(script "${CMAKE_CURRENT_FUNCTION_LIST_FILE}")
  add_custom_command(
    OUTPUT "${output}"
    COMMAND "${CMAKE_COMMAND}" -D "OUTPUT=${output}" -D "ROOT=${PROJECT_SOURCE_DIR}" -D
            "FILES=${names}" -P "${script}"
    DEPENDS ${sources} "${script}"
    COMMENT "Hashing the sources that kernels depend on"
    VERBATIM)
endfunction()

if(NOT CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  return()
endif()
list(SORT FILES)
foreach(file IN LISTS FILES)
  file(SHA256 "${ROOT}/${file}" hash)
  string(APPEND all "${hash} ${file}\n")
endforeach()
string(SHA256 fingerprint "${all}")
file(
  WRITE "${OUTPUT}"
  "#include \"codegen/fingerprint.h\"

namespace espalier::codegen {

std::string_view source_fingerprint() {
  return \"${fingerprint}\";
}

}  // namespace espalier::codegen
")
