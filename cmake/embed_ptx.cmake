# SPDX-License-Identifier: Apache-2.0
# cmake -D PTX_FILES=A;B -D FOLDER=attention/cuda -D NAMESPACE=qwen3vl::attention -D OUTPUT=table.cc -P embed_ptx.cmake: the
# table that src/FOLDER/device_code.h declares. Files are named COMPUTE/MODULE.ptx.
set(rows "")
foreach(file IN LISTS PTX_FILES)
  if(NOT file MATCHES "/([0-9]+)/([A-Za-z0-9_]+)\\.ptx$")
    message(FATAL_ERROR "${file}: want COMPUTE/MODULE.ptx")
  endif()
  set(row "    {${CMAKE_MATCH_1}, \"${CMAKE_MATCH_2}\", R\"ptx(")
  file(READ ${file} ptx)
  string(APPEND rows "${row}${ptx})ptx\"},\n")
endforeach()
if(rows)
  set(table "constexpr hw::DeviceCode kCode[] = {\n${rows}};\n")
  set(span "kCode")
else()
  set(table "")
  set(span "{}")
endif()
file(WRITE ${OUTPUT} "// SPDX-License-Identifier: Apache-2.0
// Written by cmake/embed_ptx.cmake.
#include \"${FOLDER}/device_code.h\"

namespace ${NAMESPACE} {
namespace {
${table}}  // namespace

std::span<const hw::DeviceCode> EmbeddedDeviceCode() { return ${span}; }

}  // namespace ${NAMESPACE}
")
