# Functions for the kinds of target: the library of a folder, an executable, a library for tests,
# the tests of a folder. Sources are listed, never globbed; tests/repo_test.cpp fails on a .cpp that
# no CMakeLists.txt lists.
include_guard()

# Flags for Espalier's own code. They are private, so programs that link Espalier do not get them.
function(espalier_target_defaults target)
  target_compile_options(
    ${target}
    PRIVATE -Wall
            -Wextra
            -Werror=switch
            $<$<BOOL:${ESPALIER_WERROR}>:-Werror>
            $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict> # false positives in gcc 12
            $<$<CXX_COMPILER_ID:GNU>:-Wno-dangling-reference> # false positives in gcc 13
            -fno-math-errno # so that sqrt becomes an instruction
            -ffp-contract=off) # fma only where the source has one: results must not depend on the compiler
  if(ESPALIER_VERIFY)
    target_compile_definitions(${target} PRIVATE _GLIBCXX_ASSERTIONS)
  endif()
endfunction()

# espalier_library(<folder> SOURCES a.cpp... HEADERS a.h... LINKS public... PRIVATE_LINKS private...
#                  PRIVATE_INCLUDES <include folders of a dependency that has no targets>...)
#
# Makes the library of a folder, named by its path from the root: for codegen/cpu that is
# espalier_codegen_cpu, with the alias espalier::codegen_cpu. EspalierInstall.cmake decides which
# HEADERS are installed. Wrap a private link to a header-only library in $<BUILD_INTERFACE:...>, so
# that users of the installed package do not need that library.
function(espalier_library folder)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;HEADERS;LINKS;PRIVATE_LINKS;PRIVATE_INCLUDES")
  if(arg_UNPARSED_ARGUMENTS)
    message(FATAL_ERROR "espalier_library(${folder}): unexpected ${arg_UNPARSED_ARGUMENTS}")
  endif()
  string(REPLACE "/" "_" name "${folder}")
  set(target espalier_${name})
  add_library(${target} STATIC ${arg_SOURCES} ${arg_HEADERS})
  add_library(espalier::${name} ALIAS ${target})
  espalier_target_defaults(${target})
  target_include_directories(${target} PUBLIC $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}>)
  target_include_directories(${target} SYSTEM PRIVATE ${arg_PRIVATE_INCLUDES})
  target_link_libraries(${target} PUBLIC ${arg_LINKS} PRIVATE ${arg_PRIVATE_LINKS})
  target_compile_features(${target} PUBLIC cxx_std_20)
  # Public, because code in headers depends on it too.
  target_compile_definitions(${target} PUBLIC $<$<BOOL:${ESPALIER_VERIFY}>:ESPALIER_VERIFY=1>)
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  set_property(GLOBAL APPEND PROPERTY ESPALIER_LIBRARIES ${target})
endfunction()

# espalier_executable(<name> SOURCES a.cpp... LINKS ...)   does nothing without sources
function(espalier_executable name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LINKS")
  if(NOT arg_SOURCES)
    return()
  endif()
  add_executable(${name} ${arg_SOURCES})
  espalier_target_defaults(${name})
  target_include_directories(${name} PRIVATE "${PROJECT_SOURCE_DIR}")
  target_link_libraries(${name} PRIVATE ${arg_LINKS})
endfunction()

# espalier_test_support(<name> SOURCES support/a.cpp... LINKS ...)
#
# Makes a library for tests only, which is never installed.
function(espalier_test_support name)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "" "SOURCES;LINKS")
  if(arg_SOURCES)
    set(scope PUBLIC)
    add_library(${name} STATIC ${arg_SOURCES})
    espalier_target_defaults(${name})
  else()
    set(scope INTERFACE)
    add_library(${name} INTERFACE)
  endif()
  target_include_directories(${name} ${scope} "${PROJECT_SOURCE_DIR}")
  target_compile_definitions(${name} ${scope} "ESPALIER_SOURCE_DIR=\"${PROJECT_SOURCE_DIR}\"")
  target_link_libraries(${name} ${scope} ${arg_LINKS} GTest::gtest)
endfunction()

# Seconds after which a test is ended. Only a hanging test takes that long, even on a loaded
# machine.
set(ESPALIER_TEST_TIMEOUT 3600)

# espalier_test(<folder> SOURCES a_test.cpp... LINKS ... DEFINITIONS ... LIBRARIES folder)
#
# Makes the executable <folder>_tests. Each of its tests is a test of ctest, with a label:
#   <folder>-long    a pattern in ESPALIER_LONG_TESTS matches the test
#   <folder>         a pattern in ESPALIER_SLOW_TESTS matches
#   <folder>-quick   neither matches
# `ctest -L` takes a regular expression: `-L ir` runs all tests of ir, `-L quick` the quick tests of
# all folders. The folder LIBRARIES is the first in which libraries loaded at run time are searched.
# Does nothing without sources.
function(espalier_test folder)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "LIBRARIES" "SOURCES;LINKS;DEFINITIONS")
  if(NOT arg_SOURCES)
    return()
  endif()
  set(target ${folder}_tests)
  add_executable(${target} ${arg_SOURCES})
  espalier_target_defaults(${target})
  target_link_libraries(${target} PRIVATE ${arg_LINKS} espalier_test_support GTest::gtest_main)
  target_compile_definitions(${target} PRIVATE ${arg_DEFINITIONS})
  set(libraries "")
  if(arg_LIBRARIES)
    set(libraries ENVIRONMENT_MODIFICATION "LD_LIBRARY_PATH=path_list_prepend:${arg_LIBRARIES}")
  endif()
  list(JOIN ESPALIER_LONG_TESTS ":" long)
  list(JOIN ESPALIER_SLOW_TESTS ":" slow)
  foreach(filter IN ITEMS "-${long}:${slow}" "${slow}:-${long}" "${long}")
    if(filter STREQUAL long)
      set(label ${folder}-long)
    elseif(filter MATCHES "^-")
      set(label ${folder}-quick)
    else()
      set(label ${folder})
    endif()
    # Tests use a kernel cache in the build folder, never the user's.
    gtest_discover_tests(
      ${target}
      TEST_FILTER "${filter}"
      DISCOVERY_MODE PRE_TEST
      DISCOVERY_TIMEOUT 600
      PROPERTIES LABELS ${label} TIMEOUT ${ESPALIER_TEST_TIMEOUT} ENVIRONMENT
                 "XDG_CACHE_HOME=${PROJECT_BINARY_DIR}/test-cache" ${libraries})
  endforeach()
endfunction()

# espalier_label_test(<test> <folder>)
#
# Sets the label, as above, and the time limit of a test that was added with add_test.
function(espalier_label_test name folder)
  if(name IN_LIST ESPALIER_LONG_TESTS)
    set(label ${folder}-long)
  elseif(name IN_LIST ESPALIER_SLOW_TESTS)
    set(label ${folder})
  else()
    set(label ${folder}-quick)
  endif()
  set_tests_properties(${name} PROPERTIES TIMEOUT ${ESPALIER_TEST_TIMEOUT} LABELS ${label})
endfunction()
