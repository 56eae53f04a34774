"""Adds up what several processes of one gateway counted. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

import msgspec
from msgspec import Struct, structs

from cheapfirst.gateway.exposition import Buckets, Family, Labels, Values

KEPT = ("counter", "histogram")
"""Kinds that outlive the process that counted: Prometheus takes a counter that falls for one that began anew."""


class Histogram(Struct, frozen=True, array_like=True):
    """`exposition.Buckets` on its way between processes."""

    counts: list[int]
    sum: float


Samples: TypeAlias = dict[str, list[tuple[Labels, int | float | Histogram]]]  # by the family's name


class Snapshot(Struct, frozen=True):
    """What one process counted so far, with what its dead predecessors had."""

    number: int  # the worker's
    pid: int  # 0: it does not answer, and this is what it had said before
    samples: Samples

    def total(self, family: Family) -> int:
        """The sum over all of a family's labels."""
        return sum(int(value) for _, value in self.samples.get(family.name, ()) if not isinstance(value, Histogram))


_ENCODER = msgspec.msgpack.Encoder()
_DECODER = msgspec.msgpack.Decoder(Snapshot)


def packed(snapshot: Snapshot) -> bytes:
    """The snapshot as bytes."""
    return _ENCODER.encode(snapshot)


def unpacked(content: bytes) -> Snapshot | None:
    """The snapshot of those bytes; None when they are none."""
    try:
        return _DECODER.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None


def snapshot(number: int, pid: int, families: Iterable[tuple[Family, Values]]) -> Snapshot:
    """What a process counted, to be sent."""
    return Snapshot(number, pid, {family.name: _sent(values) for family, values in families})


def kept(one: Snapshot, families: Iterable[Family]) -> Snapshot:
    """Only what outlives its process."""
    names = {family.name for family in families if family.kind in KEPT}
    return Snapshot(one.number, 0, {name: values for name, values in one.samples.items() if name in names})


def add(snapshots: Iterable[Snapshot], families: Iterable[Family]) -> list[tuple[Family, Values]]:
    """The families of all of them as one: each value as its family's `over` says."""
    held = list(snapshots)
    return [_added(family, held) for family in families]


def _added(family: Family, snapshots: list[Snapshot]) -> tuple[Family, Values]:
    each = family.over == "each"
    values: dict[Labels, float | Buckets] = {}
    for one in snapshots:
        for labels, sent in one.samples.get(family.name, ()):
            place = (*labels, str(one.number)) if each else labels
            values[place] = _both(family, values.get(place), sent)
    return (structs.replace(family, labels=(*family.labels, "worker")) if each else family), values


def _both(family: Family, held: float | Buckets | None, sent: float | Histogram) -> float | Buckets:
    if isinstance(sent, Histogram):
        sum_ = Buckets(family.bounds)
        sum_.counts, sum_.sum = sent.counts, sent.sum
        if isinstance(held, Buckets):
            sum_.counts = [one + other for one, other in zip(held.counts, sent.counts, strict=True)]
            sum_.sum += held.sum
        return sum_
    if held is None or isinstance(held, Buckets):
        return sent
    return max(held, sent) if family.over == "max" else held + sent


def _sent(values: Mapping[Labels, float | Buckets]) -> list[tuple[Labels, int | float | Histogram]]:
    return [
        (tuple(map(_plain, labels)), Histogram(value.counts, value.sum) if isinstance(value, Buckets) else value)
        for labels, value in values.items()
    ]


def _plain(label: str) -> str:
    """The label without halves of characters, which cannot be sent."""
    return label if label.isascii() else label.encode("utf-8", "replace").decode()
