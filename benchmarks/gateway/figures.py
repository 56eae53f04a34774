"""From rounds to figures: medians and spreads over the rounds, ratios to ours, and the tables that are printed."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence

from msgspec import Struct


class Spread(Struct, frozen=True):
    """The median of several rounds, and their least and greatest."""

    median: float
    low: float
    high: float

    def text(self, digits: int = 0) -> str:
        return f"{self.median:,.{digits}f} ({self.low:,.{digits}f}-{self.high:,.{digits}f})"


def spread(values: Iterable[float]) -> Spread | None:
    """Returns None when there are no values."""
    held = sorted(values)
    return Spread(statistics.median(held), held[0], held[-1]) if held else None


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread | None:
    """Ours over theirs, round by round, so that what slowed both in a round cancels out."""
    return spread(one / other for one, other in zip(ours, theirs, strict=False) if other)


def added(values: Sequence[float], floor: Sequence[float]) -> Spread | None:
    """What came on top of the floor, round by round."""
    return spread(value - least for value, least in zip(values, floor, strict=False))


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table with its columns in line; the first is text, the others are figures."""
    lines = [list(head), *map(list, rows)]
    wide = [max(len(line[at]) for line in lines) for at in range(len(head))]
    shown = [
        "| "
        + " | ".join(
            cell.ljust(n) if not at else cell.rjust(n) for at, (cell, n) in enumerate(zip(line, wide, strict=True))
        )
        + " |"
        for line in lines
    ]
    rule = "|" + "|".join("-" * (n + 1) + (":" if at else "-") for at, n in enumerate(wide)) + "|"
    return "\n".join([shown[0], rule, *shown[1:]])
