# SPDX-License-Identifier: Apache-2.0
# Installs the library, its public headers, the command, the CMake package and the pkg-config file.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)
set(package_dir ${CMAKE_INSTALL_LIBDIR}/cmake/qwen3vl)

install(TARGETS qwen3vl EXPORT qwen3vlTargets FILE_SET HEADERS)
install(EXPORT qwen3vlTargets NAMESPACE qwen3vl:: DESTINATION ${package_dir})
if(TARGET qwen3vl_cli)
  file(RELATIVE_PATH bin_to_lib ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
  set_target_properties(qwen3vl_cli PROPERTIES INSTALL_RPATH "$ORIGIN/${bin_to_lib}")
  install(TARGETS qwen3vl_cli)
  install(DIRECTORY ${PROJECT_SOURCE_DIR}/models/demo DESTINATION ${CMAKE_INSTALL_DATADIR}/qwen3vl/models)
endif()

configure_package_config_file(${CMAKE_CURRENT_LIST_DIR}/qwen3vlConfig.cmake.in
  ${PROJECT_BINARY_DIR}/qwen3vlConfig.cmake INSTALL_DESTINATION ${package_dir})
write_basic_package_version_file(${PROJECT_BINARY_DIR}/qwen3vlConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/qwen3vlConfig.cmake ${PROJECT_BINARY_DIR}/qwen3vlConfigVersion.cmake
  ${CMAKE_CURRENT_LIST_DIR}/Findcpuinfo.cmake DESTINATION ${package_dir})

# For builds without CMake. A static library names what it was built with, as qwen3vlConfig.cmake does.
set(pc_dir ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
file(RELATIVE_PATH pc_to_prefix ${CMAKE_INSTALL_PREFIX}/${pc_dir} ${CMAKE_INSTALL_PREFIX})
string(REGEX REPLACE "/$" "" pc_to_prefix "${pc_to_prefix}")
if(NOT BUILD_SHARED_LIBS)
  set(pc_requires "libhwy libcpuinfo zlib libjpeg libpng libwebp libwebpdemux libutf8proc")
  set(pc_libs "-lgif ${OpenMP_CXX_FLAGS} ${CMAKE_THREAD_LIBS_INIT} -ldl -lstdc++ -lm")
endif()
configure_file(${CMAKE_CURRENT_LIST_DIR}/qwen3vl.pc.in ${PROJECT_BINARY_DIR}/qwen3vl.pc @ONLY)
install(FILES ${PROJECT_BINARY_DIR}/qwen3vl.pc DESTINATION ${pc_dir})

install(FILES ${PROJECT_SOURCE_DIR}/LICENSE ${PROJECT_SOURCE_DIR}/NOTICE DESTINATION ${CMAKE_INSTALL_DOCDIR})
