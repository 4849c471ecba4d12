# SPDX-License-Identifier: Apache-2.0
# Builds an app that takes qwen3vl in by add_subdirectory, as a shared library, and checks what that exports. The
# build folder is kept between runs.
include(${CMAKE_CURRENT_LIST_DIR}/common.cmake)
configure_and_build(${CMAKE_CURRENT_LIST_DIR}/subdirectory -D QWEN3VL_SOURCE_DIR=${SOURCE_DIR}
  -D BUILD_SHARED_LIBS=ON -D QWEN3VL_CUDA=OFF -D QWEN3VL_THREADS=${THREADS})
run_examples(${WORK_DIR}/build)

# Every exported name must be of namespace qwen3vl or begin with qwen3vl_.
file(GLOB library ${WORK_DIR}/build/qwen3vl/src/libqwen3vl.so)
run(${NM} --dynamic --defined-only --demangle ${library})
string(REGEX MATCHALL "[^\n]+" foreign "${output}")
list(LENGTH foreign n_symbols)
list(FILTER foreign EXCLUDE REGEX "^[0-9a-f]+ [A-Za-z] (typeinfo (name )?for |vtable for )?qwen3vl(::|_)")
if(foreign OR n_symbols EQUAL 0)
  list(JOIN foreign "\n" text)
  message(FATAL_ERROR "${library} exports ${n_symbols} symbols, of which these are not its own:\n${text}")
endif()
