# SPDX-License-Identifier: Apache-2.0
"""Batches of pictures with questions, and the loss on the answers.

The questions of a picture stand in slots behind one shared prefix (see model.Layout): short slots and long ones.
"""
from dataclasses import dataclass
from typing import Callable

import numpy as np
import torch
import torch.nn.functional as F

import batches
import eyes
import questions
import scenes
import tokenizer
from model import Layout

SHORT, MIDDLE, LONG = 17, 24, 51  # tokens of a slot
SHORT_KINDS = ["colour", "shape", "count", "present", "read"]
SHORT_WEIGHT = np.array([0.15, 0.12, 0.4, 0.13, 0.2])
SLOTS = [(2, SHORT), (2, MIDDLE), (2, LONG)]
CONVERSATIONS = 0.25  # share of the batches of single pictures


class Prompts:
    """Turns questions into ids, in the form that the chat template gives."""

    def __init__(self, tok):
        self.tok = tok
        self.end = tok.added["<|im_end|>"]
        start = tok.added["<|im_start|>"]
        self.head = (start, *tok.encode("user\n"))
        self.turn = (self.end, *tok.encode("\n"), start, *tok.encode("assistant\n"))
        self.next = (*tok.encode("\n"), *self.head)
        self.open, self.close = tok.added["<|vision_start|>"], tok.added["<|vision_end|>"]

    def layout(self, grid, slots, stamps=(None,), placeholder="<|image_pad|>"):
        """One visual segment for each stamp, which is its text before it (None for pictures)."""
        gh, gw = grid[0] // 2, grid[1] // 2
        ids, visual, at = list(self.head), [0] * len(self.head), len(self.head)
        places = [(i, i, i) for i in range(at)]
        for stamp in stamps:
            before = [*(self.tok.encode(stamp) if stamp else ()), self.open]
            places += [(at + i,) * 3 for i in range(len(before))]
            at += len(before)
            places += [(at, at + r, at + col) for r in range(gh) for col in range(gw)]
            at += max(gh, gw)
            places.append((at,) * 3)
            at += 1
            ids += before + [self.tok.added[placeholder]] * (gh * gw) + [self.close]
            visual += [0] * len(before) + [1] * (gh * gw) + [0]
        for count, size in slots:
            places += [(at + i,) * 3 for _ in range(count) for i in range(size)]
        return Layout(torch.tensor(ids), torch.tensor(visual), torch.tensor(places).T, list(slots))

    def fill(self, question, answer, size, first=True):
        """(ids, first answer index, end) or None where the slot is too small. The end mark counts as answer."""
        ask = (() if first else self.next) + self.tok.encode(question) + self.turn
        reply = self.tok.encode(answer) + (self.end,)
        return (ask + reply, len(ask), len(ask) + len(reply)) if len(ask) + len(reply) <= size else None


@dataclass
class Pictures:
    """Pictures of one size, and how to ask about them."""

    patches: torch.Tensor
    grid: tuple
    n: int  # prompts, each of one picture or of several
    ask: Callable  # rng -> per prompt and slot the turns: (kind, question, answer, gaze)
    slots: list
    stamps: tuple = (None,)
    placeholder: str = "<|image_pad|>"
    targets: torch.Tensor = None  # of the cells, where eyes.py can use them


def single(rng, size, most):
    patches, grid, made, targets = batches.single_batch(rng, size, most)
    if rng.random() < CONVERSATIONS:
        return Pictures(patches, grid, size, lambda r: [[converse(r, s)] for s in made], [(1, 6 * MIDDLE)], targets=targets)
    return Pictures(patches, grid, size, lambda r: [alone(ask_about(r, s)) for s in made], SLOTS, targets=targets)


