#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Measures what docs/performance.md shows, on this machine, and writes one file of rows a section.
# Usage: scripts/measure_performance.sh PATH_TO_QWEN3VL [MODEL.gguf...]
# Without models the sections on whole models are left as they are. OUT (default docs/performance) is the folder,
# THREADS the number of threads of the sections that use all (default: what `probe` says), BENCH_OPTIONS more options for
# every measurement, as in BENCH_OPTIONS="--cooldown 1 --pin 0,1". Let the machine do nothing else: it takes half an hour.
# Then: scripts/performance_tables.py docs/performance.md
set -euo pipefail
qwen3vl=$(realpath -- "${1:?usage: measure_performance.sh PATH_TO_QWEN3VL [MODEL.gguf...]}")
shift
models=()
for model in "$@"; do models+=("$(realpath -- "$model")"); done
cd "$(dirname "$0")/.."
out=${OUT:-docs/performance}
mkdir -p "$out"
out=$(realpath -- "$out")
threads=${THREADS:-$("$qwen3vl" probe --json | sed -n 's/.*"default_threads": \([0-9]*\).*/\1/p')}
read -ra more <<<"${BENCH_OPTIONS:-}"

# rows SECTION SUBCOMMAND OPTION...: measures into a new file, which takes the old one's place when it is whole.
rows() {
  local section=$1
  shift
  printf '%s: %s\n' "$section" "$*" >&2
  "$qwen3vl" bench "$@" "${more[@]}" --format jsonl >"$out/$section.new" &&
    mv "$out/$section.new" "$out/$section.jsonl"
}

isas=avx2
if "$qwen3vl" probe --json | grep -q '"avx512"'; then isas=avx2,avx512; fi
text=qwen3vl-4b.text
vision=qwen3vl-2b.vision,qwen3vl-8b.vision
rows prefill layer --preset $text --kind attention.prefill --lengths 512,2048,4096 --path tiled,int16 --threads 1 --isa $isas
rows vision layer --preset $vision --kind attention.prefill --lengths 1024,4096 --path tiled,int16 --threads 1 --isa $isas
rows presets layer --preset gpt2,esm2-650m,unet3d,manipulation --kind attention.prefill --threads "$threads" --isa avx2
rows decode layer --preset $text --kind attention.decode --contexts 512,4096,8192,32768 --path tiled --threads "$threads" \
  --isa avx2
rows linear layer --preset $text --kind linear --tokens 1,512 --path tiled,int16 --threads "$threads" --isa avx2
rows sweep sweep --preset $text --threads "$threads" --isa avx2 --report "$out/sweep.html"
[ ${#models[@]} -gt 0 ] || exit 0
# whole SECTION SUBCOMMAND OPTION...: the same for each of the models, whose rows make one file. They are measured in a
# folder of links, so that rows name files without where they lie here.
links=$(mktemp -d)
trap 'rm -rf "$links"' EXIT
ln -s "$PWD/bench" "$links/bench"
whole() {
  local section=$1 model
  : >"$out/$section.all"
  for model in "${models[@]}"; do
    ln -sf "$(dirname "$model")" "$links/models"
    (cd "$links" && rows "$@" -m "models/$(basename "$model")" --threads "$threads" --isa avx2)
    rm "$links/models"
    cat "$out/$section.jsonl" >>"$out/$section.all"
  done
  mv "$out/$section.all" "$out/$section.jsonl"
}
whole model model
whole image image
answers=()
for file in bench/answers/*.json; do answers+=(--answer "$file"); done
whole answers model --prompt 0 --generate 0 --depths 0 --max-seconds 10 "${answers[@]}"
