#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Runs every subcommand of a built qwen3vl once on the shipped model and looks at what comes out.
# Usage: scripts/smoke.sh PATH_TO_QWEN3VL
set -euo pipefail
qwen3vl=$(realpath -- "${1:?usage: smoke.sh PATH_TO_QWEN3VL}")
cd "$(dirname "$0")/.."
model=models/tiny-random
picture=examples/picture.jpg
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

# expect TEXT COMMAND...: the command must succeed and print TEXT on stdout.
expect() {
  local text=$1
  shift
  printf '  %s\n' "$*"
  "$@" >"$scratch/out" 2>"$scratch/err" </dev/null || fail "ended with $?" "$@"
  [ -z "$text" ] || grep -qF -- "$text" "$scratch/out" || fail "did not print '$text'" "$@"
}
# refuse CODE TEXT COMMAND...: the command must end with CODE and say TEXT on stderr.
refuse() {
  local code=$1 text=$2 got=0
  shift 2
  printf '  %s\n' "$*"
  "$@" >"$scratch/out" 2>"$scratch/err" </dev/null || got=$?
  [ "$got" -eq "$code" ] || fail "ended with $got, want $code" "$@"
  grep -qF -- "$text" "$scratch/err" || fail "did not say '$text'" "$@"
}
fail() {
  printf 'smoke.sh: %s: %s\n' "$1" "${*:2}" >&2
  cat "$scratch/out" "$scratch/err" >&2
  exit 1
}

for subcommand in run chat probe inspect tokenize verify profile trace; do
  expect "$subcommand" "$qwen3vl" "$subcommand" --help
done
expect '"text"' "$qwen3vl" run -m $model --image $picture -p "What is this?" -n 8 --json
printf 'Hello\n/image %s\nWhat is this?\n' $picture |
  "$qwen3vl" chat -m $model -n 8 >"$scratch/out" 2>"$scratch/err" || fail "ended with $?" chat
[ -s "$scratch/out" ] || fail "answered nothing" chat
expect tile "$qwen3vl" probe
expect '"tile' "$qwen3vl" probe --json
expect weights "$qwen3vl" inspect $model
expect '"ids"' "$qwen3vl" tokenize -m $model "Hello, world" --json
expect text.layer.1 "$qwen3vl" verify -m $model
expect attention "$qwen3vl" profile -m $model --image $picture -p "What is this?"
expect '"schema"' "$qwen3vl" bench layer --preset gpt2 --kind norm --samples 2 --json
expect model.generate "$qwen3vl" bench model -m $model --prompt 16 --generate 4 --depths 0 --samples 2
expect image.encode "$qwen3vl" bench image -m $model --sizes 64x64 --samples 2
expect "attention.decode" "$qwen3vl" bench sweep --preset gpt2 --lengths 32 --contexts 64 --samples 2
expect "attention.prefill" "$qwen3vl" bench tune --preset gpt2 --prompt 32 --keys 32 --samples 1 --dry-run
# The smallest case of each Google Benchmark program, where they are built.
programs=$(dirname "$qwen3vl")/bench
once() {
  [ -x "$programs/$1" ] || return 0
  expect "$2" "$programs/$1" "${@:3}" --benchmark_filter="^$2/" --benchmark_min_time=0.01
  ! grep -q "ERROR OCCURRED" "$scratch/out" || fail "is wrong" "$1" "$2"
}
once attention_bench Tiled/gpt2/decode/q:1/kv:4096/f16
once linear_bench Linear/qwen3vl-2b.text/kv/n:1/q8_0
once rope_bench Norm/gpt2/n:1024
once vision_bench Linear/qwen3vl-2b.vision/o/n:1024/f16
once generation_bench Generate/64 $model
expect "" "$qwen3vl" trace -m $model --image $picture -p "What is this?" --generate 4 --out "$scratch/trace.safetensors"
grep -qa greedy_tokens "$scratch/trace.safetensors" || fail "has no greedy_tokens" trace.safetensors
refuse 2 --no-such-option "$qwen3vl" run --no-such-option
refuse 3 no-such-model "$qwen3vl" run -m no-such-model -p Hello
refuse 3 no-such-picture "$qwen3vl" run -m $model --image no-such-picture.png -p Hello
