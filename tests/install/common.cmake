# SPDX-License-Identifier: Apache-2.0
# Shared by the scripts of this folder.

# Runs a command and fails with its whole output when it does.
function(run)
  execute_process(COMMAND ${ARGV} RESULT_VARIABLE result OUTPUT_VARIABLE output ERROR_VARIABLE errors)
  if(NOT result EQUAL 0)
    list(JOIN ARGV " " command)
    message(FATAL_ERROR "${command}\nended with ${result}\n${output}\n${errors}")
  endif()
  set(output "${output}" PARENT_SCOPE)
endfunction()

# Configures SOURCE in WORK_DIR/build with the compiler and the flags of this build and the extra arguments, and builds it.
function(configure_and_build source)
  run(${CMAKE_COMMAND} -S ${source} -B ${WORK_DIR}/build -G ${GENERATOR} -D CMAKE_BUILD_TYPE=None
    -D CMAKE_C_COMPILER=${C_COMPILER} -D CMAKE_CXX_COMPILER=${CXX_COMPILER}
    -D "CMAKE_C_FLAGS=${C_FLAGS}" -D "CMAKE_CXX_FLAGS=${CXX_FLAGS}" ${ARGN})
  run(${CMAKE_COMMAND} --build ${WORK_DIR}/build)
endfunction()

# Both examples must answer, and the same, on the shipped model: the weights and the seed are fixed.
function(run_examples folder)
  set(model ${SOURCE_DIR}/models/tiny-random)
  run(${folder}/describe_image ${model} ${SOURCE_DIR}/examples/picture.jpg)
  set(answer "${output}")
  if(answer MATCHES "^[ \n]*$")
    message(FATAL_ERROR "describe_image answered nothing")
  endif()
  run(${folder}/describe_image_c ${model} ${SOURCE_DIR}/examples/picture.jpg)
  if(NOT output STREQUAL answer)
    message(FATAL_ERROR "C++ said\n${answer}\nC said\n${output}")
  endif()
  execute_process(COMMAND ${folder}/describe_image_c ${WORK_DIR}/missing ${SOURCE_DIR}/examples/picture.jpg
    RESULT_VARIABLE result ERROR_VARIABLE errors)
  if(NOT result EQUAL 1 OR NOT errors MATCHES "missing")
    message(FATAL_ERROR "a missing model gave ${result} and '${errors}', want 1 and a line that names it")
  endif()
endfunction()
