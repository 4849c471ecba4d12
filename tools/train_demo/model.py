# SPDX-License-Identifier: Apache-2.0
"""Qwen3-VL for training, in PyTorch: module names are those of the Hugging Face checkpoint.

All sequences of a batch share one layout: a prefix with the pictures, then the questions, each of which sees the prefix
and itself. So a picture is encoded once for many questions, and gives what each question alone would give.
"""
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import nn


@dataclass
class Config:
    vocab_size: int = 1024
    dim: int = 256
    n_layers: int = 4
    n_heads: int = 32
    n_kv_heads: int = 8
    head_dim: int = 32
    ffn_dim: int = 256
    rope_theta: float = 1000.0
    mrope_section: tuple = (6, 5, 5)
    norm_eps: float = 1e-6
    vision_dim: int = 128
    vision_layers: int = 4
    vision_heads: int = 4
    vision_ffn_dim: int = 512
    deepstack: tuple = (1, 2)
    n_positions: int = 256
    patch_dim: int = 1536


class RMSNorm(nn.Module):
    def __init__(self, dim, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(dim))
        self.eps = eps

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


def rotate(x, cos, sin):
    """Rotate-half; cos and sin [..., head_dim] with the sign of the first half already in sin."""
    half = x.shape[-1] // 2
    return x * cos + torch.cat((x[..., half:], x[..., :half]), -1) * sin


def signed_tables(angles):
    """[n, head_dim / 2] -> cos, signed sin [n, head_dim]."""
    cos, sin = angles.cos(), angles.sin()
    return torch.cat((cos, cos), -1), torch.cat((-sin, sin), -1)


# ---------------------------------------------------------------------------------------------------- vision


