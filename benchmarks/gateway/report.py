"""What a run found, as text: the machine, the tables with ratios to ours, what was absent, what to keep in mind."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from benchmarks.gateway.figures import Spread, added, ratio, spread, table
from benchmarks.gateway.measure import Memory, Row
from benchmarks.gateway.peers import OURS

BARE = "upstream"


class Found(Struct, frozen=True):
    machine: dict[str, str]
    settings: dict[str, Any]
    versions: dict[str, str]
    notes: dict[str, str]
    absent: dict[str, str]
    rows: list[Row]
    memories: list[Memory]

    def names(self) -> list[str]:
        return list(dict.fromkeys(row.name for row in self.rows))

    def values(self, name: str, kind: str, connections: int, of: Callable[[Row], float]) -> list[float]:
        """One figure of every round, in the order of the rounds."""
        return [of(row) for row in self.rows if (row.name, row.kind, row.connections) == (name, kind, connections)]


def rate(row: Row) -> float:
    return row.rate


def p50_ms(row: Row) -> float:
    return row.p50_ms


def p99_ms(row: Row) -> float:
    return row.p99_ms


def text(found: Found) -> str:
    """Everything that is printed."""
    parts = [machine(found)]
    for kind, connections in dict.fromkeys((row.kind, row.connections) for row in found.rows if row.kind != "text"):
        parts.append(speed(found, kind, connections))
    if found.rows:
        parts.append(saturation(found))
    if found.memories:
        parts.append(memory(found))
    for name, why in found.absent.items():
        parts.append(f"absent: {name}: {why}")
    return "\n\n".join(parts)


def machine(found: Found) -> str:
    lines = [f"{name}: {value}" for name, value in found.machine.items()]
    lines += [f"{name}: {value}" for name, value in found.settings.items()]
    lines += [f"{name} {found.versions[name]}: {note}" for name, note in found.notes.items()]
    busiest = max((row.upstream_cores for row in found.rows if row.name != BARE), default=0.0)
    lines.append(
        f"Load, upstream and gateway share {found.machine['cores']} cores. Median (least-greatest) over the rounds; "
        f"ratios are taken round by round. Behind a gateway the upstream used {busiest:.2f} of one core at most; "
        "its own row is what it does alone."
    )
    return "\n".join(lines)


def speed(found: Found, kind: str, connections: int) -> str:
    """One table: a row for each gateway, and one more for ours without a schema."""
    head = [
        "gateway",
        "per second",
        "ours / theirs",
        "p50 ms",
        "added p50",
        "p99 ms",
        "added p99",
        "CPU us",
        "upstream cores",
        "bad",
    ]
    ours = found.values(OURS, kind, connections, rate)
    rows = []
    for name in found.names():
        for of_kind in (kind, "text") if kind == "json" else (kind,):
            rates = found.values(name, of_kind, connections, rate)
            if not rates:
                continue
            p50, p99 = (found.values(name, of_kind, connections, of) for of in (p50_ms, p99_ms))
            cpu = spread(found.values(name, of_kind, connections, lambda row: row.cpu_us))
            cores = spread(found.values(name, of_kind, connections, lambda row: row.upstream_cores))
            bad = sum(found.values(name, of_kind, connections, lambda row: row.bad))
            rows.append(
                [
                    f"{name} {of_kind}" if found.values(name, "text", connections, rate) and kind == "json" else name,
                    _cell(spread(rates), 0 if min(rates) >= 100 else 1),
                    _cell(ratio(ours, rates), 2) if (name, of_kind) != (OURS, kind) else "1",
                    _cell(spread(p50), 3),
                    _added(p50, found.values(BARE, kind, connections, p50_ms)),
                    _cell(spread(p99), 2),
                    _added(p99, found.values(BARE, kind, connections, p99_ms)),
                    f"{cpu.median:,.0f}" if cpu else "",
                    f"{cores.median:.2f}" if cores else "",
                    f"{bad:,.0f}",
                ]
            )
    what = "streams of 50 chunks" if kind == "stream" else "whole answers"
    return f"{what}, {connections} connection{'s' if connections > 1 else ''}\n\n{table(head, rows)}"


def saturation(found: Found) -> str:
    """The most whole answers per second of each gateway, and at how many connections."""
    tried = list(dict.fromkeys(row.connections for row in found.rows if row.kind == "json"))

    def best(name: str) -> tuple[Spread, int] | None:
        held = [(spread(found.values(name, "json", connections, rate)), connections) for connections in tried]
        return max(((one, n) for one, n in held if one), key=lambda pair: pair[0].median, default=None)

    ours = best(OURS)
    rows = [
        [name, most[0].text(), str(most[1]), f"{ours[0].median / most[0].median:.2f}" if most[0].median else ""]
        for name in found.names()
        if ours and (most := best(name))
    ]
    return f"at saturation\n\n{table(['gateway', 'per second', 'connections', 'ours / theirs'], rows)}"


def memory(found: Found) -> str:
    head = ["gateway", "first 200 after s", "idle MB", "MB after", "PSS after", "requests", "theirs / ours"]
    ours = next((one.after_mb for one in found.memories if one.name == OURS), None)
    rows = [
        [
            one.name,
            f"{one.start_up:.2f}",
            f"{one.idle_mb:.0f}",
            f"{one.after_mb:.0f}",
            f"{one.after_pss_mb:.0f}" if one.after_pss_mb else "",
            f"{one.requests:,}",
            f"{one.after_mb / ours:.2f}" if ours else "",
        ]
        for one in found.memories
    ]
    what = "resident memory of all its processes (PSS: what they share counted once)"
    return f"start-up and {what}\n\n{table(head, rows)}"


def _cell(value: Spread | None, digits: int) -> str:
    return value.text(digits) if value else ""


def _added(values: list[float], floor: list[float]) -> str:
    more = added(values, floor)
    return f"{more.median:+,.3f}" if more else ""
