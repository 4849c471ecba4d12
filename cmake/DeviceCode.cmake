# SPDX-License-Identifier: Apache-2.0
# Compiles the GPU kernels to PTX and embeds the text. No CUDA language is enabled and no toolkit is needed: the host code
# is plain C++, and any of these compilers will do, each found out by compiling a kernel:
#   compute capability 6.1: clang (PTX 6.0, which every driver since 2017 takes), else an nvcc that still knows it (up to 12)
#   compute capability 7.5: nvcc
# Where there is none the table is empty, and the library says so when the GPU is asked for.
set(QWEN3VL_DEVICE_CLANG "" CACHE STRING "clang++ for the GPU kernels; empty: look for one, OFF: use none")
set(QWEN3VL_DEVICE_NVCC "" CACHE STRING "nvcc for the GPU kernels; empty: look for one, OFF: use none")
set(qwen3vl_device_dir ${PROJECT_BINARY_DIR}/device_code)

# Sets `out` to the compiler named by the option, or found, or nothing.
function(qwen3vl_device_compiler out option)
  set(${out} "" PARENT_SCOPE)
  if(NOT ${option} STREQUAL "" AND NOT ${option})
    return()
  endif()
  if(${option})
    set(${out} ${${option}} PARENT_SCOPE)
    return()
  endif()
  find_program(${option}_FOUND NAMES ${ARGN} PATHS /usr/local/cuda/bin)
  mark_as_advanced(${option}_FOUND)
  if(${option}_FOUND)
    set(${out} ${${option}_FOUND} PARENT_SCOPE)
  endif()
endfunction()

# Sets `out` to whether that command line, with a small kernel and an output at its end, makes PTX.
function(qwen3vl_makes_ptx out)
  file(WRITE ${qwen3vl_device_dir}/probe.cu [=[
#include "attention/cuda/dialect.cuh"
QWEN3VL_KERNEL(128, 1) probe(float* x) { x[qwen3vl::gpu::ThreadIndex()] = qwen3vl::gpu::ShuffleXor(1.0f, 1); }
]=])
  execute_process(COMMAND ${ARGN} ${qwen3vl_device_dir}/probe.cu -o ${qwen3vl_device_dir}/probe.ptx
    RESULT_VARIABLE failed OUTPUT_QUIET ERROR_QUIET)
  set(${out} FALSE PARENT_SCOPE)
  if(NOT failed AND EXISTS ${qwen3vl_device_dir}/probe.ptx)
    set(${out} TRUE PARENT_SCOPE)
  endif()
  file(REMOVE ${qwen3vl_device_dir}/probe.ptx)
endfunction()

# Sets `out` to "NAME VERSION" of a compiler.
function(qwen3vl_compiler_version out name compiler)
  execute_process(COMMAND ${compiler} --version OUTPUT_VARIABLE text ERROR_QUIET)
  string(REGEX MATCH "(version|release) ([0-9]+[0-9.]*)" found "${text}")
  set(${out} "${name} ${CMAKE_MATCH_2}" PARENT_SCOPE)
endfunction()

# The modules of one compute capability: a rule for each, and its place in the lists of the table.
function(qwen3vl_device_modules compute tiles)
  set(sources ${PROJECT_SOURCE_DIR}/src/attention/cuda)
  foreach(module 64,F32 64,F16 64,Q8_0 72,F32 72,F16 80,F32 80,F16 128,F32 128,F16 128,Q8_0)
    string(REPLACE "," ";" parts ${module})
    list(GET parts 0 head_dim)
    list(GET parts 1 format)
    set(ptx ${qwen3vl_device_dir}/attention_${head_dim}_${format}_${compute}.ptx)
    add_custom_command(OUTPUT ${ptx}
      COMMAND ${ARGN} -DQWEN3VL_HEAD_DIM=${head_dim} -DQWEN3VL_KV=${format} ${tiles} ${sources}/attention.cu -o ${ptx}
      DEPENDS ${sources}/attention.cu ${sources}/attention_params.h ${sources}/decode.cuh ${sources}/dialect.cuh
        ${sources}/kv_rows.cuh ${sources}/prefill.cuh
      COMMENT "Compiling attention_${head_dim}_${format} for compute capability ${compute}"
      VERBATIM)
    list(APPEND qwen3vl_device_ptx ${ptx})
  endforeach()
  set(qwen3vl_device_ptx ${qwen3vl_device_ptx} PARENT_SCOPE)
endfunction()

set(qwen3vl_device_ptx "")
set(qwen3vl_device_text "")
# Products and sums are contracted where the source says so and nowhere else: the tests compare bit by bit.
set(flags -I${PROJECT_SOURCE_DIR}/src -std=c++17 -O3)
set(clang_flags -x cuda --cuda-device-only --cuda-gpu-arch=sm_61 -nocudainc -nocudalib --cuda-path=/nonexistent
  -Xclang -target-feature -Xclang +ptx60 -ffp-contract=off -S ${flags})
set(nvcc_flags -ptx -fmad=false ${flags})
qwen3vl_device_compiler(clang QWEN3VL_DEVICE_CLANG clang++ clang++-19 clang++-18 clang++-17 clang++-16 clang++-15 clang++-14)
qwen3vl_device_compiler(nvcc QWEN3VL_DEVICE_NVCC nvcc)

# The newest compute capability first: the loader takes the first module that runs.
if(nvcc)
  qwen3vl_compiler_version(version nvcc ${nvcc})
  qwen3vl_makes_ptx(works ${nvcc} -arch=compute_75 ${nvcc_flags})
  if(works)
    qwen3vl_device_modules(75 -DQWEN3VL_TILE_256_ONLY ${nvcc} -arch=compute_75 ${nvcc_flags})
    list(APPEND qwen3vl_device_text "compute capability 7.5 (${version})")
  endif()
endif()
set(made_61 FALSE)
if(clang)
  qwen3vl_compiler_version(version clang ${clang})
  qwen3vl_makes_ptx(made_61 ${clang} ${clang_flags})
  if(made_61)
    qwen3vl_device_modules(61 "" ${clang} ${clang_flags})
  endif()
endif()
if(nvcc AND NOT made_61)
  qwen3vl_compiler_version(version nvcc ${nvcc})
  qwen3vl_makes_ptx(made_61 ${nvcc} -arch=compute_61 ${nvcc_flags})
  if(made_61)
    qwen3vl_device_modules(61 "" ${nvcc} -arch=compute_61 ${nvcc_flags})
  endif()
endif()
if(made_61)
  list(APPEND qwen3vl_device_text "compute capability 6.1 (${version})")
endif()
list(REVERSE qwen3vl_device_text)
list(JOIN qwen3vl_device_text ", " qwen3vl_device_text)
if(NOT qwen3vl_device_text)
  set(qwen3vl_device_text "none (no compiler for it was found when this was built)")
endif()
message(STATUS "GPU code: ${qwen3vl_device_text}")

set(qwen3vl_device_table ${qwen3vl_device_dir}/device_code.cc)
add_custom_command(OUTPUT ${qwen3vl_device_table}
  COMMAND ${CMAKE_COMMAND} -D "PTX_FILES=${qwen3vl_device_ptx}" -D "TEXT=${qwen3vl_device_text}"
    -D OUTPUT=${qwen3vl_device_table} -P ${CMAKE_CURRENT_LIST_DIR}/embed_ptx.cmake
  DEPENDS ${qwen3vl_device_ptx} ${CMAKE_CURRENT_LIST_DIR}/embed_ptx.cmake
  COMMENT "Embedding the GPU code"
  VERBATIM)
