"""Reads what figures are made of from a ledger file."""

# ruff: noqa: S608 - the statements are put together from names in this file; values are always bound

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

import msgspec

from cheapfirst.errors import LedgerError
from cheapfirst.ledger import rollup, store
from cheapfirst.ledger.figures import Filters, Window
from cheapfirst.ledger.report import Lost
from cheapfirst.ledger.rollup import By, MadeKey, ReasonKey, Rollup, Span
from cheapfirst.ledger.rows import AttemptRow, Reason, RequestRow

EQUAL = {
    "task": "task",
    "feature": "feature",
    "tenant": "tenant",
    "key": "key",
    "session": "session",
    "tier": "tier",
    "model": "model",
    "policy": "policy_hash",
    "ending": "ending",
}
"""Filters that compare a column of requests."""


class Source(Protocol):
    """Where figures come from. Every method raises LedgerError when it cannot be read."""

    def groups(
        self, window: Window, by: By, name: str | None, step: Span | None = None
    ) -> dict[tuple[int, str], rollup.Group]:
        """Groups by when they begin and name; `name` None: all. With a step none is longer than that."""

    def made(self, window: Window) -> dict[MadeKey, rollup.Made]: ...

    def reasons(self, window: Window, step: Span | None) -> dict[ReasonKey, int]: ...

    def requests(self, filters: Filters, before: tuple[float, str] | None, limit: int) -> list[RequestRow]: ...

    def request(self, id: str) -> tuple[RequestRow, tuple[AttemptRow, ...], str | None] | None: ...

    def losses(self, window: Window) -> Lost: ...

    def close(self) -> None: ...


def open_source(address: str | Path) -> Source:
    """The source at an address; nothing is opened yet."""
    return File(Path(address))


class File:
    """A ledger file. It is opened for each question: it may be absent at first, or be replaced."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def groups(
        self, window: Window, by: By, name: str | None, step: Span | None = None
    ) -> dict[tuple[int, str], rollup.Group]:
        with self._open() as db:
            raw = summed(db, window)
        return {(at, of): group for (at, a, of), group in raw.groups.items() if a == by and name in (None, of)}

    def made(self, window: Window) -> dict[MadeKey, rollup.Made]:
        with self._open() as db:
            return summed(db, window).made

    def reasons(self, window: Window, step: Span | None) -> dict[ReasonKey, int]:
        with self._open() as db:
            return summed(db, window).reasons

    def requests(self, filters: Filters, before: tuple[float, str] | None, limit: int) -> list[RequestRow]:
        where, values = conditions(filters, before)
        with self._open() as db:
            if db is None:
                return []
            found = db.execute(
                f"SELECT * FROM requests WHERE {where} ORDER BY time DESC, id DESC LIMIT {limit}", values
            )
            return [request_row(row) for row in found]

    def request(self, id: str) -> tuple[RequestRow, tuple[AttemptRow, ...], str | None] | None:
        with self._open() as db:
            row = db.execute("SELECT * FROM requests WHERE id = ?", (id,)).fetchone() if db is not None else None
            if db is None or row is None:
                return None
            request = request_row(row)
            made = db.execute("SELECT * FROM attempts WHERE request_id = ? ORDER BY number", (id,)).fetchall()
            plan = db.execute("SELECT plan FROM plans WHERE hash = ?", (request.plan,)).fetchone()
        return request, tuple(attempt_row(one) for one in made), plan[0] if plan is not None else None

    def losses(self, window: Window) -> Lost:
        from cheapfirst.ledger import queries

        with self._open() as db:
            return queries.losses(db, {"since": window.since, "until": window.until}) if db is not None else Lost()

    def close(self) -> None:
        """Nothing is kept open."""

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection | None]:
        """The ledger at one point in time; None: there is none yet."""
        if not self._path.exists():
            yield None
            return
        db = store.open_for_reading(self._path)
        try:
            if db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]:
                db.execute("BEGIN")
                yield db
            else:
                yield None
        except sqlite3.Error as error:
            raise LedgerError(f"the ledger {self._path} cannot be read: {error}. Check the file.") from error
        finally:
            db.close()


def summed(db: sqlite3.Connection | None, window: Window) -> Rollup:
    """The window's sums, from the rows themselves."""
    found = Rollup()
    if db is None:
        return found
    within = (window.since, window.until)
    made: dict[str, list[AttemptRow]] = {}
    for row in db.execute(
        "SELECT attempts.* FROM requests JOIN attempts ON request_id = id WHERE time >= ? AND time < ?", within
    ):
        attempt = attempt_row(row)
        made.setdefault(attempt.request_id, []).append(attempt)
    for row in db.execute("SELECT * FROM requests WHERE time >= ? AND time < ?", within):
        request = request_row(row)
        found.put(request, made.get(request.id, ()))
    return found


def conditions(filters: Filters, before: tuple[float, str] | None) -> tuple[str, list[Any]]:
    """What a request's row must meet, and the values to bind."""
    where, values = ["1 = 1"], list[Any]()
    if filters.window is not None:
        where.append("time >= ? AND time < ?")
        values += [filters.window.since, filters.window.until]
    if before is not None:
        where.append("(time, id) < (?, ?)")
        values += before
    for name, column in EQUAL.items():
        wanted = getattr(filters, name)
        if wanted is not None:
            where.append(f"coalesce({column}, '') = ?" if wanted == "" else f"{column} = ?")
            values.append(wanted)
    if filters.escalated is not None:
        where.append("escalated = ?")
        values.append(int(filters.escalated))
    if filters.unknown is not None:
        where.append("unknown_attempts > 0" if filters.unknown else "unknown_attempts = 0")
    if filters.reason is not None:
        where.append("EXISTS (SELECT 1 FROM json_each(reasons) AS code WHERE code.value = ?)")
        values.append(filters.reason)
    return " AND ".join(where), values


def request_row(row: tuple[Any, ...]) -> RequestRow:
    """A row of the table `requests`, its columns in their order."""
    cells = dict(zip(RequestRow.__struct_fields__, row, strict=True))
    cells["reasons"] = _CODES.decode(cells["reasons"]) if cells["reasons"] != "[]" else ()
    for name in ("cheap", "forced", "escalated"):
        cells[name] = bool(cells[name])
    return RequestRow(**cells)


def attempt_row(row: tuple[Any, ...]) -> AttemptRow:
    """A row of the table `attempts`, its columns in their order."""
    cells = dict(zip(AttemptRow.__struct_fields__, row, strict=True))
    cells["reasons"] = _REASONS.decode(cells["reasons"]) if cells["reasons"] != "[]" else ()
    cells["trail"] = _CODES.decode(cells["trail"]) if cells["trail"] != "[]" else ()
    cells["won"] = bool(cells["won"])
    if cells["accepted"] is not None:
        cells["accepted"] = bool(cells["accepted"])
    return AttemptRow(**cells)


_CODES = msgspec.json.Decoder(tuple[str, ...])
_REASONS = msgspec.json.Decoder(tuple[Reason, ...])
