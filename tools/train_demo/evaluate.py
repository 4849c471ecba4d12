#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Asks the engine about unseen scenes and counts exact answers by kind; boxes count from an IoU of 0.5.

    evaluate.py make --scenes 1000 --out SCENES                # pictures, questions.jsonl, answers.json
    evaluate.py ask --command build/release/qwen3vl --scenes SCENES models/demo models/demo/demo-q8_0.gguf
    evaluate.py score --scenes SCENES REPLIES.jsonl...

Scenes come from the seeds of the test split, one scene a question, in pictures of 96 to 512 pixels a side.
"""
import argparse
import json
import os
import subprocess
from collections import defaultdict

import numpy as np
from PIL import Image

import questions
import scenes

CLIP_RATE = 2  # frames a second


def picture_size(rng, largest):
    """A random size, no side more than four times the other."""
    while True:
        h, w = (int(v) for v in np.exp(rng.uniform(np.log(96), np.log(largest), 2)))
        if max(h, w) <= 4 * min(h, w):
            return h, w


def single(kind):
    def make(rng, largest):
        while True:
            scene = scenes.make_scene(rng, *picture_size(rng, largest))
            made = questions.MAKERS[kind](rng, scene)
            if made:
                return [scene], made

    return make


def pair(kind):
    def make(rng, largest):
        while True:
            first = scenes.make_scene(rng, *picture_size(rng, min(largest, 160)))
            second, event = scenes.change(rng, first)
            made = questions.changed(rng, first, event) if kind == "changed" else questions.which(rng, first, second)
            if made:
                return [first, second], made

    return make


def motion(rng, largest):
    frames, thing, way = scenes.clip(rng, *picture_size(rng, min(largest, 160)))
    return frames, questions.motion(rng, frames, thing, way)


KINDS = {k: single(k) for k in questions.SINGLE} | {k: pair(k) for k in questions.PAIR} | {"motion": motion}


def make(a):
    os.makedirs(os.path.join(a.out, "pictures"), exist_ok=True)
    lines, answers = [], {}
    for kind in a.kinds or KINDS:
        for i in range(a.scenes):
            rng = np.random.default_rng(scenes.SPLITS[a.split] + list(KINDS).index(kind) * (1 << 24) + i)
            drawn, (question, answer, _) = KINDS[kind](rng, a.largest)
            names = []
            for j, scene in enumerate(drawn):
                names.append(os.path.join("pictures", f"{kind}-{i:04}-{j}.png"))
                Image.fromarray(scenes.draw(scene)).save(os.path.join(a.out, names[-1]), compress_level=1)
            key = f"{kind}-{i:04}"
            lines.append({"id": key, "prompt": question, "video" if kind == "motion" else "images": names})
            answers[key] = answer
    with open(os.path.join(a.out, "questions.jsonl"), "w", encoding="utf-8") as f:
        f.writelines(json.dumps(line) + "\n" for line in lines)
    with open(os.path.join(a.out, "answers.json"), "w", encoding="utf-8") as f:
        json.dump(answers, f, indent=0)
        f.write("\n")


def ask(a):
    for model in a.models:
        name = os.path.basename(os.path.normpath(model)).replace(".gguf", "")
        path = os.path.abspath(os.path.join(a.scenes, f"replies-{name}.jsonl"))
        words = [os.path.abspath(a.command), "run", "-m", os.path.abspath(model), "--input", "questions.jsonl"]
        words += ["--fps", str(CLIP_RATE), "-n", "64", "--temp", "0", "--threads", str(a.threads)]
        with open(path, "w", encoding="utf-8") as out:
            subprocess.run(words, cwd=a.scenes, stdout=out, stderr=subprocess.DEVNULL, check=True)
        print(f"{name}:")
        report(a.scenes, [path])


def overlap(found, wanted):
    """Intersection over union of two boxes."""
    width = min(found[2], wanted[2]) - max(found[0], wanted[0])
    height = min(found[3], wanted[3]) - max(found[1], wanted[1])
    both = max(width, 0) * max(height, 0)
    areas = sum((b[2] - b[0]) * (b[3] - b[1]) for b in (found, wanted))
    return both / (areas - both) if areas > both else 0


def right(kind, text, answer):
    if kind != "box":
        return text.strip() == answer
    try:
        found = json.loads(text)[0]["bbox_2d"]
        return len(found) == 4 and overlap(found, json.loads(answer)[0]["bbox_2d"]) >= 0.5
    except (ValueError, LookupError, TypeError):
        return False


def report(folder, paths):
    with open(os.path.join(folder, "answers.json"), encoding="utf-8") as f:
        answers = json.load(f)
    for path in paths:
        hits = defaultdict(list)
        with open(path, encoding="utf-8") as f:
            for line in f:
                reply = json.loads(line)
                kind = reply["id"].split("-")[0]
                hits[kind].append(right(kind, reply.get("text", ""), answers[reply["id"]]))
        for kind, values in hits.items():
            print(f"  {kind:10} {100 * np.mean(values):5.1f} % of {len(values)}")
        single_kinds = [np.mean(v) for k, v in hits.items() if k in questions.SINGLE]
        if single_kinds:
            print(f"  {'single':10} {100 * np.mean(single_kinds):5.1f} % mean over {len(single_kinds)} kinds")


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = p.add_subparsers(dest="what", required=True)
    m = sub.add_parser("make")
    m.add_argument("--scenes", type=int, default=1000, help="of each kind")
    m.add_argument("--split", choices=sorted(scenes.SPLITS), default="test")
    m.add_argument("--largest", type=int, default=512, help="pixels of a side; pairs and clips stay below 160")
    m.add_argument("--kinds", nargs="*", choices=list(KINDS))
    m.add_argument("--out", required=True)
    q = sub.add_parser("ask")
    q.add_argument("--command", required=True)
    q.add_argument("--scenes", required=True)
    q.add_argument("--threads", type=int, default=1)
    q.add_argument("models", nargs="+")
    s = sub.add_parser("score")
    s.add_argument("--scenes", required=True)
    s.add_argument("replies", nargs="+")
    a = p.parse_args()
    if a.what == "make":
        make(a)
    elif a.what == "ask":
        ask(a)
    else:
        report(a.scenes, a.replies)


if __name__ == "__main__":
    main()
