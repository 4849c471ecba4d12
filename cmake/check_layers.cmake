# SPDX-License-Identifier: Apache-2.0
# cmake -D SOURCE_DIR=src -P check_layers.cmake: who may include whom, and which library or feature has one place only.
# Reports every violation, then fails.
set(violations "")

# forbid(WHERE pattern EXCEPT pattern LINE pattern ALLOW pattern WHY text): no file whose path matches WHERE, and not
# EXCEPT, may have a line that matches LINE, and not ALLOW.
function(forbid)
  cmake_parse_arguments(PARSE_ARGV 0 rule "" "WHERE;EXCEPT;LINE;ALLOW;WHY" "")
  foreach(file IN LISTS files)
    if(NOT file MATCHES "${rule_WHERE}" OR (rule_EXCEPT AND file MATCHES "${rule_EXCEPT}"))
      continue()
    endif()
    file(STRINGS ${SOURCE_DIR}/${file} lines REGEX "${rule_LINE}")
    foreach(line IN LISTS lines)
      if(rule_ALLOW AND line MATCHES "${rule_ALLOW}")
        continue()
      endif()
      list(APPEND violations "${file}: ${line}  -- ${rule_WHY}")
    endforeach()
  endforeach()
  set(violations "${violations}" PARENT_SCOPE)
endfunction()

file(GLOB_RECURSE files RELATIVE ${SOURCE_DIR} ${SOURCE_DIR}/*.h ${SOURCE_DIR}/*.cc ${SOURCE_DIR}/*.cu ${SOURCE_DIR}/*.cuh)
if(NOT files)
  message(FATAL_ERROR "layering: no source file under ${SOURCE_DIR}")
endif()

# error.h and export.h are leaves that every folder may include.
set(ours "^ *# *include *[\"<]")
set(model "qwen3vl/([^e]|e[^rx]|er[^r]|ex[^p])")
forbid(WHERE "^hw/" LINE "${ours}(rope/|attention/|${model})" WHY "hw/ includes nothing of ours")
forbid(WHERE "^rope/" LINE "${ours}(attention/|${model})" WHY "rope/ may include hw/ alone")
forbid(WHERE "^attention/" LINE "${ours}(rope/|${model})" WHY "attention/ may include hw/ alone")
forbid(WHERE "." LINE "# *include *[\"<]\\.\\./" WHY "the include root is src/")

# The public headers need the standard library only.
set(public "^qwen3vl/(error|export|layer|qwen3vl|qwen3vl_c)\\.h$")
forbid(WHERE "${public}" LINE "# *include *\"(hw|rope|attention)/" WHY "a public header shows no inner header")
forbid(WHERE "${public}" LINE "# *include *[\"<](hwy|Eigen|nlohmann|cpuinfo|omp)" WHY "a public header needs std alone")

# The command uses the public headers, the measuring library, and the few inner ones named here: files, pictures and
# numbers of its own.
set(inner "boxes|deviation|environment|image|json_view|kv_type|safetensors|whole_file")
forbid(WHERE "^qwen3vl/cli/" LINE "# *include *[\"<]qwen3vl/" ALLOW "[\"<]qwen3vl/(cli/|bench/|(error|export|layer|qwen3vl|${inner})\\.h)"
  WHY "the command uses the public headers and the inner ones on its list")
forbid(WHERE "^qwen3vl/cli/" EXCEPT "attention(_case)?\\.(h|cc)$" LINE "# *include *\"(hw|rope|attention)/"
  WHY "the command uses the public headers, but for the attention operation alone")
forbid(WHERE "." EXCEPT "^qwen3vl/cli/" LINE "# *include *[\"<](CLI/|qwen3vl/cli/)" WHY "the library does not know the command")

# One library, one place.
forbid(WHERE "." EXCEPT "^hw/parallel_openmp\\.cc$" LINE "# *pragma +omp|include *<omp\\.h>" WHY "OpenMP only in hw/parallel_openmp.cc")
forbid(WHERE "." EXCEPT "^hw/cpu_info\\.cc$" LINE "include *<cpuinfo" WHY "cpuinfo only in hw/cpu_info.cc")
forbid(WHERE "." EXCEPT "(_simd\\.cc|-inl\\.h)$" LINE "include *[\"<]hwy/" WHY "Highway only in *_simd.cc and *-inl.h")
forbid(WHERE "." EXCEPT "^hw/device_code\\.cc$" LINE "include *[\"<]zlib" WHY "zlib only in hw/device_code.cc")
forbid(WHERE "." LINE "include *[\"<]Eigen/" WHY "Eigen only in tests")
forbid(WHERE "." EXCEPT "\\.cuh?$" LINE "include *[\"<]cuda" WHY "CUDA only in *.cu and *.cuh")
forbid(WHERE "." EXCEPT "^(hw/cpu_info|attention/fault|qwen3vl/cli/(chat|terminal_line))\\.cc$" LINE "getenv *\\("
  WHY "the environment is read in hw/cpu_info.cc, attention/fault.cc and, for ~/ and TERM, by chat alone")

# The library never prints, exits or aborts.
forbid(WHERE "." EXCEPT "^qwen3vl/cli/" LINE "std::(cout|cerr|exit|abort|terminate)|[^a-z_](printf|puts|fprintf|exit|abort) *\\("
  WHY "the library never prints, exits or aborts")

if(violations)
  list(JOIN violations "\n  " text)
  message(FATAL_ERROR "layering:\n  ${text}")
endif()
