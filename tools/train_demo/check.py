#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Compares this folder's forward pass with the engine's on one picture and question: ids, pixels, logits.

    check.py --command build/release/qwen3vl ../../models/demo ../../models/demo/pictures/one.png "Describe the picture."

Ends with 1 where the ids differ, a pixel differs, or the logits are further apart than rounding explains.
"""
import argparse
import os
import subprocess
import sys
import tempfile

import numpy as np
import torch
from PIL import Image

import answers
import batches
import checkpoint
import scenes
import tokenizer
from model import Config, Qwen3VL

TOLERANCE = 1e-4  # relative, in norm: float32 sums in another order, through eight layers


def engine(command, model, picture, question):
    with tempfile.TemporaryDirectory() as folder:
        out = os.path.join(folder, "trace.safetensors")
        words = [command, "trace", "-m", model, "--image", picture, "-p", question, "--kv-type", "f32"]
        subprocess.run(words + ["--only", "input_ids,pixel_values,logits", "--out", out], check=True, stderr=subprocess.DEVNULL)
        return {k: v.copy() for k, v in checkpoint.read_safetensors(out).items()}


def here(folder, picture, question):
    model = Qwen3VL(Config())
    checkpoint.load(folder, model)
    prompts = answers.Prompts(tokenizer.Tokenizer(tokenizer.train_merges()))
    pixels = np.asarray(Image.open(picture).convert("RGB"))
    height, width = scenes.view_size(*pixels.shape[:2])
    patches = batches.patches(scenes.view(pixels, height, width)[None])
    ids, begin, _ = prompts.fill(question, "", 999)
    ids = ids[:begin]
    grid = (height // 16, width // 16)
    layout = prompts.layout(grid, [(1, len(ids))])
    with torch.no_grad():
        rows, *deep = model.see(patches, grid, 1)
        hidden, _ = model.language_model(torch.tensor([ids]), layout, rows, deep)
        logits = model.logits(hidden)[0]
    return np.concatenate((layout.prefix_ids.numpy(), ids)), patches[0].numpy(), logits.numpy()


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--command", required=True)
    p.add_argument("model")
    p.add_argument("picture")
    p.add_argument("question")
    a = p.parse_args()
    traced = engine(a.command, a.model, a.picture, a.question)
    ids, patches, logits = here(a.model, a.picture, a.question)
    same_ids = np.array_equal(traced["input_ids"].ravel(), ids)
    frames = traced["pixel_values"].reshape(len(patches), 3, 2, 256)
    pixels = np.abs(frames[:, :, 0] - patches.reshape(len(patches), 3, 256)).max()
    error = np.linalg.norm(traced["logits"] - logits) / np.linalg.norm(logits) if same_ids else np.inf
    print(f"ids {'equal' if same_ids else 'DIFFER'}, pixels within {pixels:.1e}, logits within {error:.1e} (relative, in norm)")
    sys.exit(0 if same_ids and pixels == 0 and error <= TOLERANCE else 1)


if __name__ == "__main__":
    main()
