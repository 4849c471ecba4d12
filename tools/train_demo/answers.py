# SPDX-License-Identifier: Apache-2.0
"""Batches of pictures with questions, and the loss on the answers.

The questions of a picture stand in slots behind one shared prefix (see model.Layout): short slots and long ones.
"""
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
SHORT_WEIGHT = np.array([0.18, 0.18, 0.24, 0.2, 0.2])
SLOTS = [(3, SHORT), (1, MIDDLE), (1, LONG)]


class Prompts:
    """Turns questions into ids, in the form that the chat template gives."""

    def __init__(self, tok):
        self.tok = tok
        self.end = tok.added["<|im_end|>"]
        start = tok.added["<|im_start|>"]
        self.head = (start, *tok.encode("user\n"))
        self.turn = (self.end, *tok.encode("\n"), start, *tok.encode("assistant\n"))
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

    def fill(self, question, answer, size):
        """(ids, first answer index, end) or None where the slot is too small. The end mark counts as answer."""
        ask = self.tok.encode(question) + self.turn
        reply = self.tok.encode(answer) + (self.end,)
        return (ask + reply, len(ask), len(ask) + len(reply)) if len(ask) + len(reply) <= size else None


def ask_about(rng, scene):
    """(kind, question, answer) for each of SLOTS; a kind that does not fit the scene gives way to another."""

    def made(kinds):
        for kind in kinds:
            pair = questions.MAKERS[kind](rng, scene)
            if pair:
                yield (kind, *pair)

    n = SLOTS[0][0]
    order = rng.choice(SHORT_KINDS, len(SHORT_KINDS), replace=False, p=SHORT_WEIGHT)
    short = list(made([*order, "count", "present", "count"]))[:n]
    middle = next(made(["relation"] * 4 + ["present"]))
    long = next(made(["box" if rng.random() < 0.6 else "describe"]))
    return [*short, middle, long]


KEPT, REUSES = 60, 6  # batches of pictures that reading keeps, and how often it asks about each


