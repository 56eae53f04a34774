"""Thousands of requests, random faults, processes ended in the middle: the ledger agrees with the upstream's books.

2,000 requests by default; CHEAPFIRST_RECONCILE_REQUESTS=10000 asks for more.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from cheapfirst.ledger import Recorder, journal
from cheapfirst.ledger.report import report
from cheapfirst.money import from_pico
from cheapfirst.simulator import FAULTS, Options, SimModel, serve_in_thread
from cheapfirst.simulator.thread import Handle

HERE = Path(__file__).parent
REQUESTS = int(os.environ.get("CHEAPFIRST_RECONCILE_REQUESTS", "2000"))
CONCURRENCY = 32  # of the program
PICO = 10**12

POLICY = """
[tiers]
cheap = ["sim/small", "sim/other"]
premium = "sim/large"

[routes]
extract = { tier = "cheap", shape = "json", reask = true }
draft = { tier = "cheap", shape = "text", on_reject = "return" }
chat = { tier = "cheap", shape = "stream", stream = "pass" }
write = { tier = "cheap", shape = "text", stream = "hold" }

[limits]
retries = 2
backoff = 0.002
deadline = 5.0
timeouts = { connect = 2.0, first_token = 0.25, silence = 0.25, total = 0.5 }

[upstream]
native_fallback = true  # the session is told to the upstream, so its books name our requests

[models."sim/small"]
input = 0.1
output = 0.2
structured = "json_schema"

[models."sim/other"]
input = 0.2
output = 0.4

[models."sim/large"]
input = 5
output = 25
structured = "json_schema"
"""
MODELS = (
    SimModel(id="sim/small", canonical="sim/small-20260101", input=Decimal("0.1"), output=Decimal("0.2")),
    SimModel(id="sim/other", input=Decimal("0.2"), output=Decimal("0.4"), cancel_stops_billing=False),
    SimModel(id="sim/large", skill="premium", input=Decimal(5), output=Decimal(25)),
)
FINAL = {"401", "402_empty", "403_moderation", "403_guardrail", "412_precondition", "413_too_large"}
RATES = {name: 0.002 if name in FINAL else 0.008 for name in FAULTS}
"""Every fault that there is; about one call in three meets one or more."""


class Said(Struct):
    """What the lives of the program acknowledged."""

    ids: dict[str, str] = field(default_factory=dict)  # session -> request id
    numbers: set[int] = field(default_factory=set)
    ends: Counter[str] = field(default_factory=Counter)
    killed: set[str] = field(default_factory=set)  # lives that were ended


class Attempt(Struct, frozen=True):
    """One row of the ledger."""

    request: str
    session: str
    generation: str | None
    cost: int | None  # picodollars


def live(files: Path, base_url: str, said: Said, *, life: str, stop: tuple[int, signal.Signals] | None) -> int:
    """Run the program on what is not yet done; `stop` sends a signal once so many more are acknowledged."""
    left = [number for number in range(REQUESTS) if number not in said.numbers]
    orderly = "yes" if life.startswith("orderly") else "no"
    process = subprocess.Popen(
        [
            *(sys.executable, os.fspath(HERE / "routing.py"), os.fspath(files / "cheapfirst.toml"), base_url),
            *(os.fspath(files / "ledger.db"), life, orderly, ",".join(map(str, left))),
        ],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.fspath(HERE.parents[1] / "src")},
    )
    assert process.stdout is not None
    try:
        for count, line in enumerate(process.stdout, 1):
            own, number, id, end = line.split()
            assert said.ids.setdefault(f"{own}-{number}", id) == id
            said.numbers.add(int(number))
            said.ends[end] += 1
            if stop is not None and count == stop[0]:
                process.send_signal(stop[1])
                said.killed.add(life)
        return process.wait(60)
    finally:
        process.kill()
        process.communicate()


def settled(simulator: Handle) -> dict[str, Any]:
    """The books once no generation is on its way any more."""
    end = time.monotonic() + 30
    while (books := simulator.books())["open"] and time.monotonic() < end:
        time.sleep(0.05)
    assert books["open"] == 0
    return books


def pico(usd: str) -> int:
    amount = Decimal(usd) * PICO
    assert amount == int(amount)
    return int(amount)


def read(path: Path) -> tuple[dict[str, str], list[Attempt]]:
    """The ledger's requests (id by session) and attempts."""
    with sqlite3.connect(path) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        requests = db.execute("SELECT session, id, attempts FROM requests").fetchall()
        rows = db.execute(
            "SELECT request_id, session, generation_id, attempts.cost, number FROM attempts "
            "JOIN requests ON requests.id = request_id ORDER BY request_id, number"
        ).fetchall()
        (orphans,) = db.execute(
            "SELECT count(*) FROM attempts WHERE request_id NOT IN (SELECT id FROM requests)"
        ).fetchone()
    assert orphans == 0
    assert len({session for session, _, _ in requests}) == len(requests)  # no request twice
    numbers: dict[str, list[int]] = {id: [] for _, id, _ in requests}
    for id, _, _, _, number in rows:
        numbers[id].append(number)
    assert all(numbers[id] == list(range(1, count + 1)) for _, id, count in requests)  # with all its attempts
    return {session: id for session, id, _ in requests}, [Attempt(*row[:4]) for row in rows]


