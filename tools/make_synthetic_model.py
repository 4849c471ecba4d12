#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a Qwen3-VL of real size with random weights, as a GGUF pair (text + mmproj).

For measuring speed and memory where no checkpoint is at hand: shapes, block formats and tensor mix are those of
the published files, the content is noise. Needs nothing but Python's standard library.

    tools/make_synthetic_model.py --size 2b --type q4_k_m --tokenizer DIR --out /tmp/2b

DIR holds vocab.json, merges.txt and tokenizer_config.json of the real tokenizer; without it the file has no
tokenizer and takes token ids only. File layout: GGUF specification, version 3.
"""
import argparse
import json
import os
import random
import struct

TEXT = {  # width, layers, heads, kv heads, feed-forward, tied
    "2b": (2048, 28, 16, 8, 6144, True),
    "4b": (2560, 36, 32, 8, 9728, True),
    "8b": (4096, 36, 32, 8, 12288, False),
}
VISION = {  # width, layers, feed-forward, deepstack after
    "2b": (1024, 24, 4096, (5, 11, 17)),
    "4b": (1024, 24, 4096, (5, 11, 17)),
    "8b": (1152, 27, 4304, (8, 16, 24)),
}
VOCAB = 151936
HEAD = 128
TYPES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q8_0": (8, 32, 34), "Q4_K": (12, 256, 144), "Q6_K": (14, 256, 210)}
ALIGN = 32


def half(x):
    return struct.pack("<e", x)


def pattern(kind, rng, n_in):
    """Some hundred KB of random blocks whose values spread about as trained weights do, 1 / sqrt(inputs)."""
    spread = n_in**-0.5
    if kind == "F32":
        return b"".join(struct.pack("<f", rng.gauss(0, spread)) for _ in range(1 << 15))
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


def gguf_string(s):
    b = s.encode()
    return struct.pack("<Q", len(b)) + b


def value(v):
    """(type id, bytes) of a metadata value."""
    if isinstance(v, bool):
        return 7, struct.pack("<?", v)
    if isinstance(v, int):
        return 4, struct.pack("<I", v)
    if isinstance(v, float):
        return 6, struct.pack("<f", v)
    if isinstance(v, str):
        return 8, gguf_string(v)
    kind, fmt = {bool: (7, "<?"), int: (5, "<i"), float: (6, "<f"), str: (8, None)}[type(v[0])]
    body = b"".join(struct.pack(fmt, x) if fmt else gguf_string(x) for x in v)
    return 9, struct.pack("<IQ", kind, len(v)) + body


def write_gguf(path, meta, tensors):
    """tensors: (name, type, shape outermost first)."""
    rng = random.Random(1)
    head = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(meta)))
    for key, v in meta.items():
        kind, body = value(v)
        head += gguf_string(key) + struct.pack("<I", kind) + body
    offset = 0
    sizes = []
    for name, kind, shape in tensors:
        type_id, per_block, block_bytes = TYPES[kind]
        n = 1
        for d in shape:
            n *= d
        size = n // per_block * block_bytes
        head += gguf_string(name) + struct.pack("<I", len(shape))
        head += b"".join(struct.pack("<Q", d) for d in reversed(shape)) + struct.pack("<IQ", type_id, offset)
        sizes.append(size)
        offset += (size + ALIGN - 1) // ALIGN * ALIGN
    patterns = {}
    with open(path, "wb") as f:
        f.write(head + b"\0" * (-len(head) % ALIGN))
        for (name, kind, shape), size in zip(tensors, sizes):
            is_norm = len(shape) == 1 and name.endswith("weight")
            n_in = shape[-1] if len(shape) > 1 else 4096
            if is_norm:
                block = struct.pack("<f", 1.0) * 1024
            else:
                if (kind, n_in) not in patterns:
                    patterns[kind, n_in] = pattern(kind, rng, n_in)
                block = patterns[kind, n_in]
            left = size
            while left > 0:
                f.write(block[:left])
                left -= len(block)
            f.write(b"\0" * (-size % ALIGN))
    print(f"{path}: {os.path.getsize(path) / 1e9:.2f} GB, {len(tensors)} tensors")


def tokenizer_meta(folder):
    def read(name):
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            return f.read()

    tokens = [f"[PAD{i}]" for i in range(VOCAB)]
    kinds = [5] * VOCAB
    for text, i in json.loads(read("vocab.json")).items():
        tokens[i], kinds[i] = text, 1
    for i, entry in json.loads(read("tokenizer_config.json"))["added_tokens_decoder"].items():
        tokens[int(i)], kinds[int(i)] = entry["content"], 3 if entry["special"] else 4
    merges = [line for line in read("merges.txt").split("\n") if line and not line.startswith("#version")]
    return {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.eos_token_id": 151645,
        "tokenizer.ggml.add_bos_token": False,
    }


def more_bits(i, n):
    """The layers whose attn_v and ffn_down the Q4_K_M recipe keeps in Q6_K."""
    return i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2


def text_tensors(size, kind):
    dim, layers, heads, kv, ffn, tied = TEXT[size]
    low, high = {"q8_0": ("Q8_0", "Q8_0"), "f16": ("F16", "F16"), "q4_k_m": ("Q4_K", "Q6_K")}[kind]
    out = [("token_embd.weight", high if tied else low, (VOCAB, dim)), ("output_norm.weight", "F32", (dim,))]
    if not tied:
        out.append(("output.weight", high, (VOCAB, dim)))
    for i in range(layers):
        best = high if more_bits(i, layers) else low
        layer = [
            ("attn_norm", "F32", (dim,)),
            ("attn_q_norm", "F32", (HEAD,)),
            ("attn_k_norm", "F32", (HEAD,)),
            ("attn_q", low, (heads * HEAD, dim)),
            ("attn_k", low, (kv * HEAD, dim)),
            ("attn_v", best, (kv * HEAD, dim)),
            ("attn_output", low, (dim, heads * HEAD)),
            ("ffn_norm", "F32", (dim,)),
            ("ffn_gate", low, (ffn, dim)),
            ("ffn_up", low, (ffn, dim)),
            ("ffn_down", best, (dim, ffn)),
        ]
        out += [(f"blk.{i}.{name}.weight", t, shape) for name, t, shape in layer]
    return out


def vision_tensors(size):
    dim, layers, ffn, deep = VISION[size]
    out_dim = TEXT[size][0]

    def linear(name, rows, cols):
        return [(name + ".weight", "F16", (rows, cols)), (name + ".bias", "F32", (rows,))]

    def norm(name, n):
        return [(name + ".weight", "F32", (n,)), (name + ".bias", "F32", (n,))]

    out = [
        ("v.patch_embd.weight", "F16", (dim, 3, 16, 16)),
        ("v.patch_embd.weight.1", "F16", (dim, 3, 16, 16)),
        ("v.patch_embd.bias", "F32", (dim,)),
        ("v.position_embd.weight", "F32", (2304, dim)),
    ] + norm("v.post_ln", dim)
    for i in range(layers):
        b = f"v.blk.{i}."
        out += norm(b + "ln1", dim) + linear(b + "attn_qkv", 3 * dim, dim) + linear(b + "attn_out", dim, dim)
        out += norm(b + "ln2", dim) + linear(b + "ffn_up", ffn, dim) + linear(b + "ffn_down", dim, ffn)
    for d in deep:
        b = f"v.deepstack.{d}."
        out += norm(b + "norm", 4 * dim) + linear(b + "fc1", 4 * dim, 4 * dim) + linear(b + "fc2", out_dim, 4 * dim)
    return out + linear("mm.0", 4 * dim, 4 * dim) + linear("mm.2", out_dim, 4 * dim)


def text_meta(size, kind):
    dim, layers, heads, kv, ffn, _ = TEXT[size]
    return {
        "general.architecture": "qwen3vl",
        "general.type": "model",
        "general.name": f"synthetic {size} {kind}",
        "qwen3vl.block_count": layers,
        "qwen3vl.context_length": 262144,
        "qwen3vl.embedding_length": dim,
        "qwen3vl.feed_forward_length": ffn,
        "qwen3vl.attention.head_count": heads,
        "qwen3vl.attention.head_count_kv": kv,
        "qwen3vl.attention.key_length": HEAD,
        "qwen3vl.attention.value_length": HEAD,
        "qwen3vl.attention.layer_norm_rms_epsilon": 1e-6,
        "qwen3vl.rope.freq_base": 5e6,
        "qwen3vl.rope.dimension_sections": [24, 20, 20, 0],
        "qwen3vl.n_deepstack_layers": 3,
    }


def vision_meta(size):
    dim, layers, ffn, deep = VISION[size]
    return {
        "general.architecture": "clip",
        "general.type": "mmproj",
        "clip.projector_type": "qwen3vl_merger",
        "clip.has_vision_encoder": True,
        "clip.use_gelu": True,
        "clip.vision.image_size": 768,
        "clip.vision.patch_size": 16,
        "clip.vision.embedding_length": dim,
        "clip.vision.feed_forward_length": ffn,
        "clip.vision.block_count": layers,
        "clip.vision.attention.head_count": 16,
        "clip.vision.projection_dim": TEXT[size][0],
        "clip.vision.attention.layer_norm_epsilon": 1e-6,
        "clip.vision.spatial_merge_size": 2,
        "clip.vision.image_mean": [0.5, 0.5, 0.5],
        "clip.vision.image_std": [0.5, 0.5, 0.5],
        "clip.vision.is_deepstack_layers": [i in deep for i in range(layers)],
    }


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--size", choices=sorted(TEXT), default="2b")
    p.add_argument("--type", choices=["q4_k_m", "q8_0", "f16"], default="q4_k_m", help="of the text file; the mmproj is F16")
    p.add_argument("--tokenizer", help="folder with vocab.json, merges.txt, tokenizer_config.json")
    p.add_argument("--out", required=True, help="folder to write to")
    a = p.parse_args()
    os.makedirs(a.out, exist_ok=True)
    meta = text_meta(a.size, a.type)
    if a.tokenizer:
        meta.update(tokenizer_meta(a.tokenizer))
    write_gguf(os.path.join(a.out, f"synthetic-{a.size}-{a.type}.gguf"), meta, text_tensors(a.size, a.type))
    write_gguf(os.path.join(a.out, f"mmproj-synthetic-{a.size}-f16.gguf"), vision_meta(a.size), vision_tensors(a.size))


if __name__ == "__main__":
    main()
