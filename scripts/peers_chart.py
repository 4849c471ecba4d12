# SPDX-License-Identifier: Apache-2.0
"""The chart of docs/performance.md: how fast each engine is beside qwen3vl, as an SVG of bars. Used by performance_tables.py."""
from xml.sax.saxutils import escape

COLOURS = {"qwen3vl": "#1a62c4", "llama.cpp": "#8a8f98", "ik_llama.cpp": "#b9bec6", "ONNX Runtime": "#d3a24c"}
OTHER = "#777777"
WIDTH, LEFT, RIGHT = 860, 350, 90  # of the picture, of the names, of the last bar's figure
BAR, GAP, TOP = 10, 8, 44


def text(x, y, words, anchor="start", colour="#222222"):
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}">{escape(words)}</text>'


def bar(y, share, longest, colour, figure):
    width = share / longest * (WIDTH - LEFT - RIGHT)
    return [f'<rect x="{LEFT}" y="{y}" width="{width:.1f}" height="{BAR - 2}" fill="{colour}"/>',
            text(LEFT + width + 4, y + BAR - 3, figure)]


def legend(engines):
    parts, x = [text(LEFT - 8, 23, "longer is faster:", "end")], LEFT
    for engine in engines:
        parts += [f'<rect x="{x}" y="14" width="10" height="10" fill="{COLOURS.get(engine, OTHER)}"/>', text(x + 14, 23, engine)]
        x += 30 + 7 * len(engine)
    return parts


def chart(cases):
    """SVG of `cases`: (name, {engine: (speed, figure)}), one of the engines qwen3vl, whose bar is 1 long in every case."""
    engines = list(dict.fromkeys(engine for _, speeds in cases for engine in speeds))
    longest = max(speed / speeds["qwen3vl"][0] for _, speeds in cases for speed, _ in speeds.values())
    parts, y = legend(engines), TOP
    for name, speeds in cases:
        parts.append(text(LEFT - 8, y + BAR * len(speeds) / 2 + 3, name, "end"))
        for engine, (speed, figure) in speeds.items():
            parts += bar(y, speed / speeds["qwen3vl"][0], longest, COLOURS.get(engine, OTHER), figure)
            y += BAR
        y += GAP
    head = (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y}" viewBox="0 0 {WIDTH} {y}" '
            'font-family="sans-serif" font-size="11" role="img">\n<title>Speed of each engine, qwen3vl = 1: longer is '
            f'faster</title>\n<rect width="{WIDTH}" height="{y}" fill="#ffffff"/>\n')
    return head + "\n".join(parts) + "\n</svg>\n"