def pair(rng, size, most):
    """Two pictures of one size: three in four differ in one thing only."""
    height, width = batches.pick_size(rng, most)
    pairs = []
    for _ in range(max(2, size // 2)):
        first = scenes.make_scene(rng, *batches.original_size(rng, height, width))
        second, event = scenes.change(rng, first) if rng.random() < 0.75 else (None, None)
        second = second or scenes.make_scene(rng, *batches.original_size(rng, height, width))
        pairs.append((first, second, event))
    pictures = [scenes.view(scenes.draw(s), height, width) for p in pairs for s in p[:2]]
    patches = batches.patches(np.stack(pictures))
    return Pictures(patches, (height // 16, width // 16), len(pairs), lambda r: [alone(ask_pair(r, *p)) for p in pairs], [(4, MIDDLE)], (None, None))


def clip(rng, size, most):
    """Clips of four frames, in two segments."""
    height, width = batches.pick_size(rng, most)
    clips = [scenes.clip(rng, *batches.original_size(rng, height, width)) for _ in range(max(2, size // 2))]
    frames = np.stack([scenes.view(scenes.draw(s), height, width) for made, _, _ in clips for s in made])
    patches = batches.clip_patches(frames.reshape(-1, 2, height, width, 3))
    when = stamps(FRAME_RATES[rng.integers(len(FRAME_RATES))])
    ask = lambda r: [alone([("motion", *questions.motion(r, *c)) for _ in range(3)]) for c in clips]
    return Pictures(patches, (height // 16, width // 16), len(clips), ask, [(3, MIDDLE)], when, "<|video_pad|>")


FRAME_RATES = (1, 2, 2, 4, 8, 24, 24, 25, 30)


def stamps(rate):
    """The texts before the two segments of a clip of four frames."""
    return tuple(f"<{second / rate:.1f} seconds>" for second in (0.5, 2.5))


def ask_about(rng, scene):
    """(kind, question, answer, gaze) for each of SLOTS; a kind that does not fit the scene gives way to another."""

    def made(kinds):
        for kind in kinds:
            found = questions.MAKERS[kind](rng, scene)
            if found:
                yield (kind, *found)

    order = rng.choice(SHORT_KINDS, len(SHORT_KINDS), replace=False, p=SHORT_WEIGHT)
    short = list(made([*order, "count", "present"]))[: SLOTS[0][0]]
    middle = [next(made(["relation"] * 4 + ["present"])) for _ in range(SLOTS[1][0])]
    long = [next(made(["describe" if rng.random() < 0.45 else "box"])) for _ in range(SLOTS[2][0])]
    return [*short, *middle, *long]


def alone(asked):
    """Each question in a conversation of its own."""
    return [[turn] for turn in asked]


def converse(rng, scene):
    """Several questions on one picture, one after the other; the later ones see those before them."""
    turns = ask_about(rng, scene)
    return [turns[i] for i in rng.permutation(len(turns))]


def ask_pair(rng, first, second, event):
    asked = [("changed", *questions.changed(rng, first, event))] * 2 if event else []
    made = [questions.which(rng, first, second) for _ in range(4 - len(asked))]
    return asked + [("which", *m) for m in made if m]


KEPT, REUSES = 150, 6  # batches of pictures that reading keeps, and how often it asks about each


class Trainer:
    def __init__(self, options):
        self.options = options
        self.seen = []
        self.prompts = Prompts(tokenizer.Tokenizer(tokenizer.train_merges()))

    def pick(self, rng, progress):
        a = self.options
        if progress >= a.small and rng.random() < a.several:
            return (pair if rng.random() < 0.8 else clip)(rng, a.batch, 16)
        return single(rng, a.batch, 16 if progress < a.small else 36)

    def pack(self, asked, slots):
        """asked: as Pictures.ask gives it -> ids, and what is learnt where."""
        pad = self.prompts.tok.added["<|endoftext|>"]
        sizes = [size for count, size in slots for _ in range(count)]
        ids = np.full((len(asked), sum(sizes)), pad)
        where, spans = [], []
        for i, row in enumerate(asked):
            at = 0
            for turns, size in zip(row, sizes):
                used = 0
                for kind, question, answer, gaze in turns:
                    filled = self.prompts.fill(question, answer, size - used, first=used == 0)
                    if not filled:
                        break
                    text, begin, end = filled
                    ids[i, at + used : at + used + len(text)] = text
                    where += [(i, at + used + j) for j in range(begin, end)]
                    spans.append((kind, end - begin, self.looks(answer, gaze, end - begin)))
                    used += len(text)
                at += size
        return torch.from_numpy(ids), np.array(where), spans

    def looks(self, answer, gaze, n):
        """The corners that each of the n answer tokens is about, as [(tokens, corners of up to two objects)]."""
        if not isinstance(gaze, list):
            return [(n, gaze)]
        ends = [len(self.prompts.tok.encode(answer[:end])) for end, _ in gaze[:-1]] + [n]
        return [(end - begin, (corners,)) for begin, end, (_, corners) in zip([0] + ends, ends, gaze)]

    def loss(self, model, heads, states, pictures, ids, layout, where, spans):
        """Weighted mean over answer tokens; scores: share of whole answers right, by kind (with the right words before)."""
        rows, cols = torch.from_numpy(where).T
        at = rows, len(layout.prefix_ids) + cols - 1
        logits = model.logits(states[0][at])
        wanted = ids[rows, cols]
        weight = torch.tensor([n**-0.5 for _, n, _ in spans for _ in range(n)])  # a box has twenty times a colour's tokens
        loss = (F.cross_entropy(logits, wanted, reduction="none") * weight).sum() / weight.sum()
        hit = (logits.detach().argmax(-1) == wanted).numpy()
        scores, first = {}, 0
        for kind, n, _ in spans:
            scores.setdefault(kind, []).append(hit[first : first + n].all())
            first += n
        scores = {k: float(np.mean(v)) for k, v in scores.items()}
        gaze, error = eyes.gaze_loss(heads.gaze(states[1][at]), spans, weight)
        return loss + gaze, {**scores, "answer-loss": loss.item(), "gaze": error}

    def answer(self, model, heads, rng, pictures, rows, deep):
        ids, where, spans = self.pack(pictures.ask(rng), pictures.slots)
        layout = self.prompts.layout(pictures.grid, pictures.slots, pictures.stamps, pictures.placeholder)
        states = model.language_model(ids, layout, rows, deep)
        return self.loss(model, heads, states, pictures, ids, layout, where, spans)

    def step(self, model, heads, rng, a, progress):
        pictures = self.pick(rng, progress)
        rows, *deep = model.see(pictures.patches, pictures.grid, pictures.n)
        loss, scores = self.answer(model, heads, rng, pictures, rows, deep)
        if pictures.targets is None:
            return loss, scores
        seen, eye_scores = eyes.loss_and_scores(heads.cells[0](rows), pictures.targets)
        return loss + 0.2 * seen, {**scores, **{k: eye_scores[k] for k in ("class", "corners")}}

    def reading_step(self, model, heads, rng, a, progress):
        """Questions on pictures whose rows are kept: only the text model learns, at half the cost."""
        if rng.random() < 1 / REUSES or len(self.seen) < 10:
            pictures = self.pick(rng, progress)
            with torch.no_grad():
                rows, *deep = model.see(pictures.patches, pictures.grid, pictures.n)
            self.seen = self.seen[-KEPT + 1 :] + [(pictures, rows, deep)]
        return self.answer(model, heads, rng, *self.seen[rng.integers(len(self.seen))])
