"""The figures as one SVG file that reads in light and in dark: a dot for the median, a line from least to greatest."""

from __future__ import annotations

import math
from html import escape

from msgspec import Struct

from benchmarks.gateway.figures import Spread, added, spread
from benchmarks.gateway.peers import OURS, OURS_TWICE
from benchmarks.gateway.report import BARE, Found, p50_ms, rate

WIDTH, LEFT, RIGHT, LINE, HEAD, FOOT = 760, 170, 90, 24, 46, 34

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-weight: 600; font-size: 15px }
.quiet, .tick { fill: #57606a } .tick { font-size: 11px }
.grid { stroke: #d0d7de } .range { stroke: #8c959f; stroke-width: 3 } .dot { fill: #57606a }
.ours.range { stroke: #54a3ff } .ours.dot { fill: #0969da } text.ours { font-weight: 600 }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 } .quiet, .tick { fill: #9198a1 } .grid { stroke: #3d444d }
  .range { stroke: #656c76 } .dot { fill: #b1bac4 } .ours.range { stroke: #1f6feb } .ours.dot { fill: #58a6ff }
}
"""


class Panel(Struct, frozen=True):
    """One measure of every gateway, the best first, on a logarithmic scale."""

    title: str
    rows: list[tuple[str, Spread]]
    digits: int


def svg(found: Found) -> str:
    """The picture's text."""
    parts: list[str] = []
    top = 12.0
    for panel in panels(found):
        drawn, height = draw(panel, top)
        parts += drawn
        top += height
    machine = found.machine
    shared = f"{machine['cores']} cores shared by load, upstream and gateway"
    said = f"{machine['processor']}, {shared}; Python {machine['python']}"
    parts.append(f'<text class="quiet" x="12" y="{top + 8:g}">{escape(said)}</text>')
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {top + 24:g}" role="img">'
    return "\n".join([head, f"<style>{STYLE}</style>", *parts, "</svg>\n"])


def panels(found: Found) -> list[Panel]:
    """What is drawn: speed at each number of connections, the latency that one connection sees, streams, memory."""
    made = []
    for kind, connections in dict.fromkeys((row.kind, row.connections) for row in found.rows if row.kind != "text"):
        what = "streams of 50 chunks" if kind == "stream" else "whole answers"
        many = f"{connections} connection{'s' if connections > 1 else ''}"
        rates = [(name, spread(found.values(name, kind, connections, rate))) for name in found.names()]
        made.append(Panel(f"{what} per second, {many} (more is better)", _known(rates), 0))
        if kind == "json":
            floor = found.values(BARE, kind, connections, p50_ms)
            more = [
                (name, added(found.values(name, kind, connections, p50_ms), floor))
                for name in found.names()
                if name != BARE
            ]
            made.append(Panel(f"p50 added to the upstream's own, ms, {many} (less is better)", _known(more)[::-1], 2))
    if found.memories:
        least = sorted(found.memories, key=lambda one: one.after_mb)
        held = [(one.name, Spread(one.after_mb, min(one.idle_mb, one.after_mb), one.after_mb)) for one in least]
        made.append(Panel("memory, MB: from idle to after the requests (less is better)", held, 0))
    return [panel for panel in made if panel.rows]


def draw(panel: Panel, top: float) -> tuple[list[str], float]:
    """The panel's elements and its height."""
    low = min(value.low for _, value in panel.rows)
    high = max(value.high for _, value in panel.rows)
    first, last = math.floor(math.log10(low)), max(math.ceil(math.log10(high)), math.floor(math.log10(low)) + 1)
    room = WIDTH - LEFT - RIGHT
    height = HEAD + LINE * len(panel.rows) + FOOT

    def x(value: float) -> float:
        return round(LEFT + room * (math.log10(value) - first) / (last - first), 1)

    parts = [f'<text class="title" x="12" y="{top + 16:g}">{escape(panel.title)}</text>']
    bottom = top + HEAD + LINE * len(panel.rows) - 10
    for power in range(first, last + 1):
        at = x(10.0**power)
        label = f"{10.0**power:,.0f}" if power >= 0 else f"{10.0**power:g}"
        parts.append(f'<line class="grid" x1="{at}" x2="{at}" y1="{top + HEAD - 16:g}" y2="{bottom:g}"/>')
        parts.append(f'<text class="tick" x="{at}" y="{bottom + 14:g}" text-anchor="middle">{label}</text>')
    for at, (name, value) in enumerate(panel.rows):
        y = top + HEAD + LINE * at
        ours = " ours" if name in (OURS, OURS_TWICE) else ""
        shown = f"{value.median:,.{panel.digits}f}"
        parts.append(f'<text class="name{ours}" x="{LEFT - 12}" y="{y + 4:g}" text-anchor="end">{escape(name)}</text>')
        parts.append(f'<line class="range{ours}" x1="{x(value.low)}" x2="{x(value.high)}" y1="{y:g}" y2="{y:g}"/>')
        parts.append(f'<circle class="dot{ours}" cx="{x(value.median)}" cy="{y:g}" r="5"/>')
        parts.append(f'<text class="value{ours}" x="{x(value.high) + 10:g}" y="{y + 4:g}">{shown}</text>')
    return parts, height


def _known(rows: list[tuple[str, Spread | None]]) -> list[tuple[str, Spread]]:
    """Rows that have a figure which a logarithmic scale can show; the greatest first."""
    held = [(name, value) for name, value in rows if value is not None and value.low > 0]
    return sorted(held, key=lambda row: row[1].median, reverse=True)
