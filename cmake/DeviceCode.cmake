# SPDX-License-Identifier: Apache-2.0
# Compiles the GPU kernels to PTX and embeds the text. No CUDA language is enabled and no toolkit is needed: the host code
# is plain C++, and any of these compilers will do, each found out by compiling a kernel:
#   compute capability 6.1: clang (PTX 6.0, which every driver since 2017 takes), else an nvcc that still knows it (up to 12)
#   compute capability 7.5: nvcc
# Where there is none the table is empty, and the library says so when the GPU is asked for. One that was found and does
# not work is warned of, one that was named stops the configuration: GPU code is not left out unnoticed.
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

# Sets `out` to why that command line, with a small kernel and an output at its end, makes no PTX, or to nothing.
function(qwen3vl_why_no_ptx out)
  file(WRITE ${qwen3vl_device_dir}/probe.cu [=[
#include "hw/device_dialect.cuh"
QWEN3VL_KERNEL(128, 1) probe(float* x) { x[qwen3vl::gpu::ThreadIndex()] = qwen3vl::gpu::ShuffleXor(1.0f, 1); }
]=])
  execute_process(COMMAND ${ARGN} ${qwen3vl_device_dir}/probe.cu -o ${qwen3vl_device_dir}/probe.ptx
    RESULT_VARIABLE status OUTPUT_VARIABLE said ERROR_VARIABLE said)
  set(${out} "" PARENT_SCOPE)
  if(NOT status EQUAL 0 OR NOT EXISTS ${qwen3vl_device_dir}/probe.ptx)
    set(${out} "exit status ${status}: ${said}" PARENT_SCOPE)
  endif()
  file(REMOVE ${qwen3vl_device_dir}/probe.ptx)
endfunction()

# Sets `out` to whether that command line, the compiler's first, makes PTX; `option` is the one that names or leaves out
# the compiler.
function(qwen3vl_makes_ptx out option compiler)
  qwen3vl_why_no_ptx(why ${compiler} ${ARGN})
  set(${out} TRUE PARENT_SCOPE)
  if(why)
    set(${out} FALSE PARENT_SCOPE)
    set(severity WARNING)
    if(${option})
      set(severity FATAL_ERROR)
    endif()
    message(${severity} "GPU code: ${compiler} makes none (${why})\n"
      "Name another compiler with -D ${option}=FILE, or do without it with -D ${option}=OFF.")
  endif()
endfunction()

# Sets `out` to "NAME VERSION" of a compiler.
function(qwen3vl_compiler_version out name compiler)
  execute_process(COMMAND ${compiler} --version OUTPUT_VARIABLE text ERROR_QUIET)
  string(REGEX MATCH "(version|release) ([0-9]+[0-9.]*)" found "${text}")
  set(${out} "${name} ${CMAKE_MATCH_2}" PARENT_SCOPE)
endfunction()

# Products and sums are contracted where the source says so and nowhere else: the tests compare bit by bit.
set(flags -I${PROJECT_SOURCE_DIR}/src -std=c++17 -O3)
set(clang_flags -x cuda --cuda-device-only --cuda-gpu-arch=sm_61 -nocudainc -nocudalib --cuda-path=/nonexistent
  -Xclang -target-feature -Xclang +ptx60 -ffp-contract=off -S ${flags})
set(nvcc_flags -ptx -fmad=false ${flags})
qwen3vl_device_compiler(clang QWEN3VL_DEVICE_CLANG clang++ clang++-19 clang++-18 clang++-17 clang++-16 clang++-15 clang++-14)
qwen3vl_device_compiler(nvcc QWEN3VL_DEVICE_NVCC nvcc)

# The command line for each compute capability, or nothing.
set(qwen3vl_device_75 "")
set(qwen3vl_device_61 "")
set(qwen3vl_device_text "")
if(clang)
  qwen3vl_compiler_version(version clang ${clang})
  qwen3vl_makes_ptx(works QWEN3VL_DEVICE_CLANG ${clang} ${clang_flags})
  if(works)
    set(qwen3vl_device_61 ${clang} ${clang_flags})
    list(APPEND qwen3vl_device_text "compute capability 6.1 (${version})")
  endif()
