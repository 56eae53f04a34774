"""What happened in the last minute, counted by the second. Pure.

A minute is any 60 seconds: a second counts until it lies whole 60 seconds back, so the limit holds in every such
stretch, and at worst a second more than 60 is looked at.
"""

from __future__ import annotations

import math
from typing import TypeAlias

LENGTH = 60

Marks: TypeAlias = dict[int, int]
"""Amount by second (Unix)."""


def prune(marks: Marks, now: float) -> None:
    """Forget what lies more than a minute back."""
    oldest = math.floor(now) - LENGTH
    for second in [second for second, amount in marks.items() if second < oldest or not amount]:
        del marks[second]


def used(marks: Marks) -> int:
    """The amount in the window; prune first."""
    return sum(marks.values())


def wait(marks: Marks, amount: int, limit: int, now: float) -> float:
    """Seconds until `amount` fits under `limit` if nothing else comes (0: now). More than the limit waits for an
    empty window: it is let in alone."""
    room = limit - used(marks)
    if amount <= room or room >= limit:
        return 0.0
    for second in sorted(marks):
        room += marks[second]
        if amount <= room or room >= limit:
            return max(second + LENGTH + 1 - now, 0.001)
    raise AssertionError("an empty window has room for everything")


def add(marks: Marks, amount: int, now: float) -> int:
    """Count the amount now; returns the second that it was counted in."""
    second = math.floor(now)
    marks[second] = marks.get(second, 0) + amount
    return second


def correct(marks: Marks, second: int, amount: int) -> None:
    """Change what was counted in a second by `amount`, unless that second is forgotten."""
    if second in marks:
        marks[second] = max(0, marks[second] + amount)