class Trainer:
    def __init__(self, options):
        self.options = options
        self.seen = []
        self.prompts = Prompts(tokenizer.Tokenizer(tokenizer.train_merges()))

    def pack(self, asked, slots):
        """asked: per picture the (kind, question, answer) of each slot -> ids, and what is learnt where."""
        pad = self.prompts.tok.added["<|endoftext|>"]
        sizes = [size for count, size in slots for _ in range(count)]
        ids = np.full((len(asked), sum(sizes)), pad)
        where, spans = [], []
        for i, row in enumerate(asked):
            at = 0
            for (kind, question, answer), size in zip(row, sizes):
                filled = self.prompts.fill(question, answer, size)
                if filled:
                    text, begin, end = filled
                    ids[i, at : at + len(text)] = text
                    where += [(i, at + j) for j in range(begin, end)]
                    spans.append((kind, end - begin))
                at += size
        return torch.from_numpy(ids), np.array(where), spans

    def loss(self, model, hidden, ids, layout, where, spans):
        """Weighted mean over answer tokens; scores: share of whole answers right, by kind (with the right words before)."""
        rows, cols = torch.from_numpy(where).T
        logits = model.logits(hidden[rows, len(layout.prefix_ids) + cols - 1])
        wanted = ids[rows, cols]
        weight = torch.tensor([n**-0.5 for _, n in spans for _ in range(n)])  # a box has twenty times a colour's tokens
        loss = (F.cross_entropy(logits, wanted, reduction="none") * weight).sum() / weight.sum()
        hit = (logits.detach().argmax(-1) == wanted).numpy()
        scores, at = {}, 0
        for kind, n in spans:
            scores.setdefault(kind, []).append(hit[at : at + n].all())
            at += n
        return loss, {k: float(np.mean(v)) for k, v in scores.items()}

    def step(self, model, heads, rng, a, progress):
        if progress >= a.small and rng.random() < a.several:
            return self.several_step(model, rng, a)
        most = 16 if progress < a.small else 36
        patches, grid, made, targets = batches.single_batch(rng, a.batch, most)
        asked = [ask_about(rng, s) for s in made]
        ids, where, spans = self.pack(asked, SLOTS)
        layout = self.prompts.layout(grid, SLOTS)
        hidden, rows = model(patches, grid, ids, layout)
        loss, scores = self.loss(model, hidden, ids, layout, where, spans)
        seen, eye_scores = eyes.loss_and_scores(heads[0](rows), targets)
        eye_scores = {k: eye_scores[k] for k in ("class", "corners")}
        return loss + 0.2 * seen, {**scores, "answer-loss": loss.item(), **eye_scores}

    def reading_step(self, model, heads, rng, a, progress):
        """Questions on pictures whose rows are kept: only the text model learns, at half the cost."""
        if rng.random() < 1 / REUSES or len(self.seen) < KEPT:
            patches, grid, made, _ = batches.single_batch(rng, a.batch, 36)
            with torch.no_grad():
                kept = (grid, made, model.see(patches, grid, len(made)))
            self.seen = self.seen[-KEPT + 1 :] + [kept]
        grid, made, (rows, *deep) = self.seen[rng.integers(len(self.seen))]
        slots = SLOTS if progress > a.small else SLOTS[:-1]
        ids, where, spans = self.pack([ask_about(rng, s)[: sum(count for count, _ in slots)] for s in made], slots)
        layout = self.prompts.layout(grid, slots)
        hidden = model.language_model(ids, layout, rows, deep)
        loss, scores = self.loss(model, hidden, ids, layout, where, spans)
        return loss, {**scores, "answer-loss": loss.item()}

    def several_step(self, model, rng, a):
        """Two pictures, or a clip of four frames in two segments."""
        height, width = batches.pick_size(rng, 16)
        n = max(2, a.batch // 2)
        grid = (height // 16, width // 16)
        if rng.random() < 0.5:
            slots = [(3, MIDDLE)]
            asked, pictures = [], []
            for _ in range(n):
                asked_here, pair = pair_questions(rng, height, width, slots[0][0])
                asked.append(asked_here)
                pictures += [scenes.view(scenes.draw(s), height, width) for s in pair]
            patches = batches.patches(np.stack(pictures))
            layout = self.prompts.layout(grid, slots, stamps=(None, None))
        else:
            slots = [(2, MIDDLE)]
            asked, frames = [], []
            for _ in range(n):
                made, thing, way = scenes.clip(rng, height, width)
                asked.append([("motion", *questions.motion(rng, thing, way)) for _ in range(2)])
                frames += [scenes.draw(s) for s in made]
            patches = batches.clip_patches(np.stack(frames).reshape(-1, 2, height, width, 3))
            layout = self.prompts.layout(grid, slots, stamps=stamps(FRAME_RATES[rng.integers(len(FRAME_RATES))]), placeholder="<|video_pad|>")
        ids, where, spans = self.pack(asked, slots)
        hidden, _ = model(patches, grid, ids, layout)
        return self.loss(model, hidden, ids, layout, where, spans)


FRAME_RATES = (1, 2, 2, 4, 8, 24, 24, 25, 30)


def stamps(rate):
    """The texts before the two segments of a clip of four frames."""
    return tuple(f"<{second / rate:.1f} seconds>" for second in (0.5, 2.5))


def pair_questions(rng, height, width, n):
    """Questions on two pictures, and the pictures' scenes: half of them differ in one thing, half in everything."""
    first = scenes.make_scene(rng, height, width)
    if rng.random() < 0.6:
        second, event = scenes.change(rng, first)
        asked = [("changed", *questions.changed(rng, event))]
    else:
        second, asked = scenes.make_scene(rng, height, width), []
    made = [questions.which(rng, first, second) for _ in range(n - len(asked))]
    return asked + [("which", *m) for m in made if m], (first, second)
