#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes a training run as a Hugging Face folder (F16) and, with --gguf, as GGUF files beside it.

export.py RUN --out models/demo
"""
import argparse
import os
import sys

import numpy as np
import torch

import checkpoint
import quantise
import scenes
import tokenizer
from model import Config, Qwen3VL

sys.path.insert(0, os.path.join(tokenizer.HERE, ".."))
import gguf  # noqa: E402

CLIP_PIXELS = 25165824  # of all frames together: the family's bound, which a GGUF file cannot change


def config_json(c, tok):
    return {
        "architectures": ["Qwen3VLForConditionalGeneration"],
        "image_token_id": tok.added["<|image_pad|>"],
        "model_type": "qwen3_vl",
        "text_config": {
            "attention_bias": False,
            "attention_dropout": 0.0,
            "bos_token_id": tok.added["<|endoftext|>"],
            "dtype": "float16",
            "eos_token_id": tok.added["<|im_end|>"],
            "head_dim": c.head_dim,
            "hidden_act": "silu",
            "hidden_size": c.dim,
            "initializer_range": 0.02,
            "intermediate_size": c.ffn_dim,
            "max_position_embeddings": 32768,
            "model_type": "qwen3_vl_text",
            "num_attention_heads": c.n_heads,
            "num_hidden_layers": c.n_layers,
            "num_key_value_heads": c.n_kv_heads,
            "rms_norm_eps": c.norm_eps,
            "rope_scaling": {"mrope_interleaved": True, "mrope_section": list(c.mrope_section), "rope_type": "default"},
            "rope_theta": c.rope_theta,
            "tie_word_embeddings": True,
            "use_cache": True,
            "vocab_size": c.vocab_size,
        },
        "tie_word_embeddings": True,
        "transformers_version": "4.57.0",
        "video_token_id": tok.added["<|video_pad|>"],
        "vision_config": {
            "deepstack_visual_indexes": list(c.deepstack),
            "depth": c.vision_layers,
            "hidden_act": "gelu_pytorch_tanh",
            "hidden_size": c.vision_dim,
            "in_channels": 3,
            "initializer_range": 0.02,
            "intermediate_size": c.vision_ffn_dim,
            "model_type": "qwen3_vl",
            "num_heads": c.vision_heads,
            "num_position_embeddings": c.n_positions,
            "out_hidden_size": c.dim,
            "patch_size": 16,
            "spatial_merge_size": 2,
            "temporal_patch_size": 2,
        },
        "vision_end_token_id": tok.added["<|vision_end|>"],
        "vision_start_token_id": tok.added["<|vision_start|>"],
    }


def preprocessor_json(kind, shortest, longest):
    common = {
        "do_convert_rgb": True,
        "do_normalize": True,
        "do_rescale": True,
        "do_resize": True,
        "image_mean": [0.5, 0.5, 0.5],
        "image_std": [0.5, 0.5, 0.5],
        "merge_size": 2,
        "patch_size": 16,
        "resample": 3,
        "rescale_factor": 1 / 255,
        "size": {"longest_edge": longest, "shortest_edge": shortest},
        "temporal_patch_size": 2,
    }
    if kind == "image":
        return {**common, "image_processor_type": "Qwen2VLImageProcessorFast", "processor_class": "Qwen3VLProcessor"}
    frames = {"do_sample_frames": True, "fps": 2, "max_frames": 768, "min_frames": 4}
    return {**common, **frames, "video_processor_type": "Qwen3VLVideoProcessor"}


def write_folder(folder, model, tok):
    os.makedirs(folder, exist_ok=True)
    c = model.c
    end = tok.added["<|endoftext|>"]
    tokenizer.write_json(folder, "config.json", config_json(c, tok))
    tokenizer.write_json(
        folder,
        "generation_config.json",
        {
            "bos_token_id": end,
            "do_sample": False,
            "eos_token_id": [tok.added["<|im_end|>"], end],
            "pad_token_id": end,
            "transformers_version": "4.57.0",
        },
    )
    image = preprocessor_json("image", scenes.MIN_PIXELS, scenes.MAX_PIXELS)
    tokenizer.write_json(folder, "preprocessor_config.json", image)
    tokenizer.write_json(folder, "video_preprocessor_config.json", preprocessor_json("video", 4096, CLIP_PIXELS))
    tokenizer.write(folder, tok)
    tensors = {"model." + k: v.detach().numpy().astype(np.float16) for k, v in model.state_dict().items()}
    checkpoint.write_safetensors(os.path.join(folder, "model.safetensors"), dict(sorted(tensors.items())))


TEXT_NAMES = {
    "attn_norm": "input_layernorm",
    "attn_q_norm": "self_attn.q_norm",
    "attn_k_norm": "self_attn.k_norm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
VISION_NAMES = {
    "ln1": "norm1",
    "ln2": "norm2",
    "attn_qkv": "attn.qkv",
    "attn_out": "attn.proj",
    "ffn_up": "mlp.linear_fc1",
    "ffn_down": "mlp.linear_fc2",
    "norm": "norm",
    "fc1": "linear_fc1",
    "fc2": "linear_fc2",
}
SINGLE_NAMES = {
    "token_embd": "language_model.embed_tokens",
    "output_norm": "language_model.norm",
    "v.patch_embd": "visual.patch_embed.proj",
    "v.position_embd": "visual.pos_embed",
    "v.post_ln": "visual.merger.norm",
    "mm.0": "visual.merger.linear_fc1",
    "mm.2": "visual.merger.linear_fc2",
}


def model_name(name, deepstack):
    """The checkpoint's name for a GGUF tensor."""
    stem, _, ending = name.rpartition(".")
    if stem in SINGLE_NAMES:
        return f"{SINGLE_NAMES[stem]}.{ending}"
    parts = stem.split(".")
    if parts[0] == "blk":
        return f"language_model.layers.{parts[1]}.{TEXT_NAMES[parts[2]]}.{ending}"
    if parts[1] == "blk":
        return f"visual.blocks.{parts[2]}.{VISION_NAMES[parts[3]]}.{ending}"
    return f"visual.deepstack_merger_list.{deepstack.index(int(parts[2]))}.{VISION_NAMES[parts[3]]}.{ending}"


