"""Durations as a histogram: small enough to keep for every hour and group, exact to 5 % when read."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from msgspec import Struct

SHORTEST = 0.001
"""Seconds: the first bucket holds all that took no longer."""

RATIO = 1.1
"""How much longer each bucket's upper bound is than the one's before. A duration read from a bucket is its geometric
middle, so it is off by at most sqrt(RATIO) - 1 = 4.9 %."""

LAST = 200
"""The last bucket's number: more than two days."""

_SCALE = 1.0 / math.log(RATIO)


def bucket(seconds: float) -> int:
    """The number of the bucket that holds a duration: bucket 0 up to SHORTEST, bucket n up to SHORTEST * RATIO**n."""
    if seconds <= SHORTEST:
        return 0
    return min(LAST, math.ceil(math.log(seconds / SHORTEST) * _SCALE - 1e-9))


def middle(number: int) -> float:
    """Seconds that a duration in this bucket is taken for."""
    return SHORTEST * RATIO ** (number - 0.5) if number > 0 else SHORTEST


class Latency(Struct, frozen=True):
    """How long something took, over many times."""

    counts: Mapping[int, int] = {}
    """Times by bucket."""

    @property
    def count(self) -> int:
        """How many durations are in it."""
        return sum(self.counts.values())

    def quantile(self, share: float) -> float | None:
        """Seconds that this share of the durations did not exceed (nearest rank), to 5 %; None: there are none."""
        rank = max(1, math.ceil(share * self.count))
        seen = 0
        for number in sorted(self.counts):
            seen += self.counts[number]
            if seen >= rank:
                return middle(number)
        return None


def merged(several: Iterable[Mapping[int, int]]) -> dict[int, int]:
    """The sum of histograms. Buckets that come to nothing are left out."""
    found: dict[int, int] = {}
    for one in several:
        for number, count in one.items():
            found[number] = found.get(number, 0) + count
    return {number: count for number, count in found.items() if count}
