#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Checks the GPU path on a machine with an NVIDIA GPU: builds, runs every kernel on the device, runs them under
# compute-sanitizer where that is installed, and measures. Post what it prints, in an issue or as a change of
# docs/performance.md. `scripts/install_deps.sh test` before installs what the build needs.
# Usage: tools/gpu_check.sh [--driver LIBRARY] [--length KEYS]     the build lies in build/gpu
# Ends with 0 when everything passed, 1 when something failed, 2 for bad usage, 3 when there is no usable device (one line).
set -euo pipefail
cd "$(dirname "$0")/.."

driver=libcuda.so.1 length=4096
while [ $# -gt 0 ]; do
  case $1 in
    --driver) driver=${2:?gpu_check: --driver wants a library} ;;
    --length) length=${2:?gpu_check: --length wants a number of keys} ;;
    *) printf 'gpu_check: %s: want --driver LIBRARY or --length KEYS\n' "$1" >&2; exit 2 ;;
  esac
  shift 2
done
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
say() { printf '\n## %s\n' "$*"; }

# The two files that list devices, by themselves: no need to build everything to learn that there is none.
cat >"$scratch/list.cc" <<'CODE'
#include <cstdio>
#include "hw/gpu_info.h"
int main(int, char** argv) {
  const qwen3vl::hw::GpuList list = qwen3vl::hw::ListGpus(argv[1]);
  if (list.devices.empty()) return std::printf("%s", list.status.c_str()), 3;
  for (const auto& gpu : list.devices)
    std::printf("%s, compute capability %d.%d (%s)\n", gpu.name.c_str(), gpu.compute_major, gpu.compute_minor,
                list.status.c_str());
}
CODE
${CXX:-c++} -std=c++20 -Isrc -o "$scratch/list" "$scratch/list.cc" src/hw/gpu_info.cc src/hw/cuda_driver.cc -ldl
if ! devices=$("$scratch/list" "$driver"); then
  printf 'gpu_check: %s; nothing was checked\n' "$devices"
  exit 3
fi
say "Devices"
printf '%s\n' "$devices"

say "Build"
cmake --preset release -B build/gpu -D QWEN3VL_BUILD_TESTS=ON -D QWEN3VL_CUDA=ON | grep 'GPU code'
cmake --build build/gpu --parallel "$(nproc)" --target cuda_device_test gpu_layers_test gpu_bench >"$scratch/build" ||
  { cat "$scratch/build" >&2; exit 1; }

failed=0
# step NAME COMMAND...: prints its output; notes when it fails.
step() {
  say "$1"
  shift
  "$@" || { printf 'failed: %s\n' "$*"; failed=1; }
}
export QWEN3VL_TEST_DRIVER=$driver
test=build/gpu/tests/cuda/cuda_device_test
code=0
say "Every case on the device"
$test --gtest_brief=1 || code=$?
[ $code -eq 3 ] && exit 3
[ $code -eq 0 ] || failed=1
# Decoder layers and vision towers beside the CPU's, in every weight format, recorded models, and the products that are timed.
layers() {
  QWEN3VL_FAKE_CUDA=$driver "$@" build/gpu/tests/qwen3vl/cuda/gpu_layers_test --gtest_brief=1 \
    --gtest_filter='*DeviceDecoder*:*DeviceVisionTest*:*GpuVisionGoldenTest*:*GpuProductTest*:*GiveTheRecordedNumbers:*GivesTheRecordedNumbers'
}
step "Layers and vision towers on the device" layers

if sanitizer=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null); then
  small='*/CausalMainShape:*/VisionHead72:*/Keys129Causal:*/Segments:*/LengthsOverTiles:*/DecodeGroup8:*/DecodeBatch'
  for tool in memcheck racecheck synccheck initcheck; do
    step "compute-sanitizer $tool" "$sanitizer" --tool $tool --error-exitcode 1 $test --gtest_brief=1 --gtest_filter="$small"
  done
  for tool in memcheck initcheck; do
    step "compute-sanitizer $tool, layers and vision towers" layers "$sanitizer" --tool $tool --error-exitcode 1
  done
else
  say "compute-sanitizer: not installed, not run"
fi

step "Speed" build/gpu/tests/cuda/gpu_bench "$length"
[ $failed -eq 0 ] && say "Everything passed" || say "Something failed: see above"
exit $failed
