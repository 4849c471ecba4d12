#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds the release and asks a model about a picture.
# Usage: scripts/demo.sh [MODEL [PICTURE [QUESTION]]]
#   MODEL: a Hugging Face folder or a GGUF file; without it, the tiny random model that comes with the project.
set -euo pipefail

[ $# -lt 1 ] || model=$(realpath -- "$1")
[ $# -lt 2 ] || picture=$(realpath -- "$2")
cd "$(dirname "$0")/.."
model=${model:-models/tiny-random}
picture=${picture:-examples/picture.jpg}
question=${3:-What is in this picture?}

scripts/install_deps.sh
cmake --preset release -D QWEN3VL_BUILD_TESTS=OFF
cmake --build --preset release --parallel "$(nproc)"
if [ "$model" = models/tiny-random ]; then
  printf '\nThe model models/tiny-random has RANDOM weights: its answer is nonsense. It shows that every part runs.\n'
  printf 'For a real answer: scripts/demo.sh PATH_TO_A_QWEN3_VL_MODEL\n'
fi
printf '\n$ build/release/qwen3vl run -m %s --image %s -p "%s" -n 32\n' "$model" "$picture" "$question"
build/release/qwen3vl run -m "$model" --image "$picture" -p "$question" -n 32
