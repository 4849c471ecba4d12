#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a Qwen3-VL of real size with random weights, as a GGUF pair (text + mmproj).

For measuring speed and memory where no checkpoint is at hand: shapes, block formats and tensor mix are those of
the published files, the content is noise. Needs nothing but Python's standard library.

    tools/make_synthetic_model.py --size 2b --type q4_k_m --tokenizer DIR --out /tmp/2b

DIR holds vocab.json, merges.txt and tokenizer_config.json of the real tokenizer; without it the file has no
tokenizer and takes token ids only.
"""
import argparse
import os
import random
import struct

import gguf

TEXT = {
    "2b": gguf.TextShape(dim=2048, layers=28, heads=16, kv_heads=8, ffn=6144, tied=True),
    "4b": gguf.TextShape(dim=2560, layers=36, heads=32, kv_heads=8, ffn=9728, tied=True),
    "8b": gguf.TextShape(dim=4096, layers=36, heads=32, kv_heads=8, ffn=12288, tied=False),
    "30b-a3b": gguf.TextShape(
        dim=2048, layers=48, heads=32, kv_heads=4, ffn=768, tied=False, experts=128, experts_used=8
    ),
}
VISION = {
    "2b": gguf.VisionShape(dim=1024, layers=24, ffn=4096, deepstack=(5, 11, 17)),
    "4b": gguf.VisionShape(dim=1024, layers=24, ffn=4096, deepstack=(5, 11, 17)),
    "8b": gguf.VisionShape(dim=1152, layers=27, ffn=4304, deepstack=(8, 16, 24)),
    "30b-a3b": gguf.VisionShape(dim=1152, layers=27, ffn=4304, deepstack=(8, 16, 24)),
}


def half(x):
    return struct.pack("<e", x)


def pattern(kind, rng, n_in):
    """Some hundred KB of random blocks whose values spread about as trained weights do, 1 / sqrt(inputs)."""
    spread = n_in**-0.5
    if kind == "F32":
        # A length that rows are no multiple of: experts with the same row of the router would be chosen together.
        return b"".join(struct.pack("<f", rng.gauss(0, spread)) for _ in range((1 << 15) + 7))
    if kind == "F16":
        return b"".join(half(rng.gauss(0, spread)) for _ in range(1 << 16))
    out = bytearray()
    for _ in range(2048):
        if kind == "Q8_0":
            out += half(spread / 64) + rng.randbytes(32)
        elif kind == "Q4_K":
            scales = bytes(0x20 | rng.randrange(16) for _ in range(12))
            out += half(spread / 128) + half(spread / 16) + scales + rng.randbytes(128)
        elif kind == "Q6_K":
            scales = bytes(rng.randrange(16, 48) for _ in range(16))
            out += rng.randbytes(192) + scales + half(spread / 512)
    return bytes(out)


class Noise:
    """Content of the tensors: repeated patterns; norms are ones."""

    def __init__(self):
        self.rng = random.Random(1)
        self.patterns = {}

    def __call__(self, name, kind, shape, size):
        n_in = shape[-1] if len(shape) > 1 else 4096
        if len(shape) == 1 and name.endswith("weight"):
            block = struct.pack("<f", 1.0) * 1024
        else:
            if (kind, n_in) not in self.patterns:
                self.patterns[kind, n_in] = pattern(kind, self.rng, n_in)
            block = self.patterns[kind, n_in]
        for left in range(size, 0, -len(block)):
            yield block[:left]


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--size", choices=sorted(TEXT), default="2b")
    p.add_argument("--type", choices=sorted(gguf.MIXES), default="q4_k_m", help="of the text file; the mmproj is F16")
    p.add_argument("--layers", type=int, help="fewer layers of the text model than it has: for what does not fit")
    p.add_argument("--tokenizer", help="folder with vocab.json, merges.txt, tokenizer_config.json")
    p.add_argument("--out", required=True, help="folder to write to")
    a = p.parse_args()
    os.makedirs(a.out, exist_ok=True)
    text, vision = TEXT[a.size], VISION[a.size]
    name = a.size
    if a.layers:
        text.layers = a.layers
        name += f"-{a.layers}-layers"
    meta = gguf.text_meta(text, f"synthetic {name} {a.type}", a.type)
    if a.tokenizer:
        meta.update(gguf.tokenizer_meta(a.tokenizer, text.vocab))
    gguf.write(os.path.join(a.out, f"synthetic-{name}-{a.type}.gguf"), meta, gguf.text_tensors(text, a.type), Noise())
    path = os.path.join(a.out, f"mmproj-synthetic-{a.size}-f16.gguf")
    gguf.write(path, gguf.vision_meta(vision, text.dim), gguf.vision_tensors(vision, text.dim), Noise())


if __name__ == "__main__":
    main()
