"""Paired bootstrap intervals: the rows are drawn anew, and both ways are measured on the same draw."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from typing import Any

DRAWS = 1_000


def bootstrap(rows: Sequence[Any], measure: Callable[[Sequence[Any]], float], *, seed: int = 0) -> tuple[float, float]:
    """The 2.5th and 97.5th percentile of `measure` over redrawn rows."""
    draw = random.Random(seed)
    values = sorted(measure(draw.choices(rows, k=len(rows))) for _ in range(DRAWS))
    return values[round(0.025 * (DRAWS - 1))], values[round(0.975 * (DRAWS - 1))]


def of_pair(found: Sequence[Any]) -> Iterator[tuple[str, float, float]]:
    """Intervals of what is claimed for a pair: accuracy, differences to the baselines, saving."""
    if not found:
        return
    n = len(found)
    plain = [
        (
            one.ours,
            one.ours - one.premium,
            one.ours - one.plain,
            float(one.cost),
            float(one.plain_cost),
            float(one.premium_cost),
        )
        for one in found
    ]
    yield "accuracy", *bootstrap(plain, lambda rows: sum(row[0] for row in rows) / n)
    yield "accuracy above always premium", *bootstrap(plain, lambda rows: sum(row[1] for row in rows) / n)
    yield "accuracy above the plain schema check", *bootstrap(plain, lambda rows: sum(row[2] for row in rows) / n)
    yield "saved", *bootstrap(plain, lambda rows: 1 - sum(row[3] for row in rows) / sum(row[5] for row in rows))
