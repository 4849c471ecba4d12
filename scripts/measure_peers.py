#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Measures qwen3vl beside other engines, in turn, and writes what docs/performance.md shows of it.

    scripts/measure_peers.py --qwen3vl build/release/qwen3vl --threads 2 --rounds 3 --out docs/performance/peers.jsonl \\
        --attention "NAME=COMMAND" --model-bench "NAME=COMMAND" -m MODEL.gguf

Other engines are not part of this project: build them yourself, for AVX2 only, and name a command for each. For one that
cannot be kept from better instructions, say --isa avx512.
--attention: run as `COMMAND HEADS KV_HEADS HEAD_DIM QUERIES KEYS CAUSAL THREADS SAMPLES` it prints a JSON array of
    seconds, one a sample, for attention with an F16 cache; [] where it has no such case.
--image: run as `COMMAND -m MODEL --mmproj FILE -w WIDTH -h HEIGHT -t THREADS -s SAMPLES` it prints a JSON array of
    seconds, one a sample, for encoding one picture after it was decoded and scaled.
--model-bench: run as `COMMAND -m MODEL -p P -n N -t THREADS -d DEPTH -o json` it prints what llama-bench prints: an array
    with n_prompt, n_gen and avg_ts (tokens a second). With --watch the answer must be the last thing that it does.
A round measures every engine once on every case; a ratio is the median over the rounds of qwen3vl against the fastest
of the others in the same round. Rows are added to the file --out. Let the machine do nothing else.

The host of a virtual machine may move its processors between groups of cores, each with a last cache and a way to memory
of its own; answers, which are as fast as memory, are up to 1.7 times as fast while two processors are in different
groups. With --watch build/release/bench/handover_watch (which tells where they are, see there) answers are measured
--watch-rounds times more, and shown by where the processors were meanwhile: "cores together" and "cores apart".
Then: scripts/performance_tables.py docs/performance.md
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys
import threading
import time

ATTENTION = [  # name, preset, kind, length option, (heads, kv heads, head_dim, queries, keys, causal), threads (0: all)
    ("prompt, 32/8 x 128, 512", "qwen3vl-4b.text", "attention.prefill", "--lengths", (32, 8, 128, 512, 512, 1), 1),
    ("prompt, 32/8 x 128, 2048", "qwen3vl-4b.text", "attention.prefill", "--lengths", (32, 8, 128, 2048, 2048, 1), 1),
    ("vision, 16 x 64, 1024", "qwen3vl-2b.vision", "attention.prefill", "--lengths", (16, 16, 64, 1024, 1024, 0), 1),
    ("vision, 16 x 72, 4096", "qwen3vl-8b.vision", "attention.prefill", "--lengths", (16, 16, 72, 4096, 4096, 0), 1),
    ("one token, 32/8 x 128, 4096", "qwen3vl-4b.text", "attention.decode", "--contexts", (32, 8, 128, 1, 4096, 1), 0),
    ("one token, 32/8 x 128, 32768", "qwen3vl-4b.text", "attention.decode", "--contexts", (32, 8, 128, 1, 32768, 1), 0),
]


# Nanoseconds of a handover between cores that share a last cache are below, others above: 25 to 40, and 140 to 180, were seen.
TOGETHER_BELOW_NS = 80
ALMOST_ALL = 0.9  # of an answer's time, for it to count as one or the other
PLACED_TOKENS = 32  # an answer's: few, so that the processors seldom move within one


class Watch:
    """Where the processors were, by the lines that --watch prints: the monotonic clock's seconds, nanoseconds."""

    def __init__(self, command):
        self.looks = []
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        threading.Thread(target=self.read, daemon=True).start()

    def read(self):
        for line in self.process.stdout:
            when, ns = map(float, line.split())
            self.looks.append((when, ns))

    def placement(self, begin, end):
        """None where they moved, or nothing was seen."""
        if self.process.poll() is not None:
            sys.exit("measure_peers.py: the --watch command has ended")
        near = [ns < TOGETHER_BELOW_NS for when, ns in list(self.looks) if begin <= when <= end]
        if not near:
            return None
        share = sum(near) / len(near)
        return "together" if share >= ALMOST_ALL else "apart" if share <= 1 - ALMOST_ALL else None


