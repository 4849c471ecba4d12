#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Fills the tables of docs/performance.md from rows of `qwen3vl bench --format json` or jsonl.

    scripts/performance_tables.py docs/performance.md            # writes the file anew
    scripts/performance_tables.py --check docs/performance.md    # fails where the file is not what the rows give

Between the lines `<!-- rows: FILE -->` and `<!-- end -->` goes a table of the rows in FILE (beside the document, a
folder in the name is fine) under the machine that they were measured on. `<!-- rows: FILE | COLUMN, COLUMN -->` names
the columns; without, those that the kind of rows needs. Between `<!-- peers: FILE -->` and `<!-- end -->` goes a table
of what scripts/measure_peers.py wrote, under a chart of it, which lies beside FILE as .svg. Python's standard library is
all it takes.
"""
import argparse
import json
import pathlib
import re
import statistics
import sys

from peers_chart import chart

BLOCK = re.compile(r"(<!-- (rows|peers): ([^|>]+?)(?: \| ([^>]+?))? -->\n).*?(<!-- end -->)", re.DOTALL)
MISSING = "-"


def number(value):
    """Three significant digits, without an exponent."""
    if value is None:
        return MISSING
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:.{digits}f}"


def seconds(value):
    for unit, factor in (("s", 1), ("ms", 1e3)):
        if value * factor >= 1:
            return f"{number(value * factor)} {unit}"
    return f"{number(value * 1e6)} us"


def share(row, name):
    value = (row["peaks"] or {}).get(name)
    return MISSING if value is None else f"{value:.2f}"


def shape(row):
    s = row["shape"]
    if "q_len" in s:
        heads = f"{s['heads']}/{s['kv_heads']} x {s['head_dim']}"
        return f"{heads}, {s['q_len']} on {s['kv_len']}" + (", causal" if s["causal"] else "")
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in s.items())


def scratch(row):
    return MISSING if row["scratch_bytes"] is None else f"{row['scratch_bytes'] / 1024:.0f} KiB"


def error(row):
    return MISSING if row["accuracy"] is None else f"{row['accuracy']['rel_norm']:.1e}"


def gain(row):
    """How many times as fast as the same answer without drafts: the median over the rounds."""
    return f"{row['gain']:.2f} x" if "gain" in row else MISSING


COLUMNS = {
    "layer": lambda r: r["layer"],
    "preset": lambda r: r["preset"],
    "shape": shape,
    "type": lambda r: r["dtype"],
    "path": lambda r: r["path"] + (f", tile {r['tile']}" if r["tile"] else ""),
    "ISA": lambda r: r["isa"],
    "threads": lambda r: str(r["threads"]),
    "median": lambda r: seconds(r["seconds"]["median"]),
    "best": lambda r: seconds(r["seconds"]["min"]),
    "tokens/s": lambda r: number(r["tokens_per_second"]),
    "GFLOP/s": lambda r: number(r["gflops"]),
    "of FMA peak": lambda r: share(r, "fma_share"),
    "best of best": lambda r: share(r, "fma_share_best"),
    "GB/s": lambda r: number(r["gbs"]),
    "of read peak": lambda r: share(r, "read_share"),
    "best read of best": lambda r: share(r, "read_share_best"),
    "scratch": scratch,
    "error": error,
    "with drafts": gain,
}
TEXT = {"layer", "preset", "shape", "type", "path", "ISA"}


def usual_columns(rows):
    layer = rows[0]["layer"]
    if layer.startswith(("model.", "image.")):
        return ["preset", "layer", "shape", "type", "ISA", "threads", "median", "tokens/s", "of FMA peak", "error"]
    start = ["layer", "preset", "shape", "type", "path", "ISA", "threads", "median"]
    if layer == "attention.decode":
        return start + ["GB/s", "of read peak", "best read of best", "scratch", "error"]
    if layer.startswith("attention."):
        return start + ["GFLOP/s", "of FMA peak", "best of best", "scratch", "error"]
    return start + ["GFLOP/s", "of FMA peak", "GB/s", "of read peak", "error"]


def read_rows(path):
    text = path.read_text(encoding="utf-8")
    try:
        document = json.loads(text)
        rows = document["rows"] if "rows" in document else [document]
    except json.JSONDecodeError:
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    wrong = sorted({str(row.get("schema")) for row in rows if row.get("schema") != 1})
    if wrong or not rows:
        raise ValueError(f"{path}: schema {', '.join(wrong) or 'of no row'}, want rows of schema 1")
    plain = None  # the last row of an answer without drafts, which those with drafts follow
    for row in rows:
        draft = row["shape"].get("draft")
        if draft == 0:
            plain = row
        elif draft:
            row["gain"] = statistics.median(a / b for a, b in zip(plain["samples"], row["samples"]))
    return rows


def state(row, when):
    facts = row[when]
    names = (("governor", "{}"), ("clock_mhz", "{:.0f} MHz"), ("temperature_c", "{:.0f} C"),
             ("throttle_events", "{} throttle events"))
    return ", ".join(form.format(facts[name]) for name, form in names if facts[name] is not None) or "not readable"


def machine_lines(rows):
    lines = []
    for row in rows:
        e = row["environment"]
        line = (f"{e['cpu']}, {e['physical_cores']} cores; qwen3vl {e['version']}, {e['build']}, "
                f"{e['compiler']}, `{e['flags']}`.")
        if line not in lines:
            lines.append(line)
    samples = sorted({len(row["samples"]) for row in rows})
    counts = str(samples[0]) if len(samples) == 1 else f"{samples[0]} to {samples[-1]}"
    busy = [len(row["busy_samples"]) for row in rows if row.get("busy_samples") is not None]
    if busy:
        kept = sum(len(row["samples"]) for row in rows)
        counts += f" (of {kept + sum(busy)} in all, the {kept} that began and ended while nobody else used the cores)"
    lines.append(f"Median of {counts} samples. Before: {state(rows[0], 'before')}; after: {state(rows[-1], 'after')}.")
    rounds = [ns for row in rows for ns in (row["peaks"] or {}).get("rounds", {}).get("handover_ns", []) if ns is not None]
    if rounds:
        lines.append(f"Core-to-core latency: {min(rounds):.0f} to {max(rounds):.0f} ns, median "
                     f"{statistics.median(rounds):.0f} ns.")
    return lines


def table(rows, columns):
    lines = ["| " + " | ".join(columns) + " |", "|" + "|".join("---" if c in TEXT else "---:" for c in columns) + "|"]
    for row in rows:
        cells = [COLUMNS[c](row).replace("|", "\\|") for c in columns]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def commands(rows):
    unique = list(dict.fromkeys(row["command"] for row in rows))
    return ["", f"The first row again: `{unique[0]}`"] if unique[0] else []


def advantage(row):
    """How many times as fast as the fastest of the others qwen3vl was: the median over the rounds."""
    ratios = []
    for speeds in row["rounds"]:
        others = [value for name, value in speeds.items() if name != "qwen3vl"]
        own = speeds["qwen3vl"]
        ratios.append(min(others) / own if row["unit"] == "s" else own / max(others))
    return statistics.median(ratios)


def peers_rows(path):
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def peers_case(row):
    """Its name, and for each engine the median as a speed and as it is written."""
    in_seconds = row["unit"] == "s"
    speeds = {}
    for engine in row["rounds"][0]:
        value = statistics.median(speeds[engine] for speeds in row["rounds"] if engine in speeds)
        speeds[engine] = (1 / value, seconds(value)) if in_seconds else (value, f"{number(value)} t/s")
    return row["what"] + (f", {row['isa']}" if row.get("isa", "avx2") != "avx2" else ""), speeds


def peers_table(path):
    rows = peers_rows(path)
    engines = list(dict.fromkeys(name for row in rows for name in row["rounds"][0]))
    columns = ["case", "threads", *engines, "rounds", "against the fastest other"]
    lines = ["| " + " | ".join(columns) + " |", "|---|" + "---:|" * (len(columns) - 1)]
    for row in rows:
        case, speeds = peers_case(row)
        cells = [case, str(row["threads"])] + [speeds[engine][1] if engine in speeds else MISSING for engine in engines]
        lines.append("| " + " | ".join([*cells, str(len(row["rounds"])), f"{advantage(row):.2f} x"]) + " |")
    e = rows[0]["environment"]
    return [f"{e['cpu']}, {e['physical_cores']} cores, AVX2 only unless a row names more; qwen3vl {e['version']}. Medians over the "
            "rounds, all engines in turn.", ""] + lines


def section(folder, match):
    begin, kind, name, wanted, end = match.groups()
    path = folder / name
    if not path.exists():
        return f"{begin}Not measured yet: `{name}`.\n{end}"
    if kind == "peers":
        picture = pathlib.Path(name).with_suffix(".svg")
        link = f"![Speed of each engine beside qwen3vl]({picture.as_posix()})\n\n"
        return begin + link + "\n".join(peers_table(path)) + "\n" + end
    rows = read_rows(path)
    columns = [c.strip() for c in wanted.split(",")] if wanted else usual_columns(rows)
    unknown = [c for c in columns if c not in COLUMNS]
    if unknown:
        raise ValueError(f"rows: {name}: column {unknown[0]!r}, want some of {', '.join(COLUMNS)}")
    lines = machine_lines(rows) + [""] + table(rows, columns) + commands(rows)
    return begin + "\n".join(lines) + "\n" + end


def charts(folder, text):
    """What the pictures beside the files of peers hold."""
    paths = [folder / match.group(3) for match in BLOCK.finditer(text) if match.group(2) == "peers"]
    return {p.with_suffix(".svg"): chart([peers_case(row) for row in peers_rows(p)]) for p in paths if p.exists()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("document", type=pathlib.Path)
    parser.add_argument("--check", action="store_true", help="write nothing, fail where something would change")
    options = parser.parse_args()
    before = options.document.read_text(encoding="utf-8")
    try:
        after, count = BLOCK.subn(lambda m: section(options.document.parent, m), before)
    except (ValueError, KeyError) as problem:
        sys.exit(f"performance_tables.py: {problem}")
    if count == 0:
        sys.exit(f"performance_tables.py: {options.document}: no line <!-- rows: FILE --> with its <!-- end -->")
    pictures = charts(options.document.parent, before)
    if options.check:
        same = after == before and all(p.exists() and p.read_text(encoding="utf-8") == svg for p, svg in pictures.items())
        sys.exit(0 if same else f"performance_tables.py: {options.document}: not what the rows give; "
                                           "run scripts/performance_tables.py on it")
    options.document.write_text(after, encoding="utf-8")
    for picture, svg in pictures.items():
        picture.write_text(svg, encoding="utf-8")


if __name__ == "__main__":
    main()
