# SPDX-License-Identifier: Apache-2.0
"""The demo model's tokenizer: byte-level BPE like Qwen's, trained on the questions and answers and on plain English.

Encodes ASCII text as the engine does, and writes the files of a Hugging Face folder.
"""
import functools
import json
import os
import re
from collections import Counter

import numpy as np

import questions
import scenes

HERE = os.path.dirname(os.path.abspath(__file__))
ADDED = [  # text, special; in Qwen's order
    ("<|endoftext|>", True), ("<|im_start|>", True), ("<|im_end|>", True), ("<|object_ref_start|>", True),
    ("<|object_ref_end|>", True), ("<|box_start|>", True), ("<|box_end|>", True), ("<|quad_start|>", True),
    ("<|quad_end|>", True), ("<|vision_start|>", True), ("<|vision_end|>", True), ("<|vision_pad|>", True),
    ("<|image_pad|>", True), ("<|video_pad|>", True), ("<tool_call>", False), ("</tool_call>", False),
    ("<|fim_prefix|>", False), ("<|fim_middle|>", False), ("<|fim_suffix|>", False), ("<|fim_pad|>", False),
    ("<|repo_name|>", False), ("<|file_sep|>", False), ("<tool_response>", False), ("</tool_response>", False),
    ("<think>", False), ("</think>", False),
]  # fmt: skip
VOCAB_SIZE = 1024
N_BASE = VOCAB_SIZE - len(ADDED)
PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
ASCII_PATTERN = re.compile(
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\na-zA-Z0-9]?[a-zA-Z]+|[0-9]| ?[^\sa-zA-Z0-9]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


def byte_letters():
    """The printable character that stands for each byte."""
    plain = [*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    letters = {b: chr(b) for b in plain}
    for b in range(256):
        if b not in letters:
            letters[b] = chr(256 + len(letters) - len(plain))
    return letters


LETTERS = byte_letters()


def pieces(text):
    return ["".join(LETTERS[b] for b in part.encode()) for part in ASCII_PATTERN.findall(text)]


def corpus():
    """Words with their weights: a sample of questions and answers, chat words, and the licence for common English."""
    rng = np.random.default_rng(0)
    words = Counter()
    for _ in range(3000):
        scene = scenes.make_scene(rng, 256, 256)
        for make in questions.MAKERS.values():
            for text in (make(rng, scene) or ())[:2]:
                words.update(pieces(text))
        other, event = scenes.change(rng, scene)
        for made in (questions.which(rng, scene, other), questions.changed(rng, scene, event), questions.motion(rng, [scene], scene.things[0], "left")):
            for text in (made or ())[:2]:
                words.update(pieces(text))
    words = Counter({w: 1000 + n for w, n in words.items()})
    for word in questions.vocabulary_words() + ["left", "right", "up", "down", "yes", "no", "picture", "object"]:
        words[pieces(" " + word)[0]] += 1000
        words[pieces(word)[0]] += 1000
    for text in ["user\n", "assistant\n", "system\n", " seconds>", "You are a helpful assistant.", "Hello! Thank you."]:
        words.update({p: 1000 for p in pieces(text)})
    with open(os.path.join(HERE, "..", "..", "LICENSE"), encoding="utf-8") as f:
        words.update(pieces(f.read()))
    return words


def train_merges():
    """The N_BASE - 256 most frequent merges, ties in alphabetical order."""
    words = {tuple(w): n for w, n in corpus().items()}
    merges = []
    while len(merges) < N_BASE - 256:
        pairs = Counter()
        for word, n in words.items():
            for pair in zip(word, word[1:]):
                pairs[pair] += n
        best = min(pairs, key=lambda p: (-pairs[p], p))
        merges.append(best)
        words = {merge_pair(w, best) if best[0] in w else w: n for w, n in words.items()}
    return merges


def merge_pair(word, pair):
    out, i = [], 0
    while i < len(word):
        if word[i : i + 2] == pair:
            out.append(pair[0] + pair[1])
            i += 2
        else:
            out.append(word[i])
            i += 1
    return tuple(out)


class Tokenizer:
    def __init__(self, merges):
        self.merges = [tuple(m) for m in merges]
        self.ranks = {m: i for i, m in enumerate(self.merges)}
        letters = sorted(LETTERS.values(), key=ord)
        self.vocab = {t: i for i, t in enumerate(letters + [a + b for a, b in self.merges])}
        assert len(self.vocab) == N_BASE, "two merges give the same token"
        self.added = {text: N_BASE + i for i, (text, _) in enumerate(ADDED)}
        self.texts = {i: t for t, i in self.vocab.items()}
        self.encode = functools.lru_cache(maxsize=100000)(self._encode)

    def _encode(self, text):
        """Ids of ASCII text without added tokens, as a tuple."""
        ids = []
        for piece in pieces(text):
            word = tuple(piece)
            while len(word) > 1:
                rank, pair = min((self.ranks.get(p, 1 << 30), p) for p in zip(word, word[1:]))
                if rank == 1 << 30:
                    break
                word = merge_pair(word, pair)
            ids += [self.vocab[t] for t in word]
        return tuple(ids)

    def decode(self, ids):
        back = {c: b for b, c in LETTERS.items()}
        return bytes(back[c] for i in ids if i in self.texts for c in self.texts[i]).decode(errors="replace")


def saved(folder):
    """The tokenizer of a model folder."""
    with open(os.path.join(folder, "tokenizer.json"), encoding="utf-8") as f:
        return Tokenizer(json.load(f)["model"]["merges"])


def write_json(folder, name, value):
    with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, indent=1)
        f.write("\n")


