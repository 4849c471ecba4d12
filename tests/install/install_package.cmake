# SPDX-License-Identifier: Apache-2.0
# Installs this build into a fresh prefix and builds examples/ against it as a stranger's project would: with CMake, and
# the C program and that of README.md by what pkg-config says.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)
file(REMOVE_RECURSE ${WORK_DIR})
run(${CMAKE_COMMAND} --install ${BUILD_DIR} --prefix ${WORK_DIR}/prefix)
configure_and_build(${SOURCE_DIR}/examples -D CMAKE_PREFIX_PATH=${WORK_DIR}/prefix
  -D CMAKE_PROJECT_INCLUDE=${CMAKE_CURRENT_LIST_DIR}/same_libraries.cmake)
run_examples(${WORK_DIR}/build)

file(GLOB_RECURSE pc ${WORK_DIR}/prefix/*/qwen3vl.pc)
get_filename_component(pc_dir "${pc}" DIRECTORY)
set(ENV{PKG_CONFIG_PATH} "${pc_dir}:$ENV{PKG_CONFIG_PATH}")
run(pkg-config --cflags --libs qwen3vl)
set(pkg_config "${output}")
separate_arguments(flags UNIX_COMMAND "${C_FLAGS} ${pkg_config}")
file(REMOVE ${WORK_DIR}/build/describe_image_c)
run(${C_COMPILER} ${SOURCE_DIR}/examples/describe_image.c ${flags} -o ${WORK_DIR}/build/describe_image_c)
run_examples(${WORK_DIR}/build)

# The program that README.md shows, on the demo model.
file(READ ${SOURCE_DIR}/README.md readme)
string(REGEX MATCH "```cpp\n([^`]*)```" found "${readme}")
file(WRITE ${WORK_DIR}/readme.cc "${CMAKE_MATCH_1}")
separate_arguments(flags UNIX_COMMAND "-std=c++20 ${CXX_FLAGS} ${pkg_config}")
run(${CXX_COMPILER} ${WORK_DIR}/readme.cc ${flags} -o ${WORK_DIR}/readme)
run(${CMAKE_COMMAND} -E chdir ${SOURCE_DIR} ${WORK_DIR}/readme)
if(NOT output MATCHES "square")
  message(FATAL_ERROR "README.md's program said\n${output}")
endif()
