# Rules of `cmake --install`: the CMake package for find_package(espalier), headers, a .pc file, the
# command.
include_guard()
include(CMakePackageConfigHelpers)

get_property(libraries GLOBAL PROPERTY ESPALIER_LIBRARIES)

# espalier::espalier: all libraries that a program needs.
add_library(espalier_all INTERFACE)
add_library(espalier::espalier ALIAS espalier_all)
set_target_properties(espalier_all PROPERTIES EXPORT_NAME espalier)
target_link_libraries(espalier_all INTERFACE espalier::frontend espalier::runtime
                                             espalier::training espalier::data espalier::models)

# The headers that a program may include. They include only headers of this list (checked by
# tests/repo_test.cpp), so that passes, kernels and the internals of the engine can change without
# breaking programs.
set(ESPALIER_PUBLIC_HEADERS
    base/error.h
    data/dataset.h
    data/listops.h
    data/minibatches.h
    data/tree.h
    data/vocabulary.h
    frontend/cell.h
    frontend/fold.h
    frontend/model.h
    frontend/ops.h
    frontend/state.h
    frontend/tensor.h
    ir/graph.h
    ir/program.h
    ir/record/instances.h
    ir/text/print.h
    ir/type.h
    models/models.h
    models/tree_model.h
    runtime/engine.h
    runtime/step/optimizer.h
    runtime/step/options.h
    runtime/step/statistics.h
    training/checkpoint.h
    training/engine_task.h
    training/loop.h
    training/metrics.h
    training/optimizer.h
    training/progress.h
    training/safetensors.h)
foreach(header IN LISTS ESPALIER_PUBLIC_HEADERS)
  cmake_path(GET header PARENT_PATH folder)
  install(FILES "${PROJECT_SOURCE_DIR}/${header}"
          DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}/espalier/${folder}")
endforeach()

set(include_dir "${CMAKE_INSTALL_INCLUDEDIR}/espalier")
set(package_dir "${CMAKE_INSTALL_LIBDIR}/cmake/espalier")

install(
  TARGETS ${libraries} espalier_all
  EXPORT espalierTargets
  ARCHIVE DESTINATION "${CMAKE_INSTALL_LIBDIR}"
  INCLUDES DESTINATION "${include_dir}")
install(EXPORT espalierTargets NAMESPACE espalier:: DESTINATION "${package_dir}")
if(TARGET espalier)
  install(TARGETS espalier RUNTIME DESTINATION "${CMAKE_INSTALL_BINDIR}")
endif()

configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/cmake/espalierConfig.cmake.in" "${PROJECT_BINARY_DIR}/espalierConfig.cmake"
  INSTALL_DESTINATION "${package_dir}" NO_SET_AND_CHECK_MACRO NO_CHECK_REQUIRED_COMPONENTS_MACRO)
write_basic_package_version_file("${PROJECT_BINARY_DIR}/espalierConfigVersion.cmake"
                                 COMPATIBILITY SameMajorVersion)
install(FILES "${PROJECT_BINARY_DIR}/espalierConfig.cmake"
              "${PROJECT_BINARY_DIR}/espalierConfigVersion.cmake" DESTINATION "${package_dir}")

# espalier.pc, for builds without CMake. A linker needs each static archive after those that use it.
set(pc_libs "")
set(pc_definitions "")
if(ESPALIER_VERIFY)
  set(pc_definitions " -DESPALIER_VERIFY=1")
endif()
set(ordered ${libraries})
list(REVERSE ordered)
foreach(library IN LISTS ordered)
  get_target_property(type ${library} TYPE)
  if(type STREQUAL "STATIC_LIBRARY")
    string(APPEND pc_libs " -l${library}")
  endif()
endforeach()
configure_file("${PROJECT_SOURCE_DIR}/cmake/espalier.pc.in" "${PROJECT_BINARY_DIR}/espalier.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/espalier.pc" DESTINATION "${CMAKE_INSTALL_LIBDIR}/pkgconfig")