def write(folder, tokenizer):
    """tokenizer.json, tokenizer_config.json, vocab.json, merges.txt."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    added = [{"id": tokenizer.added[t], "content": t, **flags, "special": s} for t, s in ADDED]
    level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
    split = {"type": "Split", "pattern": {"Regex": PATTERN}, "behavior": "Isolated", "invert": False}
    write_json(
        folder,
        "tokenizer.json",
        {
            "version": "1.0",
            "truncation": None,
            "padding": None,
            "added_tokens": added,
            "normalizer": {"type": "NFC"},
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, level]},
            "post_processor": level,
            "decoder": level,
            "model": {
                "type": "BPE",
                "dropout": None,
                "unk_token": None,
                "continuing_subword_prefix": "",
                "end_of_word_suffix": "",
                "fuse_unk": False,
                "byte_fallback": False,
                "ignore_merges": False,
                "vocab": tokenizer.vocab,
                "merges": tokenizer.merges,
            },
        },
    )
    with open(os.path.join(HERE, "chat_template.jinja"), encoding="utf-8") as f:
        template = f.read()
    write_json(
        folder,
        "tokenizer_config.json",
        {
            "add_bos_token": False,
            "add_prefix_space": False,
            "added_tokens_decoder": {str(a["id"]): {k: v for k, v in a.items() if k != "id"} for a in added},
            "additional_special_tokens": [t for t, s in ADDED if s and t not in ("<|endoftext|>", "<|im_start|>", "<|im_end|>")],
            "bos_token": None,
            "chat_template": template,
            "clean_up_tokenization_spaces": False,
            "eos_token": "<|im_end|>",
            "errors": "replace",
            "model_max_length": 32768,
            "pad_token": "<|endoftext|>",
            "split_special_tokens": False,
            "tokenizer_class": "Qwen2Tokenizer",
            "unk_token": None,
        },
    )
    write_json(folder, "vocab.json", tokenizer.vocab)
    with open(os.path.join(folder, "merges.txt"), "w", encoding="utf-8") as f:
        f.write("#version: 0.2\n" + "".join(f"{a} {b}\n" for a, b in tokenizer.merges))
