# SPDX-License-Identifier: Apache-2.0
"""Batches of pictures with what the model should see in them, all of one size."""
import numpy as np
import torch

import scenes
from scenes import CLASSES, COLOUR_NAMES, FACTOR

SIZES = [(h, w) for h in range(2, 13) for w in range(2, 13) if 9 <= h * w <= 36 and max(h, w) <= 4.5 * min(h, w)]


def pick_size(rng, most_tokens):
    """Height and width of the model's view, in pixels. Squarish and large views are the more frequent, as in use."""
    sizes = [s for s in SIZES if s[0] * s[1] <= most_tokens]
    weight = np.array([(h * w) ** 2 * (min(h, w) / max(h, w)) for h, w in sizes], float)
    h, w = sizes[rng.choice(len(sizes), p=weight / weight.sum())]
    return h * FACTOR, w * FACTOR


def original_size(rng, height, width):
    """A picture size of 64 to 560 pixels a side that is resized to the view's, or the view's own."""
    for _ in range(4):
        if rng.random() < 0.5:
            break
        grow = 1.0 if height * width < 0.8 * scenes.MAX_PIXELS else rng.uniform(1, 2.6)
        h, w = (int(side * grow + rng.integers(-15, 16)) for side in (height, width))
        if min(h, w) >= 64 and max(h, w) <= 560 and tuple(scenes.view_size(h, w)) == (height, width):
            return h, w
    return height, width


def patches(pictures):
    """uint8 [n, height, width, 3] -> float [n, patches, 768] (channel, row, column), 2 x 2 blocks together."""
    n, h, w, _ = pictures.shape
    x = torch.from_numpy(pictures.astype(np.float32)).div_(127.5).sub_(1)
    x = x.view(n, h // 32, 2, 16, w // 32, 2, 16, 3).permute(0, 1, 4, 2, 5, 7, 3, 6)
    return x.reshape(n, h * w // 256, 768)


def clip_patches(frames):
    """uint8 [n, 2, height, width, 3] -> float [n, patches, 1536] (channel, frame, row, column)."""
    first, second = (patches(frames[:, i]).view(len(frames), -1, 3, 256) for i in (0, 1))
    return torch.stack((first, second), 3).flatten(2)


def cell_targets(scene, height, width):
    """What each 32 x 32 cell of the view shows: class (-1: nothing), colour, is the object's centre here, box, corners.

    box: centre relative to the cell's centre in units of 64 pixels, logarithm of the sides in units of 48 pixels;
    corners: left, top, right, bottom as shares of the view.
    """
    gh, gw = height // FACTOR, width // FACTOR
    out = np.zeros((gh, gw, 11), np.float32)
    out[..., 0] = -1
    best = np.full((gh, gw), 0.12)
    ys, xs = np.arange(gh) * FACTOR, np.arange(gw) * FACTOR
    sx, sy = width / scene.width, height / scene.height
    for t in scene.things:
        l, u, r, d = t.box[0] * sx, t.box[1] * sy, t.box[2] * sx, t.box[3] * sy
        over_x = np.clip(np.minimum(r, xs + FACTOR) - np.maximum(l, xs), 0, None)
        over_y = np.clip(np.minimum(d, ys + FACTOR) - np.maximum(u, ys), 0, None)
        share = over_y[:, None] * over_x[None] / FACTOR**2
        cy, cx = (u + d) / 2, (l + r) / 2
        share[min(int(cy // FACTOR), gh - 1), min(int(cx // FACTOR), gw - 1)] += 2
        mine = share > best
        best[mine] = share[mine]
        fill = np.stack(
            np.broadcast_arrays(
                CLASSES.index(t.name),
                COLOUR_NAMES.index(t.colour),
                share >= 2,
                (cx - xs[None] - 16) / 64 + 0 * share,
                (cy - ys[:, None] - 16) / 64 + 0 * share,
                np.log((r - l) / 48),
                np.log((d - u) / 48),
                l / width,
                u / height,
                r / width,
                d / height,
            ),
            -1,
        )
        out[mine] = fill[mine]
    return out.reshape(-1, 11)


def single_batch(rng, size, most_tokens):
    """(patches [size, n, 768], grid of patches, scenes, cell targets [size, cells, 11])."""
    height, width = pick_size(rng, most_tokens)
    made, pictures, targets = [], [], []
    for _ in range(size):
        scene = scenes.make_scene(rng, *original_size(rng, height, width))
        made.append(scene)
        pictures.append(scenes.view(scenes.draw(scene), height, width))
        targets.append(cell_targets(scene, height, width))
    return patches(np.stack(pictures)), (height // 16, width // 16), made, torch.from_numpy(np.stack(targets))