def write_gguf(folder, model, mix, vision_matrix):
    c = model.c
    stored = {k: v.detach().numpy().astype(np.float16).astype(np.float32) for k, v in model.state_dict().items()}

    def content(name, kind, shape, size):
        if name.startswith("v.patch_embd.weight"):
            x = stored["visual.patch_embed.proj.weight"][:, :, 1 if name.endswith(".1") else 0]
        else:
            x = stored[model_name(name, c.deepstack)]
        assert x.shape == tuple(shape), name
        yield quantise.KINDS[kind](np.ascontiguousarray(x))

    text = gguf.TextShape(
        c.dim, c.n_layers, c.n_heads, c.n_kv_heads, c.ffn_dim, True, c.head_dim, c.vocab_size, 32768, c.rope_theta, c.mrope_section
    )
    vision = gguf.VisionShape(
        c.vision_dim, c.vision_layers, c.vision_ffn_dim, c.deepstack, c.vision_heads, int(c.n_positions**0.5)
    )
    if mix:
        meta = gguf.text_meta(text, "demo", mix, len(c.deepstack)) | gguf.tokenizer_meta(folder, c.vocab_size)
        meta["general.sampling.temp"] = 0.0
        gguf.write(os.path.join(folder, f"demo-{mix}.gguf"), meta, gguf.text_tensors(text, mix), content)
    if vision_matrix:
        meta = gguf.vision_meta(vision, c.dim)
        meta |= {"clip.vision.image_min_pixels": scenes.MIN_PIXELS, "clip.vision.image_max_pixels": scenes.MAX_PIXELS}
        path = os.path.join(folder, f"mmproj-demo-{vision_matrix.lower()}.gguf")
        gguf.write(path, meta, gguf.vision_tensors(vision, c.dim, vision_matrix), content)


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("run", help="run or model folder")
    p.add_argument("--out", required=True)
    p.add_argument("--gguf", nargs="*", default=[], choices=sorted(gguf.MIXES), help="text files to write beside it")
    p.add_argument("--mmproj", choices=["F16", "Q8_0"], help="vision file to write beside it")
    a = p.parse_args()
    model = Qwen3VL(Config())
    if a.run == "random":
        torch.manual_seed(0)
        for q in model.parameters():
            if q.dim() < 2:
                q.data += 0.1 * torch.randn_like(q)
    else:
        checkpoint.load(a.run, model)
    write_folder(a.out, model, tokenizer.Tokenizer(tokenizer.train_merges()))
    for mix in a.gguf:
        write_gguf(a.out, model, mix, None)
    if a.mmproj:
        write_gguf(a.out, model, None, a.mmproj)


if __name__ == "__main__":
    main()
