"""Compares, when all is over, what clients heard, what the ledger has, and what the upstream billed."""

from __future__ import annotations

import sqlite3
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from benchmarks.soak.clients import Heard
from cheapfirst.ledger import Recorder, journal
from cheapfirst.ledger.report import report
from cheapfirst.money import from_pico

PICO = 10**12


class Audit(Struct):
    """What was found. Amounts are USD, as exact decimals."""

    acknowledged: int = 0  # request ids that clients heard
    requests: int = 0  # rows
    attempts: int = 0
    endings: dict[str, int] = field(default_factory=dict)
    billed: str = "0"  # by the upstream's books
    known: str = "0"  # of it, in the ledger
    unknown: str = "0"  # billed for attempts that the ledger marks unknown, by generation
    unheard: str = "0"  # billed for generations whose id never came back: the gateway or its client gave up
    unknown_attempts: dict[str, int] = field(default_factory=dict)  # attempts of unknown cost, by fault
    difference: str = "0"  # what is left over: must be 0
    violations: list[str] = field(default_factory=list)


def audit(path: Path, books: dict[str, Any], heard: Heard) -> Audit:
    """Return what the comparison finds."""
    found = Audit()
    wrong = found.violations
    recorder = Recorder(path)
    recorder.flush(60)
    recorder.close()
    if left := journal.present(journal.directory(path)):
        wrong.append(f"{len(left)} journal(s) were not brought in")
    with sqlite3.connect(path) as db:
        db.row_factory = sqlite3.Row
        requests = {row["id"]: dict(row) for row in db.execute("SELECT * FROM requests")}
        attempts = [dict(row) for row in db.execute("SELECT * FROM attempts ORDER BY request_id, number")]
        (total,) = db.execute("SELECT count(*) FROM requests").fetchone()
    found.requests, found.attempts = total, len(attempts)
    found.endings = dict(Counter(row["ending"] for row in requests.values()))
    _rows(found, requests, attempts, heard)
    _money(found, requests, attempts, books)
    told = report(path)
    if told.losses.dropped:
        wrong.append(f"the ledger lost {told.losses.dropped} record(s)")
    if told.total.requests != total or told.total.attempts != len(attempts):
        wrong.append("the report counts other requests or attempts than there are rows")
    return found


def _rows(found: Audit, requests: dict[str, Any], attempts: list[Any], heard: Heard) -> None:
    wrong = found.violations
    found.acknowledged = len(set(heard.ids))
    if found.acknowledged != len(heard.ids):
        wrong.append(f"{len(heard.ids) - found.acknowledged} request id(s) were told twice")
    if lost := set(heard.ids) - requests.keys():
        wrong.append(f"{len(lost)} acknowledged request(s) are not in the ledger: {sorted(lost)[:5]}")
    sessions = Counter(row["session"] for row in requests.values())
    if doubled := [session for session, count in sessions.items() if count > 1]:
        wrong.append(f"{len(doubled)} request(s) are in the ledger twice: {doubled[:5]}")
    numbers: dict[str, list[int]] = {id: [] for id in requests}
    for attempt in attempts:
        numbers.setdefault(attempt["request_id"], []).append(attempt["number"])
    odd = [
        id for id, have in numbers.items() if id not in requests or have != [*range(1, requests[id]["attempts"] + 1)]
    ]
    if odd:
        wrong.append(f"{len(odd)} request(s) have other attempts than they say: {odd[:5]}")
    other = [
        f"{id}: {cost} and {requests[id]['cost']} picodollars"
        for id, cost in heard.costs.items()
        if id in requests and cost != "unknown" and Decimal(cost) * PICO != requests[id]["cost"]
    ]
    if other:
        wrong.append(f"{len(other)} client(s) were told another cost than the ledger has: {other[:5]}")


def _money(found: Audit, requests: dict[str, Any], attempts: list[Any], books: dict[str, Any]) -> None:
    wrong = found.violations
    lines = {line["id"]: line for line in books["generations"]}
    if len(lines) != books["total"]["generations"]:
        wrong.append("the simulator's books do not list every generation")
    named = [attempt for attempt in attempts if attempt["generation_id"] is not None]
    if len({attempt["generation_id"] for attempt in named}) != len(named):
        wrong.append("two attempts have the same generation")
    strange = [attempt["generation_id"] for attempt in named if attempt["generation_id"] not in lines]
    if strange:
        wrong.append(f"{len(strange)} generation(s) of the ledger are not in the books: {strange[:5]}")
    named = [attempt for attempt in named if attempt["generation_id"] in lines]
    for attempt in named:
        line = lines[attempt["generation_id"]]
        if attempt["cost"] is not None and attempt["cost"] != pico(line["cost"]):
            wrong.append(f"{line['id']} cost {line['cost']}, and the ledger says {from_pico(attempt['cost'])}")
        if line["session"] != requests[attempt["request_id"]]["session"]:
            wrong.append(f"{line['id']} belongs to another request")
    paid = [a for a in attempts if a["generation_id"] is None and a["cost"]]
    if paid:
        wrong.append(f"{len(paid)} attempt(s) have a cost and no generation")
    have = {attempt["generation_id"] for attempt in named}
    strays = [line for id, line in lines.items() if id not in have]
    by_session = Counter(
        requests[a["request_id"]]["session"] for a in attempts if a["generation_id"] is None and a["cost"] is None
    )
    too_many = Counter(line["session"] for line in strays) - by_session
    if too_many:
        wrong.append(f"{too_many.total()} generation(s) were billed that no attempt accounts for: {[*too_many][:5]}")
    known = sum(attempt["cost"] for attempt in attempts if attempt["cost"] is not None)
    unknown = sum(pico(lines[a["generation_id"]]["cost"]) for a in named if a["cost"] is None)
    stray = sum(pico(line["cost"]) for line in strays)
    difference = pico(books["total"]["cost"]) - known - unknown - stray
    if difference:
        wrong.append(f"the books and the ledger differ by ${from_pico(difference)}")
    found.billed = books["total"]["cost"]
    found.known, found.unknown = f"{from_pico(known):f}", f"{from_pico(unknown):f}"
    found.unheard, found.difference = f"{from_pico(stray):f}", f"{from_pico(difference):f}"
    found.unknown_attempts = dict(Counter(str(a["fault"] or "no cost told") for a in attempts if a["cost"] is None))


def pico(usd: str) -> int:
    """Whole picodollars of an exact decimal."""
    amount = Decimal(usd) * PICO
    if amount != int(amount):
        raise ValueError(f"{usd} is no whole number of picodollars")
    return int(amount)
