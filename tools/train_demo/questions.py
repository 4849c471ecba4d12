# SPDX-License-Identifier: Apache-2.0
"""Questions about scenes, with their only right answers.

Each maker returns (question, answer, gaze) or None where the scene gives no clear case. Answers are short and in one
form, so that an exact comparison judges them; boxes have the form and the 0 to 1000 scale of Qwen3-VL. The gaze says where
the answer is to be seen: the corners of up to two objects, as shares of the picture; for a description a list with those
of each object in turn, and the number of characters of the answer up to its name's end.
"""
import json
from collections import Counter

from scenes import COLOUR_NAMES, DIGITS, LETTERS, SHAPES, WORDS

SINGLE = ["colour", "shape", "count", "present", "relation", "read", "describe", "box"]
PAIR = ["which", "changed"]
CLIP = ["motion"]
MARGIN = 0.08  # of the picture's side: nearer centres count as neither left nor right


def one_of(rng, options):
    return options[int(rng.integers(len(options)))]


def article(phrase):
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def full(thing):
    return f"{thing.colour} {thing.noun}"


def short_name(thing, things):
    """The shortest name that fits this object alone, or None."""
    if thing.kind != "shape" and sum(t.kind == thing.kind for t in things) == 1:
        return thing.kind
    if sum(t.name == thing.name for t in things) == 1:
        return thing.noun
    return None


def corners(thing, scene):
    left, top, right, bottom = thing.box
    return left / scene.width, top / scene.height, right / scene.width, bottom / scene.height


def colour(rng, scene):
    named = [(t, short_name(t, scene.things)) for t in scene.things]
    named = [(t, n) for t, n in named if n]
    if not named:
        return None
    thing, name = one_of(rng, named)
    ask = one_of(
        rng,
        ["What colour is the {}?", "What color is the {}?", "Which colour does the {} have?", "What is the colour of the {}?", "Tell me the colour of the {}."],
    )
    return ask.format(name), thing.colour, (corners(thing, scene),)


def shape(rng, scene):
    colours = Counter(t.colour for t in scene.things)
    clear = [t for t in scene.things if colours[t.colour] == 1]
    if not clear:
        return None
    thing = one_of(rng, clear)
    asks = ["What is {}?", "What is the {} object?", "Which object is {}?"]
    if thing.kind == "shape":
        asks += ["What shape is the {} object?", "Which shape is {}?"]
    return one_of(rng, asks).format(thing.colour), thing.noun, (corners(thing, scene),)


def count(rng, scene):
    ask = one_of(rng, ["How many {} are there?", "How many {} do you see?", "Count the {}.", "How many {} are in the picture?"])
    pick = rng.random()
    if pick < 0.5:
        return ask.format("objects"), str(len(scene.things)), ()
    near = pick < 0.9  # most questions are about something that is there
    thing = one_of(rng, scene.things)
    if pick < 0.7:
        hue = thing.colour if near else one_of(rng, COLOUR_NAMES)
        return ask.format(f"{hue} objects"), str(sum(t.colour == hue for t in scene.things)), ()
    if thing.kind == "shape" or not near:
        name = thing.name if near and thing.kind == "shape" else one_of(rng, SHAPES)
        return ask.format(name + "s"), str(sum(t.name == name for t in scene.things)), ()
    return ask.format(thing.kind + "s"), str(sum(t.kind == thing.kind for t in scene.things)), ()


def present(rng, scene):
    things = scene.things
    truth = bool(rng.integers(2))
    style = int(rng.integers(4))
    thing = one_of(rng, things)
    if style == 0:
        have = {t.name for t in things}
        name = thing.noun if truth else one_of(rng, [s for s in SHAPES if s not in have] or ["digit 0"])
        truth = truth or name == "digit 0" and "0" in have
    elif style == 1:
        have = {t.colour for t in things}
        name = f"{thing.colour if truth else one_of(rng, [c for c in COLOUR_NAMES if c not in have])} object"
    else:
        have = {full(t) for t in things}
        name = full(thing)
        if not truth:  # right in one half, wrong in the other
            if style == 2:
                name = f"{one_of(rng, COLOUR_NAMES)} {thing.noun}"
            else:
                name = f"{thing.colour} {one_of(rng, SHAPES)}"
            truth = name in have
    ask = one_of(rng, ["Is there {}?", "Do you see {}?", "Is {} in the picture?", "Can you see {}?"])
    return ask.format(article(name)), "yes" if truth else "no", ()


def _offsets(scene, a, b):
    return (b.centre[0] - a.centre[0]) / scene.width, (b.centre[1] - a.centre[1]) / scene.height


