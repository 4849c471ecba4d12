# SPDX-License-Identifier: Apache-2.0
"""Block quantisation of float arrays: Q8_0, Q4_K and Q6_K, with the scales that lose least.

Each function takes float32 [rows, columns], columns a multiple of the block, and returns the file's bytes.
"""
import numpy as np


def _half(x):
    return x.astype("<f2")


def _divide(a, b):
    return np.divide(a, b, out=np.zeros_like(a), where=b != 0)


def q8_0(x):
    """Blocks of 32: f16 scale, 32 signed bytes."""
    x = x.reshape(-1, 32)
    scale = np.abs(x).max(1, keepdims=True) / 127
    q = np.rint(_divide(x, np.broadcast_to(scale, x.shape))).astype(np.int8)
    return np.concatenate((_half(scale).view(np.uint8), q.view(np.uint8)), 1).tobytes()


def _fit_affine(x, levels):
    """Per row of x [n, k]: scale >= 0 and offset >= 0 of x ~ scale * q - offset, q in 0..levels."""
    low = np.minimum(x.min(1, keepdims=True), 0)
    high = np.maximum(x.max(1, keepdims=True), low + 1e-12)
    weight = np.abs(x) + np.sqrt(np.square(x).mean(1, keepdims=True))
    best = np.full((len(x), 1), np.inf)
    scale, offset = (high - low) / levels, -low
    for stretch in np.linspace(-1.2, 1.2, 17):
        q = np.clip(np.rint((x - low) * (levels + stretch) / (high - low)), 0, levels)
        # Weighted least squares for x ~ a q - b.
        s0, s1, s2 = (np.sum(weight * v, 1, keepdims=True) for v in (1, q, q * q))
        t0, t1 = (np.sum(weight * v, 1, keepdims=True) for v in (x, q * x))
        a = _divide(s0 * t1 - s1 * t0, s0 * s2 - s1 * s1)
        b = np.maximum(-(t0 - a * s1) / s0, 0)
        a = np.where(b > 0, a, _divide(t1, s2))
        error = np.sum(weight * (a * q - b - x) ** 2, 1, keepdims=True)
        better = (error < best) & (a > 0)
        best, scale, offset = (np.where(better, new, old) for new, old in ((error, best), (a, scale), (b, offset)))
    return scale[:, 0], offset[:, 0]


def q4_k(x):
    """Blocks of 256: f16 d and dmin, eight 6-bit pairs of scale and minimum, 4-bit values."""
    x = x.reshape(-1, 8, 32).astype(np.float64)
    scale, offset = (a.reshape(-1, 8) for a in _fit_affine(x.reshape(-1, 32), 15))
    d, dmin = (_half(a.max(1) / 63) for a in (scale, offset))
    sc, mn = (
        np.clip(np.rint(_divide(a, np.broadcast_to(s.astype(np.float64)[:, None], a.shape))), 0, 63).astype(np.uint8)
        for a, s in ((scale, d), (offset, dmin))
    )
    step = d.astype(np.float64)[:, None] * sc
    base = dmin.astype(np.float64)[:, None] * mn
    q = np.clip(np.rint(_divide(x + base[..., None], np.broadcast_to(step[..., None], x.shape))), 0, 15).astype(np.uint8)
    packed = np.empty((len(x), 12), np.uint8)
    packed[:, 0:4] = sc[:, :4] | (sc[:, 4:] >> 4) << 6
    packed[:, 4:8] = mn[:, :4] | (mn[:, 4:] >> 4) << 6
    packed[:, 8:12] = (sc[:, 4:] & 15) | (mn[:, 4:] & 15) << 4
    pairs = q.reshape(-1, 4, 2, 32)
    nibbles = (pairs[:, :, 0] | pairs[:, :, 1] << 4).reshape(-1, 128)
    head = np.stack((d, dmin), 1).view(np.uint8)
    return np.concatenate((head, packed, nibbles), 1).tobytes()


def _fit_scale(x, levels):
    """Per row of x [n, k]: signed scale of x ~ scale * q, q in -levels..levels - 1."""
    peak = np.take_along_axis(x, np.abs(x).argmax(1)[:, None], 1)
    weight = x * x
    best, scale = np.full(peak.shape, -np.inf), np.zeros_like(peak)
    for stretch in np.linspace(-0.9, 0.9, 19):
        q = np.clip(np.rint(_divide(-(levels + stretch) * x, np.broadcast_to(peak, x.shape))), -levels, levels - 1)
        cross, square = (np.sum(weight * v, 1, keepdims=True) for v in (x * q, q * q))
        gain = _divide(cross * cross, square)
        better = gain > best
        best, scale = np.where(better, gain, best), np.where(better, _divide(cross, square), scale)
    return scale[:, 0]


def q6_k(x):
    """Blocks of 256: 6-bit values (low nibbles, then pairs of high bits), sixteen signed scales, f16 d."""
    x = x.reshape(-1, 16, 16).astype(np.float64)
    scale = _fit_scale(x.reshape(-1, 16), 32).reshape(-1, 16)
    peak = np.take_along_axis(scale, np.abs(scale).argmax(1)[:, None], 1)
    d = _half(-peak / 128)
    wide = np.broadcast_to(d.astype(np.float64), scale.shape)
    sc = np.clip(np.rint(_divide(scale, wide)), -128, 127)
    step = np.broadcast_to((wide * sc)[..., None], x.shape)
    q = (np.clip(np.rint(_divide(x, step)), -32, 31) + 32).astype(np.uint8).reshape(-1, 2, 4, 32)  # half, group, value
    low, high = q & 15, q >> 4
    ql = (low[:, :, :2] | low[:, :, 2:] << 4).reshape(-1, 128)
    qh = (high[:, :, 0] | high[:, :, 1] << 2 | high[:, :, 2] << 4 | high[:, :, 3] << 6).reshape(-1, 64)
    return np.concatenate((ql, qh, sc.astype(np.int8).view(np.uint8), d.view(np.uint8)), 1).tobytes()


KINDS = {
    "F32": lambda x: x.astype("<f4").tobytes(),
    "F16": lambda x: x.astype("<f2").tobytes(),
    "Q8_0": q8_0,
    "Q4_K": q4_k,
    "Q6_K": q6_k,
}
