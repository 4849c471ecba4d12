# SPDX-License-Identifier: Apache-2.0
# What an app may have found before it finds qwen3vl: under the plain names, less than qwen3vl links.
find_package(PkgConfig REQUIRED)
pkg_check_modules(webp REQUIRED IMPORTED_TARGET libwebp)
pkg_check_modules(utf8proc REQUIRED IMPORTED_TARGET zlib)