def relation(rng, scene):
    things = scene.things
    if len(things) < 2:
        return None
    a = one_of(rng, things)
    axis = int(rng.integers(2))
    words = [("left of", "right of"), ("above", "below")][axis]
    if rng.random() < 0.5:
        side = int(rng.integers(2))
        gaps = [(t, _offsets(scene, a, t)[axis]) for t in things if t is not a]
        if any(abs(g) < MARGIN for _, g in gaps):
            return None
        there = [t for t, g in gaps if (g > 0) == bool(side)]
        if len(there) > 1:
            return None
        ask = one_of(rng, ["What is {} the {}?", "Which object is {} the {}?", "What do you see {} the {}?"])
        found = there[0] if there else None
        return ask.format(words[side], full(a)), full(found) if found else "nothing", tuple(corners(t, scene) for t in (a, found) if t)
    b = one_of(rng, [t for t in things if t is not a])
    gap = _offsets(scene, b, a)[axis]
    if abs(gap) < MARGIN:
        return None
    side = int(gap > 0)
    gaze = (corners(a, scene), corners(b, scene))
    if rng.random() < 0.5:
        asked = int(rng.integers(2))
        return f"Is the {full(a)} {words[asked]} the {full(b)}?", "yes" if asked == side else "no", gaze
    choice = ["left or right of", "above or below"][axis]
    return f"Is the {full(a)} {choice} the {full(b)}?", words[side].split()[0], gaze


def read(rng, scene):
    clear = [t for t in scene.things if t.kind != "shape" and short_name(t, scene.things) == t.kind]
    if not clear:
        return None
    thing = one_of(rng, clear)
    asks = ["Which {} is shown?", "What {} is it?", "Read the {}.", "Which {} do you see?"]
    if thing.kind == "digit":
        asks += ["What number is shown?", "Read the number."]
    if thing.kind == "word":
        asks += ["What does it say?", "Read the text."]
    return one_of(rng, asks).format(thing.kind), thing.name, (corners(thing, scene),)


def describe(rng, scene):
    things = sorted(scene.things, key=lambda t: t.centre[0])
    parts = [article(full(t)) for t in things]
    ask = one_of(
        rng,
        ["Describe the picture.", "What is in this picture?", "What do you see?", "Describe the scene.", "What does the picture show?", "Describe this image.", "What is in the image?"],
    )
    answer = " and ".join([", ".join(parts[:-1])] * (len(parts) > 1) + parts[-1:])
    ends = [len(", ".join(parts[:i])) for i in range(1, len(parts))] + [len(answer)]
    return ask, answer, [(end, corners(t, scene)) for end, t in zip(ends, things)]


def scaled_box(thing, scene):
    """Corners on the 0 to 1000 scale in steps of 10: what the model's eyes can tell apart."""
    sides = (scene.width, scene.height, scene.width, scene.height)
    return [min(round(100 * v / side) * 10, 1000) for v, side in zip(thing.box, sides)]


def box(rng, scene):
    thing = one_of(rng, scene.things)
    ask = one_of(rng, ["Where is the {}?", "Locate the {}.", "Find the {}.", "Give the box of the {}.", "Detect the {}."])
    answer = json.dumps([{"bbox_2d": scaled_box(thing, scene), "label": full(thing)}])
    return ask.format(full(thing)), answer, (corners(thing, scene),)


def which(rng, first, second):
    here, there = {full(t) for t in first.things}, {full(t) for t in second.things}
    only = sorted((n, "first") for n in here - there) + sorted((n, "second") for n in there - here)
    if not only:
        return None
    name, answer = one_of(rng, only)
    ask = one_of(rng, ["Which picture has {}?", "In which picture is {}?", "Which picture shows {}?"])
    return ask.format(article(name)), answer, ()


def changed(rng, scene, event):
    what, old, new = event
    ask = one_of(rng, ["What changed?", "What is different?", "What is the difference?"])
    gaze = (corners(old, scene),)
    if what == "colour":
        return ask, f"the {old.noun} changed from {old.colour} to {new.colour}", gaze
    return ask, f"{article(full(old))} was {what}", gaze


def motion(rng, frames, thing, way):
    name = one_of(rng, ["object", thing.noun, full(thing)])
    ask = one_of(rng, ["Which way does the {} move?", "Where does the {} go?", "In which direction does the {} move?"])
    return ask.format(name), way, tuple(corners(f.things[0], f) for f in (frames[0], frames[-1]))


MAKERS = {f.__name__: f for f in (colour, shape, count, present, relation, read, describe, box)}


def vocabulary_words():
    """Words that must become single tokens."""
    return COLOUR_NAMES + SHAPES + [s + "s" for s in SHAPES] + WORDS + DIGITS + LETTERS