def test_every_answer_is_in_the_ledger_once_and_its_costs_are_those_of_the_upstreams_books(tmp_path: Path) -> None:
    (tmp_path / "cheapfirst.toml").write_text(POLICY)
    path = tmp_path / "ledger.db"
    said = Said()
    began = time.monotonic()
    with serve_in_thread(Options(models=MODELS, retry_after=0.002, slow=0.01, seed=11, faults=RATES)) as simulator:
        part = REQUESTS // 5
        url = simulator.base_url
        assert live(tmp_path, url, said, life="orderly", stop=(part, signal.SIGTERM)) == 3
        assert live(tmp_path, url, said, life="ended", stop=(part, signal.SIGTERM)) == -signal.SIGTERM
        assert live(tmp_path, url, said, life="killed", stop=(part, signal.SIGKILL)) == -signal.SIGKILL
        assert live(tmp_path, url, said, life="last", stop=None) == 0
        books = settled(simulator)
    recorder = Recorder(path)
    assert recorder.flush(60)
    recorder.close()
    assert journal.present(journal.directory(path)) == []

    assert said.numbers == set(range(REQUESTS))
    requests, attempts = read(path)
    lost = {session: id for session, id in said.ids.items() if requests.get(session) != id}
    assert lost == {}  # every answered request, under its id
    unsaid = Counter(session.partition("-")[0] for session in requests.keys() - said.ids.keys())
    assert set(unsaid) <= said.killed  # recorded, but its caller was gone before it heard
    assert all(count <= CONCURRENCY for count in unsaid.values())

    lines = {line["id"]: line for line in books["generations"]}
    assert len(lines) == books["total"]["generations"]
    named = [attempt for attempt in attempts if attempt.generation is not None]
    assert len({attempt.generation for attempt in named}) == len(named)
    wrong = [
        (attempt, lines[attempt.generation]["cost"])
        for attempt in named
        if attempt.generation is not None
        and attempt.cost is not None
        and attempt.cost != pico(lines[attempt.generation]["cost"])
    ]
    assert wrong == []  # to the last picodollar
    assert all(lines[attempt.generation]["session"] == attempt.session for attempt in named if attempt.generation)
    assert all(not attempt.cost for attempt in attempts if attempt.generation is None)  # refused: nothing; or unknown

    known = sum(attempt.cost for attempt in attempts if attempt.cost is not None)
    unknown = sum(pico(lines[a.generation]["cost"]) for a in named if a.generation is not None and a.cost is None)
    strays = [line for id, line in lines.items() if id not in {attempt.generation for attempt in named}]
    unheard = Counter(a.session for a in attempts if a.generation is None and a.cost is None)
    heard_of = Counter(line["session"] for line in strays if line["session"] in requests)
    assert heard_of <= unheard  # the ledger has an attempt of unknown cost that brought no id
    in_flight = [line for line in strays if line["session"] not in requests]
    lives = Counter(line["session"].partition("-")[0] for line in in_flight)
    assert set(lives) <= {"ended", "killed"}  # an orderly end records what it leaves behind
    assert len({line["session"] for line in in_flight if line["session"] in said.ids}) == 0
    assert all(len({s["session"] for s in in_flight if s["session"].startswith(life)}) <= CONCURRENCY for life in lives)

    stray = sum(pico(line["cost"]) for line in strays)
    assert pico(books["total"]["cost"]) - known - unknown - stray == 0
    found = report(path)
    assert found.total.cost == from_pico(known)
    assert found.total.requests == len(requests)
    assert found.total.attempts == len(attempts)
    assert found.total.unknown_attempts == sum(attempt.cost is None for attempt in attempts)
    assert found.losses.dropped == 0

    print(
        f"\n{len(said.ids):,} requests acknowledged ({dict(said.ends)}), {len(requests):,} in the ledger with "
        f"{len(attempts):,} attempts, {time.monotonic() - began:.1f} s\n"
        f"books: {books['requests']:,} calls, {len(lines):,} generations, ${books['total']['cost']}\n"
        f"  = ${from_pico(known)} known + ${from_pico(unknown)} of {sum(a.cost is None for a in named):,} attempts "
        f"that the ledger marks unknown + ${from_pico(stray)} of {len(strays):,} generations whose id never came "
        f"({len(strays) - len(in_flight):,} of unknown attempts, {len(in_flight):,} in flight at a kill)"
    )
    for line in in_flight:
        print(f"  in flight at the kill: {line['id']} {line['session']} ${line['cost']} {line['faults']}")
