# SPDX-License-Identifier: Apache-2.0
# cmake -D PTX_FILES=A;B -D TEXT=... -D OUTPUT=device_code.cc -P embed_ptx.cmake: the table that
# src/attention/cuda/device_code.h declares. Files are named attention_HEADDIM_FORMAT_COMPUTE.ptx.
set(rows "")
foreach(file IN LISTS PTX_FILES)
  if(NOT file MATCHES "attention_([0-9]+)_([A-Z0-9_]+)_([0-9]+)\\.ptx$")
    message(FATAL_ERROR "${file}: want attention_HEADDIM_FORMAT_COMPUTE.ptx")
  endif()
  set(row "    {${CMAKE_MATCH_3}, ${CMAKE_MATCH_1}, gpu::KvFormat::k${CMAKE_MATCH_2}, R\"ptx(")
  file(READ ${file} ptx)
  string(APPEND rows "${row}${ptx})ptx\"},\n")
endforeach()
if(rows)
  set(table "constexpr DeviceCode kCode[] = {\n${rows}};\n")
  set(span "kCode")
else()
  set(table "")
  set(span "{}")
endif()
file(WRITE ${OUTPUT} "// SPDX-License-Identifier: Apache-2.0
// Written by cmake/embed_ptx.cmake.
#include \"attention/cuda/attention_cuda.h\"
#include \"attention/cuda/device_code.h\"

namespace qwen3vl::attention {
namespace {
${table}}  // namespace

std::span<const DeviceCode> EmbeddedDeviceCode() { return ${span}; }
std::string_view DescribeDeviceCode() { return \"${TEXT}\"; }

}  // namespace qwen3vl::attention
")
