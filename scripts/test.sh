#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds the project with its tests and runs them all.
# Usage: scripts/test.sh [PRESET [CTEST_ARGUMENT...]]     PRESET: test (default), dev (sanitizers), tsan
set -euo pipefail
cd "$(dirname "$0")/.."

preset=${1:-test}
shift || true
scripts/install_deps.sh test
cmake --preset "$preset" -D QWEN3VL_BUILD_TESTS=ON
cmake --build --preset "$preset" --parallel "$(nproc)"
ctest --preset "$preset" --parallel "$(nproc)" "$@"
