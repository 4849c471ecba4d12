# SPDX-License-Identifier: Apache-2.0
"""Scenes of the demo model: one to four coloured objects on a noisy background, drawn from a seed.

A scene is what is in the picture; `draw` makes the picture. Lengths are in pixels of the picture as drawn. The seed
ranges of training, validation and test do not meet (`SPLITS`).
"""
import functools
import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SPLITS = {"train": 0, "validation": 1 << 40, "test": 1 << 41}  # first seed of each

SHAPES = ["circle", "square", "triangle", "star"]
DIGITS = list("0123456789")
LETTERS = list("ABCDEFGHJKLMNPQRSTUVWXYZ")  # I and O look like the digits 1 and 0
WORDS = ["CAT", "DOG", "SUN", "CAR", "BUS", "HAT", "TREE", "FISH"]
CLASSES = SHAPES + DIGITS + LETTERS + WORDS
COLOURS = {
    "red": (214, 32, 36),
    "green": (34, 150, 56),
    "blue": (36, 72, 214),
    "yellow": (244, 222, 30),
    "orange": (250, 134, 18),
    "purple": (136, 42, 176),
    "white": (250, 250, 250),
    "black": (10, 10, 12),
}
COLOUR_NAMES = list(COLOURS)

# Sizes of the model's view: a picture is resized to multiples of 32 with this many pixels in all.
FACTOR = 32
MIN_PIXELS = 9 * FACTOR * FACTOR
MAX_PIXELS = 36 * FACTOR * FACTOR
FONT = "/usr/share/fonts/truetype/dejavu/DejaVuSans-Bold.ttf"


@dataclass(frozen=True)
class Thing:
    """One object; the box is left, top, right, bottom."""

    name: str  # of CLASSES
    colour: str
    box: tuple

    @property
    def kind(self):
        if self.name in SHAPES:
            return "shape"
        if self.name in DIGITS:
            return "digit"
        return "letter" if self.name in LETTERS else "word"

    @property
    def noun(self):
        return self.name if self.kind == "shape" else f"{self.kind} {self.name}"

    @property
    def centre(self):
        left, top, right, bottom = self.box
        return (left + right) / 2, (top + bottom) / 2


@dataclass(frozen=True)
class Scene:
    width: int
    height: int
    things: tuple
    seed: int  # of background, noise and shades


def view_size(height, width, low=MIN_PIXELS, high=MAX_PIXELS):
    """(height, width) that the model sees: the family's rule of resizing, ties to even."""
    h, w = round(height / FACTOR) * FACTOR, round(width / FACTOR) * FACTOR
    if h * w > high:
        b = math.sqrt(height * width / high)
        return tuple(max(FACTOR, math.floor(x / b / FACTOR) * FACTOR) for x in (height, width))
    if h * w < low:
        b = math.sqrt(low / (height * width))
        return tuple(math.ceil(x * b / FACTOR) * FACTOR for x in (height, width))
    return h, w


def pick_class(rng):
    p = rng.random()
    if p < 0.55:
        return SHAPES[rng.integers(len(SHAPES))]
    if p < 0.80:
        return DIGITS[rng.integers(len(DIGITS))]
    pool = LETTERS if p < 0.92 else WORDS
    return pool[rng.integers(len(pool))]


def thing_size(name, size):
    """Width and height of an object of the given nominal size."""
    if name in SHAPES:
        return size, size
    mask = glyphs(name)
    if name in WORDS:
        height = max(0.55 * size, 22)
        return height * mask.width / mask.height, height
    return size * mask.width / mask.height, size


def place(rng, things, name, width, height, scale):
    """A free box for an object, or None after some tries. scale: picture pixels per pixel of the model's view."""
    for _ in range(12):
        w, h = thing_size(name, rng.uniform(28, 76) if name in SHAPES else rng.uniform(32, 76))
        w, h = w * scale[0], h * scale[1]
        if w > width - 4 or h > height - 4:
            continue
        x, y = rng.uniform(2, width - w - 2), rng.uniform(2, height - h - 2)
        box = (x, y, x + w, y + h)
        gap_x, gap_y = 4 * scale[0], 4 * scale[1]
        if all(
            box[2] + gap_x < t.box[0] or t.box[2] + gap_x < box[0] or box[3] + gap_y < t.box[1] or t.box[3] + gap_y < box[1]
            for t in things
        ):
            return box
    return None


