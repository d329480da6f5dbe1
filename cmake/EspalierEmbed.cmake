# A text file, compiled into a library. Included, this gives espalier_embed(); run by `cmake -P` with
# OUTPUT, FILE, HEADER, NAMESPACE and FUNCTION, it writes the source that holds the text.
cmake_minimum_required(VERSION 3.25)

# espalier_embed(<output> <file> <header> <namespace> <function>)
#
# Makes the C++ source <output>, which defines `std::string_view espalier::<namespace>::<function>()`, declared
# in <header>, as the contents of <file>.
function(espalier_embed output file header namespace function)
  cmake_path(ABSOLUTE_PATH file BASE_DIRECTORY "${CMAKE_CURRENT_SOURCE_DIR}")
  set(script "${CMAKE_CURRENT_FUNCTION_LIST_FILE}")
  add_custom_command(
    OUTPUT "${output}"
    COMMAND "${CMAKE_COMMAND}" -D "OUTPUT=${output}" -D "FILE=${file}" -D "HEADER=${header}" -D
            "NAMESPACE=${namespace}" -D "FUNCTION=${function}" -P "${script}"
    DEPENDS "${file}" "${script}"
    COMMENT "Embedding a text"
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
