# Compiles a text file into a library. When included, this file defines espalier_embed(). When run
# by `cmake -P` with OUTPUT, FILE, HEADER, NAMESPACE and FUNCTION, it writes the C++ source with the
# text.
cmake_minimum_required(VERSION 3.25)

# espalier_embed(<output> <file> <header> <namespace> <function>)
#
# Makes the C++ source <output>. It defines the function
# `std::string_view espalier::<namespace>::<function>()`, which is declared in <header> and returns
# the contents of <file>.
function(espalier_embed output file header namespace function)
  cmake_path(ABSOLUTE_PATH file BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}")
  set(script "${CMAKE_CURRENT_FUNCTION_LIST_FILE}")
  add_custom_command(
    OUTPUT "${output}"
    COMMAND "${CMAKE_COMMAND}" -D "OUTPUT=${output}" -D "FILE=${file}" -D "HEADER=${header}" -D
            "NAMESPACE=${namespace}" -D "FUNCTION=${function}" -P "${script}"
    DEPENDS "${file}" "${script}"
    COMMENT "Embedding ${file}"
    VERBATIM)
endfunction()

if(NOT CMAKE_SCRIPT_MODE_FILE STREQUAL CMAKE_CURRENT_LIST_FILE)
  return()
endif()
file(READ "${FILE}" text)
file(
  WRITE "${OUTPUT}"
  "#include \"${HEADER}\"

std::string_view espalier::${NAMESPACE}::${FUNCTION}() {
  return R\"embedded(${text})embedded\";
}
")
