#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Trains the demo model on rendered scenes, in three stages; see README.md for the runs behind the shipped weights.

    train.py vision --out RUN --steps 3000               # the vision tower alone, dense targets
    train.py reading --out RUN --resume RUN --steps 2800  # the text model alone, questions and answers
    train.py answers --out RUN --resume RUN --steps 1200  # the whole model, questions and answers

--resume continues from a run's checkpoint or from a model folder such as models/demo.
"""
import argparse
import os
import time

import numpy as np
import torch

import batches
import checkpoint
import eyes
from model import Config, Qwen3VL
from optimiser import Optimiser


def learning_rate(step, a):
    """Warm-up, constant, then linear to zero over the last --decay of the run."""
    left = (a.steps - step) / max(a.decay * a.steps, 1)
    return a.lr * min(1.0, (step + 1) / a.warmup, left)


class Means:
    """Running means of named values since the last report."""

    def __init__(self):
        self.values = {}

    def add(self, values):
        for k, v in values.items():
            if v == v:
                self.values.setdefault(k, []).append(v)

    def take(self):
        text = " ".join(f"{k} {np.mean(v):.3f}" for k, v in self.values.items())
        self.values = {}
        return text


def vision_step(model, heads, rng, a, progress):
    # From small pictures to all sizes: small ones are cheap and teach the same shapes.
    most = 9 if progress < a.small / 2 else 16 if progress < a.small else 36
    patches, grid, _, targets = batches.single_batch(rng, a.batch if most > 16 else a.batch * 3 // 2, most)
    rows, deep = model.visual(patches, grid)
    loss, scores = eyes.loss_and_scores(heads.cells[0](rows), targets)
    for head, more in zip(heads.cells[1:], deep):
        loss = loss + 0.3 * eyes.loss_and_scores(head(more), targets)[0]
    return loss, scores


def run(a):
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    model = Qwen3VL(Config())
    heads = eyes.Heads(model.c)
    if a.resume:
        checkpoint.load(a.resume, model, heads)
    rng = np.random.default_rng(a.seed)
    if a.stage == "vision":
        model.language_model.requires_grad_(False)
        step_of = vision_step
    else:
        import answers

        trainer = answers.Trainer(a)
        step_of = trainer.step if a.stage == "answers" else trainer.reading_step
        model.visual.requires_grad_(a.stage == "answers")
    optimiser = Optimiser(model, heads.parameters())
    os.makedirs(a.out, exist_ok=True)
    means, start, saved = Means(), time.time(), time.time()
    for step in range(a.steps):
        loss, scores = step_of(model, heads, rng, a, step / a.steps)
        loss.backward()
        norm = optimiser.step(learning_rate(step, a))
        means.add({"loss": loss.item(), "grad": norm.item(), **scores})
        if (step + 1) % a.report == 0:
            print(f"{time.strftime('%H:%M:%S')} step {step + 1} {(time.time() - start) / (step + 1):.2f} s/step {means.take()}", flush=True)
        if time.time() - saved > 240 or step + 1 == a.steps:
            checkpoint.save(a.out, model, heads)
            saved = time.time()
        if os.path.exists(os.path.join(a.out, "stop")):
            checkpoint.save(a.out, model, heads)
            break


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("stage", choices=["vision", "reading", "answers"])
    p.add_argument("--out", required=True, help="folder of the run")
    p.add_argument("--resume", help="run or model folder to start from")
    p.add_argument("--steps", type=int, default=2000)
    p.add_argument("--batch", type=int, default=24, help="pictures a step")
    p.add_argument("--lr", type=float, default=2e-3)
    p.add_argument("--warmup", type=int, default=50)
    p.add_argument("--decay", type=float, default=0.25)
    p.add_argument("--small", type=float, default=0.4, help="share of the run with small pictures only")
    p.add_argument("--several", type=float, default=0.0, help="share of steps on two pictures or clips")
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--report", type=int, default=50)
    run(p.parse_args())


if __name__ == "__main__":
    main()
