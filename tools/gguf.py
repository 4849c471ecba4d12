# SPDX-License-Identifier: Apache-2.0
"""Writes GGUF version 3 files, and says which tensors and metadata a Qwen3-VL pair (text + mmproj) consists of.

Needs nothing but Python's standard library.
"""
import json
import math
import os
import struct
from dataclasses import dataclass

TYPES = {"F32": (0, 1, 4), "F16": (1, 1, 2), "Q8_0": (8, 32, 34), "Q4_K": (12, 256, 144), "Q6_K": (14, 256, 210)}
MIXES = {"f16": ("F16", "F16"), "q8_0": ("Q8_0", "Q8_0"), "q4_k_m": ("Q4_K", "Q6_K")}  # most matrices, the better ones
FILE_TYPES = {"f16": 1, "q8_0": 7, "q4_k_m": 15}
ALIGN = 32


@dataclass
class TextShape:
    dim: int
    layers: int
    heads: int
    kv_heads: int
    ffn: int  # of one expert, where there are experts
    tied: bool
    experts: int = 0
    experts_used: int = 0
    head_dim: int = 128
    vocab: int = 151936
    context: int = 262144
    rope_theta: float = 5e6
    sections: tuple = (24, 20, 20)


@dataclass
class VisionShape:
    dim: int
    layers: int
    ffn: int
    deepstack: tuple  # the blocks after which rows are handed to the text model
    heads: int = 16
    side: int = 48  # of the square table of learned positions


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


def write(path, meta, tensors, content):
    """tensors: (name, type, shape outermost first); content(name, type, shape, bytes) yields the pieces of each."""
    head = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(tensors), len(meta)))
    for key, v in meta.items():
        kind, body = value(v)
        head += gguf_string(key) + struct.pack("<I", kind) + body
    offset = 0
    sizes = []
    for name, kind, shape in tensors:
        type_id, per_block, block_bytes = TYPES[kind]
        size = math.prod(shape) // per_block * block_bytes
        head += gguf_string(name) + struct.pack("<I", len(shape))
        head += b"".join(struct.pack("<Q", d) for d in reversed(shape)) + struct.pack("<IQ", type_id, offset)
        sizes.append(size)
        offset += (size + ALIGN - 1) // ALIGN * ALIGN
    with open(path, "wb") as f:
        f.write(head + b"\0" * (-len(head) % ALIGN))
        for (name, kind, shape), size in zip(tensors, sizes):
            start = f.tell()
            for piece in content(name, kind, shape, size):
                f.write(piece)
            assert f.tell() - start == size, f"{name}: {f.tell() - start} bytes, want {size}"
            f.write(b"\0" * (-size % ALIGN))
    print(f"{path}: {os.path.getsize(path) / 1e6:.1f} MB, {len(tensors)} tensors")


def tokenizer_meta(folder, vocab_size):
    """From vocab.json, merges.txt and tokenizer_config.json."""

    def read(name):
        with open(os.path.join(folder, name), encoding="utf-8") as f:
            return f.read()

    tokens = [f"[PAD{i}]" for i in range(vocab_size)]
    kinds = [5] * vocab_size
    for text, i in json.loads(read("vocab.json")).items():
        tokens[i], kinds[i] = text, 1
    config = json.loads(read("tokenizer_config.json"))
    ids = {}
    for i, entry in config["added_tokens_decoder"].items():
        tokens[int(i)], kinds[int(i)] = entry["content"], 3 if entry["special"] else 4
        ids[entry["content"]] = int(i)
    merges = [line for line in read("merges.txt").split("\n") if line and not line.startswith("#version")]
    meta = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": "qwen2",
        "tokenizer.ggml.tokens": tokens,
        "tokenizer.ggml.token_type": kinds,
        "tokenizer.ggml.merges": merges,
        "tokenizer.ggml.eos_token_id": ids["<|im_end|>"],
        "tokenizer.ggml.padding_token_id": ids["<|endoftext|>"],
        "tokenizer.ggml.add_bos_token": False,
    }
    if "chat_template" in config:
        meta["tokenizer.chat_template"] = config["chat_template"]
    return meta


def more_bits(i, n):
    """The layers whose attn_v and ffn_down the Q4_K_M recipe keeps in Q6_K."""
    return i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2


