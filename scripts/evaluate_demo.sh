#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# Measures the demo model on unseen scenes with the built command: exact answers by kind of question, for the folder in F16
# and for its Q8_0 and Q4_K_M files. The pictures and answers go to a scratch folder.
# Usage: scripts/evaluate_demo.sh PATH_TO_QWEN3VL [SCENES_OF_EACH_KIND]   (1000 when not given)
# Needs Debian's python3-numpy, python3-pil and fonts-dejavu-core.
set -euo pipefail
qwen3vl=$(realpath -- "${1:?usage: evaluate_demo.sh PATH_TO_QWEN3VL [SCENES]}")
cd "$(dirname "$0")/../tools/train_demo"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

/usr/bin/python3 evaluate.py make --scenes "${2:-1000}" --out "$scratch/scenes"
/usr/bin/python3 evaluate.py ask --command "$qwen3vl" --scenes "$scratch/scenes" --threads "$(nproc)" \
  ../../models/demo ../../models/demo/demo-{q8_0,q4_k_m}.gguf