class Patches(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.proj = nn.Conv3d(3, c.vision_dim, (2, 16, 16), (2, 16, 16))

    def forward(self, x):  # [n, patches, 1536], or 768 where both frames are the same
        weight = self.proj.weight
        weight = weight.flatten(1) if x.shape[-1] == 1536 else weight.sum(2).flatten(1)
        return F.linear(x, weight, self.proj.bias)


class VisionAttention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.n_heads, self.head_dim = c.vision_heads, c.vision_dim // c.vision_heads
        self.qkv = nn.Linear(c.vision_dim, 3 * c.vision_dim)
        self.proj = nn.Linear(c.vision_dim, c.vision_dim)

    def forward(self, x, tables):
        n, t, dim = x.shape
        qkv = self.qkv(x).view(n, t, 3, self.n_heads, self.head_dim).permute(2, 0, 3, 1, 4)
        q, k = rotate(qkv[0], *tables), rotate(qkv[1], *tables)
        probs = (q * self.head_dim**-0.5 @ k.transpose(-1, -2)).softmax(-1)
        return self.proj((probs @ qkv[2]).transpose(1, 2).reshape(n, t, dim))


class VisionMlp(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.linear_fc1 = nn.Linear(c.vision_dim, c.vision_ffn_dim)
        self.linear_fc2 = nn.Linear(c.vision_ffn_dim, c.vision_dim)

    def forward(self, x):
        return self.linear_fc2(F.gelu(self.linear_fc1(x), approximate="tanh"))


class VisionBlock(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.norm1 = nn.LayerNorm(c.vision_dim, 1e-6)
        self.norm2 = nn.LayerNorm(c.vision_dim, 1e-6)
        self.attn = VisionAttention(c)
        self.mlp = VisionMlp(c)

    def forward(self, x, tables):
        x = x + self.attn(self.norm1(x), tables)
        return x + self.mlp(self.norm2(x))


class Merger(nn.Module):
    """Four neighbouring patches become one row of the text model's width."""

    def __init__(self, c, norm_after_concat):
        super().__init__()
        wide = 4 * c.vision_dim
        self.wide = wide
        self.norm_after_concat = norm_after_concat
        self.norm = nn.LayerNorm(wide if norm_after_concat else c.vision_dim, 1e-6)
        self.linear_fc1 = nn.Linear(wide, wide)
        self.linear_fc2 = nn.Linear(wide, c.dim)

    def forward(self, x):
        if not self.norm_after_concat:
            x = self.norm(x)
        x = x.reshape(x.shape[0], -1, self.wide)
        if self.norm_after_concat:
            x = self.norm(x)
        return self.linear_fc2(F.gelu(self.linear_fc1(x)))


def block_order(grid_h, grid_w):
    """Rows and columns of the patches, 2 x 2 blocks together: two integer tensors [grid_h * grid_w]."""
    row = torch.arange(grid_h)[:, None].expand(grid_h, grid_w)
    col = torch.arange(grid_w)[None, :].expand(grid_h, grid_w)
    return tuple(p.reshape(grid_h // 2, 2, grid_w // 2, 2).permute(0, 2, 1, 3).reshape(-1) for p in (row, col))


class VisionTower(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.patch_embed = Patches(c)
        self.pos_embed = nn.Embedding(c.n_positions, c.vision_dim)
        self.blocks = nn.ModuleList(VisionBlock(c) for _ in range(c.vision_layers))
        self.merger = Merger(c, norm_after_concat=False)
        self.deepstack_merger_list = nn.ModuleList(Merger(c, norm_after_concat=True) for _ in c.deepstack)

    def positions(self, row, col, grid_h, grid_w):
        """The learned table, read between its entries, corners aligned: [patches, vision_dim]."""
        side = int(self.c.n_positions**0.5)

        def corners(i, n):
            at = i * ((side - 1) / max(n - 1, 1))
            low = at.long()
            return low, (low + 1).clamp(max=side - 1), (at - low)[:, None]

        y0, y1, dy = corners(row, grid_h)
        x0, x1, dx = corners(col, grid_w)
        e = self.pos_embed.weight
        top = (1 - dx) * e[y0 * side + x0] + dx * e[y0 * side + x1]
        low = (1 - dx) * e[y1 * side + x0] + dx * e[y1 * side + x1]
        return (1 - dy) * top + dy * low

    def forward(self, patches, grid):
        """patches [pictures, grid_h * grid_w, 1536 or 768] -> rows [pictures, tokens, dim], list of deepstack rows."""
        row, col = block_order(*grid)
        head_dim = self.c.vision_dim // self.c.vision_heads
        freq = 10000.0 ** (-torch.arange(head_dim // 4) / (head_dim / 4))
        tables = signed_tables(torch.cat((row[:, None] * freq, col[:, None] * freq), -1))
        x = self.patch_embed(patches) + self.positions(row, col, *grid)
        deep = []
        for i, block in enumerate(self.blocks):
            x = block(x, tables)
            if i in self.c.deepstack:
                deep.append(self.deepstack_merger_list[self.c.deepstack.index(i)](x))
        return self.merger(x), deep


# ---------------------------------------------------------------------------------------------------- text


@dataclass
class Layout:
    """Where things stand in the sequences of one batch.

    prefix_ids [prefix]; visual [prefix] marks picture tokens; positions [3, length]; slots: (how many, tokens each) of
    the questions after the prefix, in order.
    """

    prefix_ids: torch.Tensor
    visual: torch.Tensor
    positions: torch.Tensor
    slots: list = field(default_factory=list)


class Attention(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.q_proj = nn.Linear(c.dim, c.n_heads * c.head_dim, bias=False)
        self.k_proj = nn.Linear(c.dim, c.n_kv_heads * c.head_dim, bias=False)
        self.v_proj = nn.Linear(c.dim, c.n_kv_heads * c.head_dim, bias=False)
        self.o_proj = nn.Linear(c.n_heads * c.head_dim, c.dim, bias=False)
        self.q_norm = RMSNorm(c.head_dim, c.norm_eps)
        self.k_norm = RMSNorm(c.head_dim, c.norm_eps)

    def forward(self, x, tables, layout):
        c = self.c
        b, t, _ = x.shape
        group = c.n_heads // c.n_kv_heads
        cos, sin = (a[:, None] for a in tables)
        scale = c.head_dim**-0.5
        q = rotate(self.q_norm(self.q_proj(x).view(b, t, c.n_heads, c.head_dim)), cos * scale, sin * scale)
        k = rotate(self.k_norm(self.k_proj(x).view(b, t, c.n_kv_heads, c.head_dim)), cos, sin)
        v = self.v_proj(x).view(b, t, c.n_kv_heads, c.head_dim)
        n = len(layout.prefix_ids)
        parts = [n] + [count * size for count, size in layout.slots]
        q = q.view(b, t, c.n_kv_heads, group, c.head_dim).permute(0, 2, 3, 1, 4).split(parts, 3)  # [b, kv, group, part, d]
        k, v = (a.transpose(1, 2).split(parts, 2) for a in (k, v))  # [b, kv, part, d]
        scores = (q[0].reshape(b, -1, group * n, c.head_dim) @ k[0].transpose(-1, -2)).view(b, -1, group, n, n)
        probs = scores.add_(causal(n)).softmax(-1).view(b, -1, group * n, n)
        out = [(probs @ v[0]).view(b, -1, group, n, c.head_dim)]
        for i, slots in enumerate(layout.slots, 1):
            out.append(self.questions(q[i], k[i], v[i], k[0], v[0], slots))
        y = torch.cat(out, 3) if len(out) > 1 else out[0]
        return self.o_proj(y.permute(0, 3, 1, 2, 4).reshape(b, t, c.n_heads * c.head_dim))

    def questions(self, q, k, v, k_prefix, v_prefix, slots):
        """Each of `count` slots sees the prefix and, causally, itself: [b, kv, group, count * size, d]."""
        b, kv, group, t, d = q.shape
        (count, size), n = slots, k_prefix.shape[2]
        far = q.reshape(b, kv, group * t, d) @ k_prefix.transpose(-1, -2)
        own = q.view(b, kv, group, count, size, d).transpose(2, 3).reshape(b, kv, count, group * size, d)
        k, v = (a.reshape(b, kv, count, size, d) for a in (k, v))
        near = (own @ k.transpose(-1, -2)).view(b, kv, count, group, size, size).add_(causal(size))
        scores = torch.cat((far.view(b, kv, group, count, size, n), near.transpose(2, 3)), -1)
        far, near = scores.softmax(-1).split((n, size), -1)
        near = near.transpose(2, 3).reshape(b, kv, count, group * size, size) @ v
        near = near.view(b, kv, count, group, size, d).transpose(2, 3).reshape(b, kv, group, t, d)
        return (far.reshape(b, kv, group * t, n) @ v_prefix).view(b, kv, group, t, d) + near


def causal(n):
    return torch.full((n, n), -1e9).triu(1)


class Mlp(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.gate_proj = nn.Linear(c.dim, c.ffn_dim, bias=False)
        self.up_proj = nn.Linear(c.dim, c.ffn_dim, bias=False)
        self.down_proj = nn.Linear(c.ffn_dim, c.dim, bias=False)

    def forward(self, x):
        return self.down_proj(F.silu(self.gate_proj(x)) * self.up_proj(x))


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.input_layernorm = RMSNorm(c.dim, c.norm_eps)
        self.post_attention_layernorm = RMSNorm(c.dim, c.norm_eps)
        self.self_attn = Attention(c)
        self.mlp = Mlp(c)

    def forward(self, x, tables, layout):
        x = x + self.self_attn(self.input_layernorm(x), tables, layout)
        return x + self.mlp(self.post_attention_layernorm(x))


class TextModel(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.embed_tokens = nn.Embedding(c.vocab_size, c.dim)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.n_layers))
        self.norm = RMSNorm(c.dim, c.norm_eps)

    def tables(self, positions):
        """Interleaved M-RoPE: positions [3, n] -> cos, signed sin [n, head_dim]."""
        half = self.c.head_dim // 2
        freq = self.c.rope_theta ** (-torch.arange(half) / half)
        i = torch.arange(half)
        axis = torch.where((i % 3 == 1) & (i < 3 * self.c.mrope_section[1]), 1, 0)
        axis = torch.where((i % 3 == 2) & (i < 3 * self.c.mrope_section[2]), 2, axis)
        return signed_tables(positions[axis].T * freq)

    def forward(self, ids, layout, rows, deep):
        """ids [b, questions' tokens], rows and deep[j] [b, visual tokens, dim] -> [b, prefix + tokens, dim], twice:

        what the logits are made of, and what the last layer is given.
        """
        b = len(rows)
        visual = layout.visual.nonzero()[:, 0]
        x = torch.cat((self.embed_tokens(layout.prefix_ids).expand(b, -1, -1), self.embed_tokens(ids)), 1)
        x = x.index_copy(1, visual, rows)
        tables = self.tables(layout.positions)
        for i, layer in enumerate(self.layers):
            before = x
            x = layer(x, tables, layout)
            if i < len(deep):
                x = x.index_add(1, visual, deep[i])
        return self.norm(x), before


def smooth_positions(c, strength):
    """A first table of positions in which place can be read off linearly: without it, place is learnt very late."""
    side = int(c.n_positions**0.5)
    at = torch.linspace(-1, 1, side)
    waves = [at, (torch.pi * at).sin(), (torch.pi * at).cos(), (2 * torch.pi * at).sin(), (2 * torch.pi * at).cos()]
    waves = torch.stack(waves, 1)  # [side, 5]
    rows = (waves @ torch.randn(waves.shape[1], c.vision_dim))[:, None]
    cols = (waves @ torch.randn(waves.shape[1], c.vision_dim))[None]
    return strength * (rows + cols).reshape(side * side, c.vision_dim)


class Qwen3VL(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.c = c
        self.visual = VisionTower(c)
        self.language_model = TextModel(c)
        for name, p in self.named_parameters():
            if p.dim() > 1:
                narrow = name.endswith(("embed_tokens.weight", "pos_embed.weight"))
                nn.init.normal_(p, std=0.02 if narrow else p[0].numel() ** -0.5)
            elif name.endswith("bias"):
                nn.init.zeros_(p)
        self.visual.pos_embed.weight.data = smooth_positions(c, 0.3)
        for name, p in self.named_parameters():  # outputs of residual branches start small
            if name.endswith(("o_proj.weight", "down_proj.weight", "attn.proj.weight", "mlp.linear_fc2.weight")):
                p.data *= 0.4

    def see(self, patches, grid, b):
        """The rows and the deepstack rows of b prompts, each [b, visual tokens, dim]."""
        rows, deep = self.visual(patches, grid)
        return [r.reshape(b, -1, r.shape[-1]) for r in [rows, *deep]]

    def logits(self, hidden):
        return F.linear(hidden, self.language_model.embed_tokens.weight)
