"""Writes counted numbers down in the two text formats that Prometheus reads. Pure.

Formats: Prometheus text 0.0.4, and OpenMetrics 1.0 for scrapers that ask for it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from typing import Literal, TypeAlias

from msgspec import Struct

Labels: TypeAlias = tuple[str, ...]
Kind: TypeAlias = Literal["counter", "gauge", "histogram", "info"]

TEXT = "text/plain; version=0.0.4; charset=utf-8"
OPENMETRICS = "application/openmetrics-text; version=1.0.0; charset=utf-8"

_UNITS = ("seconds", "bytes", "usd", "tokens")


class Family(Struct, frozen=True):
    """One metric: what it is called without the suffix of its kind (`_total`, `_info`), and what it says."""

    name: str
    kind: Kind
    help: str
    labels: Labels = ()
    bounds: tuple[float, ...] = ()  # upper bounds of a histogram's buckets, without +Inf
    over: Literal["sum", "max", "each"] = "sum"  # what becomes of the values of several processes

    @property
    def full(self) -> str:
        """The name as Prometheus shows it."""
        return (
            f"{self.name}_total"
            if self.kind == "counter"
            else f"{self.name}_info"
            if self.kind == "info"
            else self.name
        )


class Buckets:
    """A histogram's values under one set of labels."""

    __slots__ = ("bounds", "counts", "sum")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)  # each value in one bucket; the last is +Inf's
        self.sum = 0.0

    def add(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value


Values: TypeAlias = Mapping[Labels, float | Buckets]


def page(families: Iterable[tuple[Family, Values]], *, openmetrics: bool = False) -> bytes:
    """Return the whole page. Families without a value are named all the same, so that what exists can be seen."""
    lines: list[str] = []
    for family, values in families:
        lines += _head(family, openmetrics)
        for labels, value in values.items():
            pairs = [f'{name}="{_quoted(label)}"' for name, label in zip(family.labels, labels, strict=True)]
            if isinstance(value, Buckets):
                lines += _histogram(family.name, pairs, value)
            else:
                lines.append(f"{family.full}{_braced(pairs)} {_number(value)}")
    if openmetrics:
        lines.append("# EOF")
    return ("\n".join(lines) + "\n").encode()


def wants_openmetrics(accept: str) -> bool:
    """Whether an Accept header asks for OpenMetrics. A weight of 0 refuses it."""
    for part in accept.lower().split(","):
        kind, *parameters = (piece.strip() for piece in part.split(";"))
        if kind == "application/openmetrics-text":
            return not any(piece.replace(" ", "").rstrip("0.") in ("q=", "q") for piece in parameters)
    return False


def _head(family: Family, openmetrics: bool) -> list[str]:
    if not openmetrics:
        kind = "gauge" if family.kind == "info" else family.kind
        return [f"# HELP {family.full} {_escaped(family.help)}", f"# TYPE {family.full} {kind}"]
    lines = [f"# TYPE {family.name} {family.kind}"]
    unit = family.name.rsplit("_", 1)[-1]
    if unit in _UNITS:
        lines.append(f"# UNIT {family.name} {unit}")
    return [*lines, f"# HELP {family.name} {_quoted(family.help)}"]


def _histogram(name: str, pairs: list[str], value: Buckets) -> list[str]:
    lines, below = [], 0
    for bound, count in zip((*value.bounds, float("inf")), value.counts, strict=True):
        below += count
        edge = "+Inf" if bound == float("inf") else _number(bound)
        edges = [*pairs, f'le="{edge}"']
        lines.append(f"{name}_bucket{_braced(edges)} {below}")
    return [*lines, f"{name}_count{_braced(pairs)} {below}", f"{name}_sum{_braced(pairs)} {_number(value.sum)}"]


def _braced(pairs: list[str]) -> str:
    return "{" + ",".join(pairs) + "}" if pairs else ""


def _number(value: float) -> str:
    return repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"').encode("utf-8", "replace").decode()