endif()
if(nvcc)
  qwen3vl_compiler_version(version nvcc ${nvcc})
  qwen3vl_makes_ptx(works QWEN3VL_DEVICE_NVCC ${nvcc} -arch=compute_75 ${nvcc_flags})
  if(works)
    set(qwen3vl_device_75 ${nvcc} -arch=compute_75 ${nvcc_flags} -DQWEN3VL_TILE_256_ONLY)
  endif()
  if(NOT qwen3vl_device_61)
    qwen3vl_why_no_ptx(why ${nvcc} -arch=compute_61 ${nvcc_flags})
    if(why)
      message(NOTICE "GPU code: ${version} makes none for compute capability 6.1; clang 14 or newer does")
    else()
      message(NOTICE "GPU code: that of ${version} runs with drivers of its own CUDA version or newer (12: driver 525); "
        "that of clang 14 or newer runs with all since 2017")
      set(qwen3vl_device_61 ${nvcc} -arch=compute_61 ${nvcc_flags})
      list(APPEND qwen3vl_device_text "compute capability 6.1 (${version})")
    endif()
  endif()
  if(works)
    list(APPEND qwen3vl_device_text "compute capability 7.5 (${version})")
  endif()
endif()
# For the tests: with a compiler there is code.
set_property(GLOBAL PROPERTY QWEN3VL_DEVICE_COMPILERS ${clang} ${nvcc})
list(JOIN qwen3vl_device_text ", " qwen3vl_device_text)
if(NOT qwen3vl_device_text)
  set(qwen3vl_device_text "none (no compiler that makes it was found when this was built)")
endif()
message(STATUS "GPU code: ${qwen3vl_device_text}")

# qwen3vl_embed_device_code(OUT FOLDER f HEADERS file... MODULES "NAME SOURCE FLAG..."...): rules that compile each module
# of src/f for each compute capability and write the table f/device_code.h declares; sets OUT to its file. The newest
# compute capability comes first: the loader takes the first module that runs.
function(qwen3vl_embed_device_code out)
  cmake_parse_arguments(PARSE_ARGV 1 embed "" "FOLDER;NAMESPACE" "HEADERS;MODULES")
  set(sources ${PROJECT_SOURCE_DIR}/src/${embed_FOLDER})
  list(TRANSFORM embed_HEADERS PREPEND ${PROJECT_SOURCE_DIR}/src/)
  set(files "")
  foreach(compute 75 61)
    if(NOT qwen3vl_device_${compute})
      continue()
    endif()
    foreach(module IN LISTS embed_MODULES)
      separate_arguments(words UNIX_COMMAND ${module})
      list(POP_FRONT words name source)
      set(ptx ${qwen3vl_device_dir}/${compute}/${name}.ptx)
      add_custom_command(OUTPUT ${ptx}
        COMMAND ${qwen3vl_device_${compute}} ${words} ${sources}/${source} -o ${ptx}
        DEPENDS ${sources}/${source} ${embed_HEADERS} ${PROJECT_SOURCE_DIR}/src/hw/device_dialect.cuh
        COMMENT "Compiling ${name} for compute capability ${compute}"
        VERBATIM)
      list(APPEND files ${ptx})
    endforeach()
    file(MAKE_DIRECTORY ${qwen3vl_device_dir}/${compute})
  endforeach()
  string(REPLACE "/" "_" table ${embed_FOLDER})
  set(table ${qwen3vl_device_dir}/${table}.cc)
  add_custom_command(OUTPUT ${table}
    COMMAND ${CMAKE_COMMAND} -D "PTX_FILES=${files}" -D FOLDER=${embed_FOLDER} -D NAMESPACE=${embed_NAMESPACE}
      -D OUTPUT=${table} -P ${PROJECT_SOURCE_DIR}/cmake/embed_ptx.cmake
    DEPENDS ${files} ${PROJECT_SOURCE_DIR}/cmake/embed_ptx.cmake
    COMMENT "Embedding the GPU code of ${embed_FOLDER}"
    VERBATIM)
  set(${out} ${table} PARENT_SCOPE)
endfunction()
