#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Fails, naming the places, when a source file is not as clang-format with .clang-format would leave it.
set -euo pipefail
cd "$(dirname "$0")/.."
find . \( -name '.?*' -o -path './build*' \) -prune -o \
  \( -name '*.h' -o -name '*.cc' -o -name '*.c' -o -name '*.cu' -o -name '*.cuh' \) -print |
  sort | xargs clang-format --dry-run --Werror
