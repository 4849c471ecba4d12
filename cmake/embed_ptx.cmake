# SPDX-License-Identifier: Apache-2.0
# cmake -D PTX_FILES=A;B -D FOLDER=attention/cuda -D NAMESPACE=qwen3vl::attention -D OUTPUT=table.cc -P embed_ptx.cmake: the
# table that src/FOLDER/device_code.h declares, with each text in gzip format. Files are named COMPUTE/MODULE.ptx.
set(rows "")

# Sets `out` to the packed bytes of a file as the inside of a string literal.
function(qwen3vl_pack out file)
  file(ARCHIVE_CREATE OUTPUT ${file}.gz PATHS ${file} FORMAT raw COMPRESSION GZip COMPRESSION_LEVEL 9)
  file(READ ${file}.gz hex HEX)
  # Bytes 4 to 7 are the time of packing: zeros, so that one source makes one binary.
  string(SUBSTRING "${hex}" 0 8 before)
  string(SUBSTRING "${hex}" 16 -1 after)
  string(REGEX REPLACE "(..)" "\\\\x\\1" bytes "${before}00000000${after}")
  set(${out} "${bytes}" PARENT_SCOPE)
endfunction()

foreach(file IN LISTS PTX_FILES)
  if(NOT file MATCHES "/([0-9]+)/([A-Za-z0-9_]+)\\.ptx$")
    message(FATAL_ERROR "${file}: want COMPUTE/MODULE.ptx")
  endif()
  set(row "    {${CMAKE_MATCH_1}, \"${CMAKE_MATCH_2}\"")
  file(SIZE ${file} size)
  qwen3vl_pack(bytes ${file})
  string(APPEND rows "${row}, \"${bytes}\"sv, ${size}},\n")
endforeach()
if(rows)
  set(table "using namespace std::string_view_literals;\n\nconstexpr hw::DeviceCode kCode[] = {\n${rows}};\n")
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
