# The three kinds of target: a folder's library, an executable, a test executable. Sources are
# listed, never globbed; tests/repo_test fails on a .cpp that no CMakeLists.txt lists.
include_guard()

# Flags of our own code: nothing here reaches a consumer.
function(espalier_target_defaults target)
  target_compile_options(
    ${target}
    PRIVATE -Wall
            -Wextra
            -Werror=switch
            $<$<BOOL:${ESPALIER_WERROR}>:-Werror>
            $<$<CXX_COMPILER_ID:GNU>:-Wno-restrict> # false positives in gcc 12
            $<$<CXX_COMPILER_ID:GNU>:-Wno-dangling-reference> # false positives in gcc 13
            -fno-math-errno # sqrt and friends may become instructions
            -ffp-contract=off) # fma only where the source says so: results do not depend on the compiler
  if(ESPALIER_VERIFY)
    target_compile_definitions(${target} PRIVATE _GLIBCXX_ASSERTIONS)
  endif()
endfunction()

# espalier_library(<folder> SOURCES a.cpp... HEADERS a.h... LINKS public... PRIVATE_LINKS private...
#                  PRIVATE_INCLUDES <folders of a dependency without targets of its own>...)
#
# Makes the library of a folder, named by its path from the root: for codegen/cpu that is
# espalier_codegen_cpu, with the alias espalier::codegen_cpu. Which HEADERS are installed is decided in
# EspalierInstall.cmake. A private link that is only headers goes into $<BUILD_INTERFACE:...>, so that
# consumers of the installed package do not need it.
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
  # Part of the interface: code in headers must agree with the library about it.
  target_compile_definitions(${target} PUBLIC $<$<BOOL:${ESPALIER_VERIFY}>:ESPALIER_VERIFY=1>)
  set_target_properties(${target} PROPERTIES EXPORT_NAME ${name})
  set_property(GLOBAL APPEND PROPERTY ESPALIER_LIBRARIES ${target})
endfunction()

# espalier_executable(<name> SOURCES a.cpp... LINKS ...)   skipped while it has no sources
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
# A library for test executables only, never installed.
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

# Seconds after which a test hangs: no machine is loaded so much that one takes as long.
set(ESPALIER_TEST_TIMEOUT 3600)

# espalier_test(<folder> SOURCES a_test.cpp... LINKS ... DEFINITIONS ... LIBRARIES folder)
#
# Makes the executable <folder>_tests. ctest knows its tests one by one, each with a label:
#   <folder>-long    a pattern in ESPALIER_LONG_TESTS matches
#   <folder>         one in ESPALIER_SLOW_TESTS matches
#   <folder>-quick   neither
# `ctest -L` takes a regular expression, so `-L ir` runs all of ir and `-L quick` what is quick anywhere.
# Libraries that are loaded at run time are looked for in the folder LIBRARIES first. Skipped while
# it has no sources.
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
    # The kernel cache of tests is the build's own: no test reads or fills the user's.
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
# Labels and time limit, as above, of a test that is a command of its own.
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