def output_of(command):
    """The JSON that a command prints, and a clear end where it prints none."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"measure_peers.py: {' '.join(command)}: exit {done.returncode}: {done.stderr.strip()[-300:]}")
    try:
        return json.loads(done.stdout)
    except json.JSONDecodeError as problem:
        sys.exit(f"measure_peers.py: {' '.join(command)}: prints no JSON: {problem}")


def own_rows(options, *arguments):
    # Without peaks: samples follow each other as those of the others do, caches warm.
    command = [options.qwen3vl, "bench", *map(str, arguments), "--isa", options.isa, "--no-peaks", "--format", "json"]
    return output_of(command)["rows"]


def attention_round(options, case):
    """Seconds by engine."""
    _, preset, kind, length_option, (*heads, queries, keys, causal), threads = case
    threads = threads or options.threads
    samples = 5 if queries == 1 else 3
    # As sessions have it by default: whole numbers, prompts on an F16 cache, towers on what they have just computed.
    dtype, path = "f32" if preset.endswith("vision") else "f16", "int16" if queries > 1 else "tiled"
    row = own_rows(options, "layer", "--preset", preset, "--kind", kind, length_option, keys, "--dtype", dtype, "--path",
                   path, "--threads", threads, "--samples", samples)[0]
    result = {"qwen3vl": row["seconds"]["median"]}
    for name, command in options.attention:
        times = output_of(command + [str(n) for n in (*heads, queries, keys, causal, threads, samples)])
        if times:
            result[name] = statistics.median(times)
    return result


def image_round(options, width, height):
    """Seconds by engine for one picture."""
    rows = own_rows(options, "image", "-m", options.model[0], "--mmproj", options.mmproj, "--sizes", f"{width}x{height}",
                    "--counts", 1, "--threads", options.threads, "--samples", 1)
    result = {"qwen3vl": next(row["seconds"]["median"] for row in rows if row["layer"] == "image.encode")}
    for name, command in options.image:
        result[name] = statistics.median(output_of(
            command + ["-m", options.model[0], "--mmproj", options.mmproj, "-w", str(width), "-h", str(height),
                       "-t", str(options.threads), "-s", "1"]))
    return result


def own_speeds(options, model, prompt, generate, depth):
    """Tokens a second of qwen3vl, of a prompt and of an answer."""
    rows = own_rows(options, "model", "-m", model, "--prompt", prompt, "--generate", generate, "--depths", depth,
                    "--threads", options.threads, "--samples", 1)
    speeds = {row["layer"]: row["tokens_per_second"] for row in rows}
    return speeds["model.prompt"], speeds["model.generate"]


def peer_speeds(options, command, model, prompt, generate, depth):
    tests = output_of(command + ["-m", model, "-p", str(prompt), "-n", str(generate), "-t", str(options.threads),
                                 "-d", str(depth), "-o", "json"])
    speeds = {test["n_prompt"] > 0: test["avg_ts"] for test in tests}
    if len(speeds) != 2:
        sys.exit(f"measure_peers.py: {' '.join(command)}: {len(tests)} tests, want a prompt's and an answer's")
    return speeds[True], speeds[False]


def model_engines(options, *case):
    """Names, and functions that return the speeds of a prompt and of an answer."""
    yield "qwen3vl", lambda: own_speeds(options, *case)
    for name, command in options.model_bench:
        yield name, lambda command=command: peer_speeds(options, command, *case)


def model_round(options, *case):
    speeds = {name: measure() for name, measure in model_engines(options, *case)}
    return [{name: both[i] for name, both in speeds.items()} for i in range(2)]


def placed_answers(options, watch, model):
    """Tokens a second of answers by placement: the n-th of each engine in a placement make a round."""
    engines = list(model_engines(options, model, 16, PLACED_TOKENS, 0))
    found = {placement: {name: [] for name, _ in engines} for placement in ("together", "apart")}
    for i in range(options.watch_rounds):
        for name, measure in engines if i % 2 == 0 else reversed(engines):
            speed = measure()[1]
            end = time.monotonic()  # the answer is the last thing that they do
            placement = watch.placement(end - PLACED_TOKENS / speed, end)
            if placement:
                found[placement][name].append(speed)
    return {placement: [dict(zip(by_engine, speeds)) for speeds in zip(*by_engine.values())]
            for placement, by_engine in found.items()}


def cases(options):
    """Pairs of the descriptions of cases that are measured together and a function for one round of them."""
    for case in ATTENTION if options.attention else []:
        text = {"what": f"attention, {case[0]}", "unit": "s", "threads": case[-1] or options.threads}
        yield [text], lambda case=case: [attention_round(options, case)]
    if options.image:
        text = {"what": f"{pathlib.Path(options.mmproj).stem}, picture of 1024 x 1024", "unit": "s",
                "threads": options.threads}
        yield [text], lambda: [image_round(options, 1024, 1024)]
    for model in options.model if options.model_bench else []:
        for depth in options.depths:
            texts = [{"what": f"{pathlib.Path(model).stem}, {what} at depth {depth}", "unit": "tokens/s",
                      "threads": options.threads} for what in ("prompt of 512", "answer of 64")]
            yield texts, lambda model=model, depth=depth: model_round(options, model, 512, 64, depth)


def named_command(text):
    name, equals, command = text.partition("=")
    if not equals or not command.strip():
        raise argparse.ArgumentTypeError(f"{text!r}: want NAME=COMMAND")
    return name, command.split()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--qwen3vl", required=True)
    parser.add_argument("--attention", action="append", type=named_command, default=[], metavar="NAME=COMMAND")
    parser.add_argument("--model-bench", action="append", type=named_command, default=[], metavar="NAME=COMMAND")
    parser.add_argument("--image", action="append", type=named_command, default=[], metavar="NAME=COMMAND")
    parser.add_argument("-m", "--model", action="append", default=[])
    parser.add_argument("--mmproj", help="vision tower for --image, with the first model")
    parser.add_argument("--isa", default="avx2", help="of qwen3vl; default %(default)s")
    parser.add_argument("--depths", type=lambda text: [int(d) for d in text.split(",")], default=[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3, help="0: only what --watch adds; default %(default)s")
    parser.add_argument("--watch", metavar="COMMAND", help="tells where the processors are: bench/handover_watch")
    parser.add_argument("--watch-rounds", type=int, default=10, help="of answers, with --watch; default %(default)s")
    parser.add_argument("--out", type=pathlib.Path, required=True)
    options = parser.parse_args()
    if options.image and not (options.mmproj and options.model):
        parser.error("--image wants --mmproj and --model")
    if options.watch and not (options.model_bench and options.model):
        parser.error("--watch wants --model-bench and --model")
    environment = own_rows(options, "layer", "--preset", "qwen3vl-2b.text", "--kind", "rope", "--samples", 1)[0]["environment"]
    with options.out.open("a", encoding="utf-8") as out:
        def add(text, rounds):
            out.write(json.dumps(text | {"isa": options.isa, "environment": environment, "rounds": rounds}) + "\n")
            out.flush()
            print(f"{text['what']}: {rounds}", file=sys.stderr)

        for texts, measure in cases(options) if options.rounds else []:
            rounds = [measure() for _ in range(options.rounds)]
            for i, text in enumerate(texts):
                if len(rounds[0][i]) == 1:
                    continue  # nobody to compare with
                add(text, [r[i] for r in rounds])
        if not options.watch:
            return
        watch = Watch(options.watch.split())
        try:
            for model in options.model:
                for placement, rounds in placed_answers(options, watch, model).items():
                    if rounds:
                        add({"what": f"{pathlib.Path(model).stem}, answer of {PLACED_TOKENS} at depth 0, cores {placement}",
                             "unit": "tokens/s", "threads": options.threads}, rounds)
        finally:
            watch.process.kill()


if __name__ == "__main__":
    main()
