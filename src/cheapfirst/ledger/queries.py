"""The SQL behind reports. Sums are whole numbers in the database and exact decimals outside it."""

# ruff: noqa: S608 - the statements are put together from names in this file; values are always bound

from __future__ import annotations

import math
import sqlite3
from array import array
from collections.abc import Iterable, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

from cheapfirst.errors import LedgerError
from cheapfirst.ledger import journal, store
from cheapfirst.ledger.report import Escalation, Group, Latency, Lost, Turns, Wasted
from cheapfirst.money import from_pico

SPLIT = 10**9
"""Sums are taken over two halves of each amount: whole picodollars overflow SQLite's integers at 9.2 million USD."""

PERIOD = "requests.time >= :since AND requests.time < :until"
COMPARED = "cost IS NOT NULL AND baseline IS NOT NULL"
FOREVER = 1e300


def bring_in(path: Path) -> list[str]:
    """Bring in what the journals hold. Returns notes on what could not be. Raises LedgerError."""
    folder = journal.directory(path)
    if not journal.present(folder):
        return []
    try:
        db = store.open_store(path).db
        try:
            store.bring_in_left(db, folder)
            store.bring_in_live(db, folder)
        finally:
            db.close()
    except (sqlite3.Error, OSError) as error:
        return [f"requests that still wait in {folder} are not included: {error}"]
    return []


def ask(path: Path, since: float | None, until: float | None) -> dict[str, Any]:
    """Return the fields of a Report that come from the database, all read at one point in time."""
    period = {"since": -FOREVER if since is None else since, "until": FOREVER if until is None else until}
    db = store.open_for_reading(path)
    try:
        if not db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
            return {"total": Group()}
        db.execute("BEGIN")
        first, last = db.execute(f"SELECT min(time), max(time) FROM requests WHERE {PERIOD}", period).fetchone()
        return {
            "first": first,
            "last": last,
            "total": _groups(db, "NULL", period)[0],
            "endings": _endings(db, period),
            "turns": _turns(db, period),
            "escalations": _escalations(db, period),
            "tasks": _dearest(_groups(db, "task", period)),
            "features": _dearest(_groups(db, "feature", period)),
            "tenants": _dearest(_groups(db, "tenant", period)),
            "models": _dearest(_models(db, period)),
            "policies": _dearest(_groups(db, "policy_hash", period)),
            "latency": _latency(db, period),
            "wasted": _wasted(db, period),
            "losses": losses(db, period),
        }
    except sqlite3.Error as error:
        raise LedgerError(
            f"the ledger {path} cannot be read: {error}. If it is damaged, move it away: a new one is made, and "
            "`sqlite3 FILE .recover` saves what can be saved of the old one."
        ) from error
    finally:
        db.close()


def percentile(ordered: Sequence[float], share: float) -> float | None:
    """Return the smallest of the ordered values that at least `share` of them do not exceed (nearest rank)."""
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def _groups(db: sqlite3.Connection, by: str, period: dict[str, float]) -> list[Group]:
    found = db.execute(
        f"""SELECT {by}, count(*), sum(cheap), sum(cheap AND ending = 'accepted' AND tier = tier_planned),
            sum(ending = 'accepted'), sum(escalated), sum(attempts), sum(unknown_attempts), sum({COMPARED}),
            {_sum("cost_known")}, {_sum(f"iif({COMPARED}, cost, 0)")}, {_sum(f"iif({COMPARED}, baseline, 0)")}
            FROM requests WHERE {PERIOD} {"" if by == "NULL" else f"GROUP BY {by}"}""",
        period,
    )
    return [_group(row) for row in found]


def _group(row: Sequence[Any]) -> Group:
    name, *numbers = row
    requests, started, resolved, accepted, escalated, attempts, unknown, compared, *sums = (n or 0 for n in numbers)
    cost, compared_cost, baseline = (_usd(*sums[at : at + 2]) for at in (0, 2, 4))
    saved = baseline - compared_cost
    return Group(
        name=name,
        requests=requests,
        started_cheap=started,
        resolved_cheap=resolved,
        resolved_share=resolved / started if started else None,
        resolved_share_of_all=resolved / requests if requests else None,
        accepted=accepted,
        escalated=escalated,
        attempts=attempts,
        cost=cost,
        unknown_attempts=unknown,
        compared=compared,
        compared_cost=compared_cost,
        baseline=baseline,
        saved=saved,
        saved_share=float(saved / baseline) if baseline else None,
    )


