"""Reads what the ledger has of one request: its row, its attempts and its plan."""

from __future__ import annotations

import contextlib
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from cheapfirst.errors import LedgerError
from cheapfirst.ledger import journal, queries, store
from cheapfirst.money import from_pico

LAST = "last"
"""In place of a request's id: the latest one."""

MONEY = ("cost", "cost_known", "baseline", "computed_cost", "reported_cost")
"""Columns of picodollars; here USD, exact."""

NESTED = ("reasons", "trail")
"""Columns of JSON."""

SHOWN = 5
"""Requests that are named where a beginning fits several."""


class Record(Struct, frozen=True):
    """One request as the ledger has it: cells by the name of their column, money in USD, times in Unix seconds."""

    request: dict[str, Any]
    attempts: list[dict[str, Any]]
    plan: dict[str, Any]  # its blueprint; empty: the ledger has none


def find(path: Path, id: str) -> Record:
    """Return the request with that id, or whose id alone begins so, or the latest (`last`).

    Brings in first what journals hold. Raises LedgerError when the ledger cannot be read or has no such request.
    """
    if not path.exists() and not journal.present(journal.directory(path)):
        raise LedgerError(f"there is no ledger at {path}. Name another one with --ledger or CHEAPFIRST_LEDGER.")
    with contextlib.suppress(sqlite3.Error, OSError):  # one that cannot be written now may still be read
        store.open_store(path).db.close()  # brings tables of an older version up to date
    queries.bring_in(path)
    db = store.open_for_reading(path)
    db.row_factory = sqlite3.Row
    try:
        db.execute("BEGIN")
        request = _request(db, path, id)
        attempts = db.execute(
            "SELECT * FROM attempts WHERE request_id = ? ORDER BY number", (request["id"],)
        ).fetchall()
        plan = db.execute("SELECT plan FROM plans WHERE hash = ?", (request["plan"],)).fetchone()
        return Record(
            request=_read(request),
            attempts=[_read(attempt) for attempt in attempts],
            plan=msgspec.json.decode(plan[0]) if plan is not None else {},
        )
    except sqlite3.Error as error:
        raise LedgerError(f"the ledger {path} cannot be read: {error}.") from error
    finally:
        db.close()


def _request(db: sqlite3.Connection, path: Path, id: str) -> sqlite3.Row:
    if id == LAST:
        found = db.execute("SELECT * FROM requests ORDER BY time DESC, id DESC LIMIT 1").fetchall()
        if not found:
            raise LedgerError(f"the ledger {path} has no requests yet.")
    else:
        query = "SELECT * FROM requests WHERE id >= ? AND id < ? ORDER BY id LIMIT ?"
        found = db.execute(query, (id, id + "\U0010ffff", SHOWN + 1)).fetchall()
        found = [row for row in found if row["id"] == id] or found
    if not found:
        raise LedgerError(
            f"the ledger {path} has no request {id!r}. Its id is in the answer (request_id) and in the header "
            f"x-cheapfirst-request-id; {LAST!r} is the latest. Another ledger is named with --ledger."
        )
    if len(found) > 1:
        some = ", ".join(row["id"] for row in found[:SHOWN]) + (", ..." if len(found) > SHOWN else "")
        raise LedgerError(f"several requests begin with {id!r}: {some}")
    row: sqlite3.Row = found[0]
    return row


def _read(row: sqlite3.Row) -> dict[str, Any]:
    return {name: _cell(name, row[name]) for name in row.keys()}  # noqa: SIM118 - iterating a Row gives its cells


def _cell(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in MONEY:
        amount: Decimal | None = from_pico(value)
        return amount
    if name in NESTED:
        return msgspec.json.decode(value)
    return value