def make_scene(rng, height, width, most=4):
    """Up to `most` objects, fewer where the picture is small; some share their class or colour."""
    view_h, view_w = view_size(height, width)
    scale = (width / view_w, height / view_h)
    want = int(rng.integers(1, min(most, 1 + view_h * view_w // 7500) + 1))
    things = []
    while len(things) < want:
        name, colour = pick_class(rng), COLOUR_NAMES[rng.integers(len(COLOUR_NAMES))]
        if things and rng.random() < 0.25:
            name = things[rng.integers(len(things))].name
        if any(t.name == name and t.colour == colour for t in things):
            continue
        box = place(rng, things, name, width, height, scale)
        if box is None:
            if things:
                break
            continue
        things.append(Thing(name, colour, box))
    return Scene(width, height, tuple(things), int(rng.integers(1 << 62)))


@functools.lru_cache(maxsize=None)
def glyphs(text):
    """Mask of a text, 96 pixels high letters, cropped to its ink."""
    font = ImageFont.truetype(FONT, 128)
    left, top, right, bottom = font.getbbox(text)
    mask = Image.new("L", (right - left, bottom - top), 0)
    ImageDraw.Draw(mask).text((-left, -top), text, fill=255, font=font)
    return mask.crop(mask.getbbox())


@functools.lru_cache(maxsize=None)
def outline(name):
    """Mask of a shape, 192 x 192."""
    n = 192
    mask = Image.new("L", (n, n), 0)
    pen = ImageDraw.Draw(mask)
    if name == "circle":
        pen.ellipse((0, 0, n - 1, n - 1), fill=255)
    elif name == "square":
        pen.rectangle((0, 0, n, n), fill=255)
    elif name == "triangle":
        pen.polygon([(n / 2, 0), (n - 1, n - 1), (0, n - 1)], fill=255)
    else:
        turn = [math.pi * (i / 5 - 0.5) for i in range(10)]
        points = [(math.cos(a) * r, math.sin(a) * r) for i, a in enumerate(turn) for r in [0.42 if i % 2 else 1]]
        xs, ys = zip(*points)
        pen.polygon(
            [((x - min(xs)) / (max(xs) - min(xs)) * (n - 1), (y - min(ys)) / (max(ys) - min(ys)) * (n - 1)) for x, y in points],
            fill=255,
        )
    return mask


def background(rng, height, width, avoid):
    """A grey to softly tinted gradient, far enough in brightness or hue from the objects' colours."""
    while True:
        base = rng.uniform(50, 215) + rng.uniform(-22, 22, 3)
        if all(np.abs(base - c).max() > 62 for c in avoid):
            break
    slope = rng.uniform(-26, 26, (2, 1)) + rng.uniform(-8, 8, (2, 3))
    y = np.linspace(-0.5, 0.5, height, dtype=np.float32)[:, None, None]
    x = np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :, None]
    return (base + y * slope[0] + x * slope[1]).astype(np.float32)


def draw(scene):
    """The picture, uint8 [height, width, 3]."""
    rng = np.random.default_rng(scene.seed)
    shades = [np.clip(np.array(COLOURS[t.colour]) + rng.uniform(-14, 14, 3), 0, 255) for t in scene.things]
    picture = background(rng, scene.height, scene.width, shades)
    for thing, shade in zip(scene.things, shades):
        left, top, right, bottom = (round(v) for v in thing.box)
        mask = outline(thing.name) if thing.kind == "shape" else glyphs(thing.name)
        size = (max(right - left, 1), max(bottom - top, 1))
        cover = np.asarray(mask.resize(size, Image.BILINEAR), np.float32)[..., None] / 255
        part = picture[top : top + size[1], left : left + size[0]]
        part += (shade.astype(np.float32) - part) * cover[: part.shape[0], : part.shape[1]]
    noise = rng.standard_normal((scene.height, scene.width, 1), np.float32) * np.float32(rng.uniform(0, 11))
    return np.clip(picture + noise, 0, 255).astype(np.uint8)


def view(picture, height, width):
    """The picture as the model sees it, resized as the engine does."""
    if picture.shape[:2] == (height, width):
        return picture
    return np.asarray(Image.fromarray(picture).resize((width, height), Image.BICUBIC))


def change(rng, scene):
    """(second scene, what happened): one object gets another colour, goes away, or comes."""
    things = list(scene.things)
    what = ["colour", "removed", "added"][rng.integers(3)]
    if what == "removed" and len(things) > 1:
        gone = things.pop(rng.integers(len(things)))
        return replace(scene, things=tuple(things)), ("removed", gone, None)
    if what == "added":
        view_h, view_w = view_size(scene.height, scene.width)
        name, colour = pick_class(rng), COLOUR_NAMES[rng.integers(len(COLOUR_NAMES))]
        box = place(rng, things, name, scene.width, scene.height, (scene.width / view_w, scene.height / view_h))
        if box and not any(t.name == name and t.colour == colour for t in things):
            new = Thing(name, colour, box)
            return replace(scene, things=tuple(things + [new])), ("added", new, None)
    i = rng.integers(len(things))
    others = [c for c in COLOUR_NAMES if not any(t.name == things[i].name and t.colour == c for t in things)]
    old = things[i]
    things[i] = replace(old, colour=others[rng.integers(len(others))])
    return replace(scene, things=tuple(things)), ("colour", old, things[i])


def clip(rng, height, width, n_frames=4):
    """(frames, object, direction): one object moves across a still background."""
    while True:
        scene = make_scene(rng, height, width, most=1)
        thing = scene.things[0]
        left, top, right, bottom = thing.box
        way = ["left", "right", "up", "down"][rng.integers(4)]
        axis = 0 if way in ("left", "right") else 1
        room = (width if axis == 0 else height) - (right - left if axis == 0 else bottom - top) - 4
        if room < 24:
            continue
        travel = rng.uniform(max(24, 0.4 * room), room)
        start = 2 + rng.uniform(0, room - travel)
        steps = [start + travel * i / (n_frames - 1) for i in range(n_frames)]
        if way in ("left", "up"):
            steps.reverse()
        frames = []
        for s in steps:
            box = (s, top, s + right - left, bottom) if axis == 0 else (left, s, right, s + bottom - top)
            frames.append(replace(scene, things=(replace(thing, box=box),)))
        return frames, thing, way
