"""`python -m benchmarks.soak`: runs it, says what was found, and ends with 1 when anything was wrong."""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from benchmarks.soak.audit import Audit, audit
from benchmarks.soak.clients import Client, Heard
from benchmarks.soak.scene import Program, page, scene

SAMPLES = 200  # of memory, over the run
WARM = 0.25  # share of the run after which memory has to be flat
FLAT = 1.0  # MB for each 10,000 requests
ENOUGH = 5_000  # requests from which a slope means something
KEPT = 40.0  # seconds in which the gateway closes connections to the upstream that nobody uses


class Summary(Struct):
    """A soak in figures. Memory is MB, times are seconds."""

    requests: int
    streamed: int
    seconds: float
    requests_per_second: float
    statuses: dict[int, int]
    ways: dict[str, int]
    streams: dict[str, int]
    upstream_calls: int
    memory: dict[str, float]
    connections: dict[str, int]
    audit: Audit
    violations: list[str] = field(default_factory=list)


def main(arguments: list[str] | None = None) -> int:
    """Run the command and return its exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--requests", type=int, default=100_000)
    parser.add_argument("--clients", type=int, default=64, help="at once (default: 64)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true", help="the whole summary as JSON")
    parser.add_argument("--keep", type=Path, help="folder for the ledger and the policy (default: a temporary one)")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        summary = soak(folder, requests=given.requests, clients=given.clients, seed=given.seed)
    if given.json:
        print(msgspec.json.format(msgspec.json.encode(summary)).decode())
    else:
        print(plain(summary))
    return 1 if summary.violations else 0


def soak(folder: Path, *, requests: int, clients: int, seed: int, idle: bool = True) -> Summary:
    """Run a soak. `idle`: also wait until unused connections to the upstream are closed, which takes half a minute."""
    heard = Heard()
    with scene(folder, seed=seed, requests=requests) as (simulator, gateway):
        began = time.monotonic()
        samples = asyncio.run(_load(gateway, heard, requests=requests, clients=clients, seed=seed))
        seconds = time.monotonic() - began
        left = _left(gateway, wait=20.0, upstream=False)
        if idle:
            left = _left(gateway, wait=KEPT, upstream=True)
        rest = page(gateway.url.removesuffix("/v1") + "/health")
        memory = gateway.memory()
        ended = gateway.stop()
        books = _settled(simulator)
        log = [line for line in gateway.said if "Traceback" in line or "ERROR" in line or "failed inside" in line]
    found = audit(folder / "ledger.db", books, heard)
    slope = _slope(samples[int(len(samples) * WARM) :])
    summary = Summary(
        requests=heard.asked,
        streamed=heard.streamed,
        seconds=round(seconds, 1),
        requests_per_second=round(heard.asked / seconds, 1),
        statuses=dict(sorted(heard.statuses.items())),
        ways=dict(heard.ways),
        streams=dict(heard.streams),
        upstream_calls=books["requests"],
        memory={
            "first": round(samples[0][1], 1),
            "warm": round(samples[int(len(samples) * WARM)][1], 1),
            "last": round(samples[-1][1], 1),
            "idle": round(memory, 1),
            "slope_per_10000": round(slope, 3),
        },
        connections={
            "clients": left[0],
            "upstream": left[1],
            "running": rest["requests"]["running"],
            "waiting": rest["requests"]["waiting"],
        },
        audit=found,
    )
    summary.violations = [
        *heard.wrong,
        *found.violations,
        *(f"the gateway's log: {line}" for line in log[:20]),
        *([f"the gateway ended with {ended}"] if ended else []),
        *([f"{left[0]} connection(s) of clients that are gone are still open"] if left[0] else []),
        *([f"{left[1]} unused connection(s) to the upstream are still open"] if idle and left[1] else []),
        *(["requests are still under way that nobody made"] if any(rest["requests"][k] for k in _WAY) else []),
        *([f"memory grows by {slope:.2f} MB for each 10,000 requests"] if requests >= ENOUGH and slope > FLAT else []),
    ]
    return summary


_WAY = ("running", "waiting")


async def _load(gateway: Program, heard: Heard, *, requests: int, clients: int, seed: int) -> list[tuple[int, float]]:
    """Let the clients ask, and look at the gateway's memory meanwhile: (requests asked, MB)."""
    numbers = iter(range(requests))
    samples = [(0, gateway.memory())]
    step = max(1, requests // SAMPLES)

    async def one(which: int) -> None:
        client = Client(gateway.url, heard, random.Random(f"{seed} {which}"))
        for number in numbers:
            await client.ask(number)
            if heard.asked >= samples[-1][0] + step:
                samples.append((heard.asked, gateway.memory()))
        client.hang_up()

    await asyncio.gather(*(one(which) for which in range(clients)))
    return samples


def _left(gateway: Program, *, wait: float, upstream: bool) -> tuple[int, int]:
    """The gateway's connections, once there are none any more or `wait` seconds have passed."""
    end = time.monotonic() + wait
    while (left := gateway.sockets())[0] or (upstream and left[1]):
        if time.monotonic() > end:
            break
        time.sleep(0.1)
    return left


def _settled(simulator: Program) -> Any:
    """The books once no generation is on its way."""
    url = simulator.url.removesuffix("/api/v1") + "/_simulator/books"
    end = time.monotonic() + 30
    while (books := page(url))["open"] and time.monotonic() < end:
        time.sleep(0.2)
    return books


def _slope(samples: list[tuple[int, float]]) -> float:
    """MB for each 10,000 requests: least squares."""
    count = len(samples)
    if count < 2:
        return 0.0
    middle = sum(x for x, _ in samples) / count
    mean = sum(y for _, y in samples) / count
    spread = sum((x - middle) ** 2 for x, _ in samples)
    return 10_000 * sum((x - middle) * (y - mean) for x, y in samples) / spread if spread else 0.0


def plain(summary: Summary) -> str:
    """The summary for people."""
    found, memory = summary.audit, summary.memory
    unknown = ", ".join(f"{count} {name}" for name, count in sorted(found.unknown_attempts.items())) or "none"
    lines = [
        f"{summary.requests:,} requests, {summary.streamed:,} streamed, {summary.seconds:g} s "
        f"({summary.requests_per_second:g}/s), {summary.upstream_calls:,} upstream calls (simulated)",
        f"clients     {_counts(summary.ways)}",
        f"statuses    {_counts(summary.statuses)}",
        f"streams     {_counts(summary.streams)}",
        f"ledger      {found.acknowledged:,} acknowledged, {found.requests:,} rows, {found.attempts:,} attempts; "
        f"{_counts(found.endings)}",
        f"books       ${found.billed} = ${found.known} known + ${found.unknown} of attempts with a generation and no "
        f"cost + ${found.unheard} of generations nobody heard of; difference ${found.difference}",
        f"unknown     {unknown}",
        f"memory      {memory['first']} MB at first, {memory['warm']} warm, {memory['last']} at last, "
        f"{memory['idle']} idle: {memory['slope_per_10000']:+} MB for each 10,000 requests",
        f"connections {_counts(summary.connections)}",
    ]
    if summary.violations:
        lines += [f"{len(summary.violations)} VIOLATIONS", *(f"  {one}" for one in summary.violations[:50])]
    else:
        lines.append("nothing lost, nothing doubled, nothing stuck, every cent accounted for")
    return "\n".join(lines)


def _counts(counted: dict[Any, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counted.items())


if __name__ == "__main__":
    sys.exit(main())