def _models(db: sqlite3.Connection, period: dict[str, float]) -> list[Group]:
    """Requests by the model that answered them, attempts and their cost by the model that made them."""
    from msgspec import structs

    answered = {group.name: group for group in _groups(db, "model", period)}
    made = db.execute(
        f"""SELECT model_served, count(*), sum(attempts.cost IS NULL), {_sum("attempts.cost")}
            FROM requests JOIN attempts ON request_id = id WHERE {PERIOD} GROUP BY 1""",
        period,
    )
    spent = {name: (attempts, unknown, _usd(*sums)) for name, attempts, unknown, *sums in made}
    return [
        structs.replace(
            answered.get(name, Group(name=name)),
            **dict(zip(("attempts", "unknown_attempts", "cost"), spent.get(name, (0, 0, Decimal(0))), strict=True)),
        )
        for name in answered | spent
    ]


def _endings(db: sqlite3.Connection, period: dict[str, float]) -> dict[str, int]:
    return dict(
        db.execute(f"SELECT ending, count(*) FROM requests WHERE {PERIOD} GROUP BY 1 ORDER BY 2 DESC, 1", period)
    )


def _turns(db: sqlite3.Connection, period: dict[str, float]) -> Turns:
    names = Turns.__struct_fields__
    sums = ", ".join(f"sum({name})" for name in names)
    row = db.execute(f"SELECT {sums} FROM requests WHERE {PERIOD}", period).fetchone()
    return Turns(**{name: count or 0 for name, count in zip(names, row, strict=True)})


def _escalations(db: sqlite3.Connection, period: dict[str, float]) -> tuple[Escalation, ...]:
    found = db.execute(
        f"""SELECT task, json_extract(reason.value, '$.code') AS code,
            count(DISTINCT up.request_id || up.number) AS times
            FROM requests JOIN attempts AS up ON up.request_id = requests.id AND up."on" = 'reject'
            LEFT JOIN attempts AS before ON before.request_id = up.request_id AND before.number = up.number - 1
            LEFT JOIN json_each(before.reasons) AS reason
            WHERE {PERIOD} GROUP BY 1, 2 ORDER BY times DESC, task, code""",
        period,
    )
    return tuple(Escalation(task=task, code=code, count=times) for task, code, times in found)


def _latency(db: sqlite3.Connection, period: dict[str, float]) -> tuple[Latency, ...]:
    seconds = {True: array("d"), False: array("d")}
    every = array("d")
    for escalated, duration in db.execute(
        f"SELECT escalated, duration FROM requests WHERE {PERIOD} ORDER BY duration", period
    ):
        seconds[bool(escalated)].append(duration)
        every.append(duration)
    named = (("all", every), ("not escalated", seconds[False]), ("escalated", seconds[True]))
    return tuple(
        Latency(
            name=name,
            requests=len(ordered),
            p50=percentile(ordered, 0.50),
            p95=percentile(ordered, 0.95),
            p99=percentile(ordered, 0.99),
        )
        for name, ordered in named
    )


def _wasted(db: sqlite3.Connection, period: dict[str, float]) -> tuple[Wasted, ...]:
    found = db.execute(
        f"""SELECT CASE WHEN outcome <> 'answer' THEN outcome WHEN accepted = 0 THEN 'rejected' ELSE 'unused' END,
            count(*), sum(attempts.cost IS NULL), {_sum("attempts.cost")}
            FROM requests JOIN attempts ON request_id = id WHERE {PERIOD} AND NOT won GROUP BY 1""",
        period,
    )
    parts = [
        Wasted(name=name, attempts=attempts, cost=_usd(*sums), unknown_attempts=unknown)
        for name, attempts, unknown, *sums in found
    ]
    return tuple(sorted(parts, key=lambda part: (-part.cost, part.name)))


def losses(db: sqlite3.Connection, period: dict[str, float]) -> Lost:
    """What a period's requests are without."""
    within = PERIOD.replace("requests.", "losses.")
    counts = dict(db.execute(f"SELECT kind, sum(count) FROM losses WHERE {within} GROUP BY 1", period))
    last = db.execute(f"SELECT reason, time FROM losses WHERE {within} ORDER BY time DESC LIMIT 1", period).fetchone()
    reason, time = last or (None, None)
    return Lost(
        dropped=counts.get("dropped", 0),
        unreadable=counts.get("unreadable", 0),
        last_reason=reason,
        last_time=time,
    )


def _sum(column: str) -> str:
    return f"sum(({column}) / {SPLIT}), sum(({column}) % {SPLIT})"


def _usd(high: int | None, low: int | None) -> Decimal:
    return from_pico((high or 0) * SPLIT + (low or 0)) or Decimal(0)


def _dearest(groups: Iterable[Group]) -> tuple[Group, ...]:
    return tuple(sorted(groups, key=lambda group: (-group.cost, -group.requests, group.name or "")))
