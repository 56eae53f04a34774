"""The gateway beside its peers, in front of one upstream that is not the bottleneck.

    python -m benchmarks.gateway [--quick] [--peers NAME ...] [--json FILE] [--plot FILE.svg]

Needs `wrk` and a C compiler. Peers are installed into a cache; one that cannot be is named with the reason.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path

import msgspec

from benchmarks.gateway import load, machine, measure, peers, plot, report


def main() -> None:
    arguments = parse(sys.argv[1:])
    try:
        load.require("wrk", "wrk")
        with tempfile.TemporaryDirectory() as folder:
            found = run(arguments, Path(folder))
    except load.Missing as error:
        sys.exit(str(error))
    print(report.text(found))
    if arguments.json:
        arguments.json.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1))
    if arguments.plot:
        arguments.plot.write_text(plot.svg(found))


def parse(given: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gateway", description=__doc__.split("\n")[0])
    parser.add_argument("--peers", nargs="*", choices=list(peers.PEERS), default=list(peers.PEERS), metavar="NAME")
    parser.add_argument("--quick", action="store_true", help="one second, one round, 1 and 16 connections")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each round of each gateway")
    parser.add_argument("--connections", type=int, nargs="+", default=[1, 16, 64, 256])
    parser.add_argument("--streams", type=int, nargs="+", default=[16], help="connections of the rounds with streams")
    parser.add_argument("--events-per-write", type=int, default=1, help="of the upstream's streams; 0: all at once")
    parser.add_argument("--requests", type=int, default=100_000, help="before memory is looked at; 0: not measured")
    parser.add_argument("--patience", type=float, default=90.0, help="seconds for them; slow peers make fewer")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "cheapfirst-benchmarks")
    parser.add_argument("--json", type=Path, help="write every round's figures there")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw the figures there")
    arguments = parser.parse_args(given)
    if arguments.quick:
        arguments.rounds, arguments.seconds, arguments.connections = 1, 1.0, [1, 16]
        arguments.requests = min(arguments.requests, 2_000)
    arguments.peers = [name for name in peers.PEERS if name == peers.OURS or name in arguments.peers]
    return arguments


def run(arguments: argparse.Namespace, folder: Path) -> report.Found:
    """Measure everything; the gateways run side by side, and one at a time is under load."""
    absent: dict[str, str] = {}
    rows: list[measure.Row] = []
    about = machine.describe()
    with contextlib.ExitStack() as stack:
        port, pid = stack.enter_context(load.upstream(folder, arguments.events_per_write))
        targets = [measure.bare(folder / "bare", port, pid)]
        for name in arguments.peers:
            say(f"starting {name} ...")
            try:
                targets.append(
                    stack.enter_context(measure.started(name, folder / name, arguments.cache.resolve(), port))
                )
            except peers.Absent as error:
                absent[name] = str(error)
                say(f"{name} is absent: {error}")
        wanted = [(kind, n) for n in arguments.connections for kind in ("json", "text")]
        wanted += [("stream", n) for n in arguments.streams]
        for target in targets:  # warm, and as many connections as there will be
            for kind in target.bodies:
                measure.one_round(target, kind, max(arguments.connections), 0, arguments.seconds, pid)
        for turn in range(arguments.rounds):
            for kind, connections in wanted:
                for target in targets:
                    if kind in target.bodies:
                        row = measure.one_round(target, kind, connections, turn, arguments.seconds, pid)
                        rows.append(row)
                        say(
                            f"{turn + 1}/{arguments.rounds} {target.name:22} {kind:6} {connections:4} connections "
                            f"{row.rate:9,.0f}/s  p50 {row.p50_ms:8.3f} ms  p99 {row.p99_ms:8.3f} ms  "
                            f"{row.cpu_us:7,.0f} us CPU{f'  {row.bad} bad' if row.bad else ''}"
                        )
        memories = []
        for target in targets[1:] if arguments.requests else []:
            say(f"filling {target.name} ...")
            memories.append(measure.fill(target, arguments.requests, arguments.patience))
        versions = {one.name: one.launch.version for one in targets if one.launch}
        notes = {one.name: one.launch.note for one in targets if one.launch}
    settings = {name: getattr(arguments, name) for name in ("rounds", "seconds", "events_per_write")}
    return report.Found(about, settings, versions, notes, absent, rows, memories)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
