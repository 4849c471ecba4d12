# SPDX-License-Identifier: Apache-2.0
"""Weights of a training run (checkpoint.pt) and of a Hugging Face folder (model.safetensors)."""
import json
import os
import struct

import numpy as np
import torch

DTYPES = {"F32": np.float32, "F16": np.float16, "I32": np.int32}


def save(folder, model, heads):
    path = os.path.join(folder, "checkpoint.pt")
    torch.save({"model": model.state_dict(), "heads": heads.state_dict()}, path + ".new")
    os.replace(path + ".new", path)


def load(folder, model, heads=None):
    """From a run, or from a model folder, which has no heads: they start anew."""
    path = os.path.join(folder, "checkpoint.pt")
    if os.path.exists(path):
        stored = torch.load(path)
        model.load_state_dict(stored["model"])
        if heads is not None:
            heads.load_state_dict(stored["heads"])
        return
    tensors = read_safetensors(os.path.join(folder, "model.safetensors"))
    model.load_state_dict({k[len("model.") :]: torch.from_numpy(v.astype(np.float32)) for k, v in tensors.items()})


def read_safetensors(path):
    with open(path, "rb") as f:
        (size,) = struct.unpack("<Q", f.read(8))
        header, data = json.loads(f.read(size)), f.read()
    return {
        name: np.frombuffer(data[t["data_offsets"][0] : t["data_offsets"][1]], DTYPES[t["dtype"]]).reshape(t["shape"])
        for name, t in header.items()
        if name != "__metadata__"
    }


def write_safetensors(path, tensors):
    """tensors: name -> float16 or float32 array."""
    kinds = {np.dtype(v): k for k, v in DTYPES.items()}
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, value in tensors.items():
        header[name] = {"dtype": kinds[value.dtype], "shape": list(value.shape), "data_offsets": [at, at + value.nbytes]}
        at += value.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for value in tensors.values():
            f.write(np.ascontiguousarray(value).tobytes())
