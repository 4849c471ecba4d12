#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Installs what is missing, builds the release and asks a model about pictures.
# Usage: scripts/demo.sh                             the trained demo model describes three pictures of the project
#        scripts/demo.sh MODEL [PICTURE [QUESTION]]  MODEL: a Hugging Face folder or a GGUF file
set -euo pipefail

[ $# -lt 1 ] || model=$(realpath -- "$1")
[ $# -lt 2 ] || picture=$(realpath -- "$2")
cd "$(dirname "$0")/.."

scripts/install_deps.sh
cmake --preset release -D QWEN3VL_BUILD_TESTS=OFF
cmake --build --preset release --parallel "$(nproc)"

# ask ARGUMENT...: prints the command as one could type it, then runs it.
ask() {
  printf '\n$ build/release/qwen3vl run'
  local word
  for word in "$@"; do
    [[ $word == *[!A-Za-z0-9_./-]* ]] && printf ' "%s"' "$word" || printf ' %s' "$word"
  done
  printf '\n'
  build/release/qwen3vl run "$@"
}

if [ $# -ge 1 ]; then
  ask -m "$model" --image "${picture:-examples/picture.jpg}" -p "${3:-What is in this picture?}"
  exit
fi
for name in one two three; do
  ask --image "models/demo/pictures/$name.png" -p "Describe the picture."
done