def text_tensors(t, mix):
    low, high = MIXES[mix]
    out = [("token_embd.weight", high if t.tied else low, (t.vocab, t.dim)), ("output_norm.weight", "F32", (t.dim,))]
    if not t.tied:
        out.append(("output.weight", high, (t.vocab, t.dim)))
    for i in range(t.layers):
        best = high if more_bits(i, t.layers) else low
        layer = [
            ("attn_norm", "F32", (t.dim,)),
            ("attn_q_norm", "F32", (t.head_dim,)),
            ("attn_k_norm", "F32", (t.head_dim,)),
            ("attn_q", low, (t.heads * t.head_dim, t.dim)),
            ("attn_k", low, (t.kv_heads * t.head_dim, t.dim)),
            ("attn_v", best, (t.kv_heads * t.head_dim, t.dim)),
            ("attn_output", low, (t.dim, t.heads * t.head_dim)),
            ("ffn_norm", "F32", (t.dim,)),
        ]
        if t.experts:
            layer += [
                ("ffn_gate_inp", "F32", (t.experts, t.dim)),
                ("ffn_gate_exps", low, (t.experts, t.ffn, t.dim)),
                ("ffn_up_exps", low, (t.experts, t.ffn, t.dim)),
                ("ffn_down_exps", best, (t.experts, t.dim, t.ffn)),
            ]
        else:
            layer += [
                ("ffn_gate", low, (t.ffn, t.dim)),
                ("ffn_up", low, (t.ffn, t.dim)),
                ("ffn_down", best, (t.dim, t.ffn)),
            ]
        out += [(f"blk.{i}.{name}.weight", kind, shape) for name, kind, shape in layer]
    return out


def vision_tensors(v, out_dim, matrix="F16"):
    def linear(name, rows, cols):
        return [(name + ".weight", matrix, (rows, cols)), (name + ".bias", "F32", (rows,))]

    def norm(name, n):
        return [(name + ".weight", "F32", (n,)), (name + ".bias", "F32", (n,))]

    out = [
        ("v.patch_embd.weight", "F16", (v.dim, 3, 16, 16)),
        ("v.patch_embd.weight.1", "F16", (v.dim, 3, 16, 16)),
        ("v.patch_embd.bias", "F32", (v.dim,)),
        ("v.position_embd.weight", "F32", (v.side**2, v.dim)),
    ] + norm("v.post_ln", v.dim)
    for i in range(v.layers):
        b = f"v.blk.{i}."
        out += norm(b + "ln1", v.dim) + linear(b + "attn_qkv", 3 * v.dim, v.dim) + linear(b + "attn_out", v.dim, v.dim)
        out += norm(b + "ln2", v.dim) + linear(b + "ffn_up", v.ffn, v.dim) + linear(b + "ffn_down", v.dim, v.ffn)
    for d in v.deepstack:
        b = f"v.deepstack.{d}."
        out += norm(b + "norm", 4 * v.dim) + linear(b + "fc1", 4 * v.dim, 4 * v.dim) + linear(b + "fc2", out_dim, 4 * v.dim)
    return out + linear("mm.0", 4 * v.dim, 4 * v.dim) + linear("mm.2", out_dim, 4 * v.dim)


def text_meta(t, name, mix, n_deepstack=3):
    arch = "qwen3vlmoe" if t.experts else "qwen3vl"
    meta = {
        "general.architecture": arch,
        "general.type": "model",
        "general.name": name,
        "general.file_type": FILE_TYPES[mix],
        "general.quantization_version": 2,
    }
    own = {
        "block_count": t.layers,
        "context_length": t.context,
        "embedding_length": t.dim,
        "feed_forward_length": t.ffn,
        "attention.head_count": t.heads,
        "attention.head_count_kv": t.kv_heads,
        "attention.key_length": t.head_dim,
        "attention.value_length": t.head_dim,
        "attention.layer_norm_rms_epsilon": 1e-6,
        "rope.freq_base": t.rope_theta,
        "rope.dimension_sections": [*t.sections, 0],
        "n_deepstack_layers": n_deepstack,
    }
    if t.experts:
        own |= {"expert_count": t.experts, "expert_used_count": t.experts_used, "expert_feed_forward_length": t.ffn}
    return meta | {f"{arch}.{key}": v for key, v in own.items()}


def vision_meta(v, out_dim):
    return {
        "general.architecture": "clip",
        "general.type": "mmproj",
        "clip.projector_type": "qwen3vl_merger",
        "clip.has_vision_encoder": True,
        "clip.use_gelu": True,
        "clip.vision.image_size": 16 * v.side,
        "clip.vision.patch_size": 16,
        "clip.vision.spatial_merge_size": 2,
        "clip.vision.embedding_length": v.dim,
        "clip.vision.feed_forward_length": v.ffn,
        "clip.vision.block_count": v.layers,
        "clip.vision.attention.head_count": v.heads,
        "clip.vision.projection_dim": out_dim,
        "clip.vision.attention.layer_norm_epsilon": 1e-6,
        "clip.vision.image_mean": [0.5, 0.5, 0.5],
        "clip.vision.image_std": [0.5, 0.5, 0.5],
        "clip.vision.is_deepstack_layers": [i in v.deepstack for i in range(v.layers)],
    }
