"""Reads the ledger's upstream calls for a comparison with the upstream's own books."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from pathlib import Path

from msgspec import Struct

from cheapfirst.errors import LedgerError
from cheapfirst.ledger import queries, store

PAGE = 500
"""Requests that are read at once."""

_COLUMNS = (
    "request_id, number, started, generation_id, model_asked, model_served, provider, outcome, "
    "prompt_tokens, completion_tokens, cached_tokens, reasoning_tokens, cost"
)


class Generation(Struct, frozen=True, kw_only=True):
    """One upstream call as the ledger has it."""

    request_id: str
    number: int
    time: float  # Unix seconds when it began
    generation_id: str | None  # None: the upstream did not say it
    model_asked: str
    model_served: str
    provider: str | None
    outcome: str
    prompt_tokens: int | None  # None: unknown, as all that follow
    completion_tokens: int | None
    cached_tokens: int | None
    reasoning_tokens: int | None
    cost: int | None  # picodollars


def read(path: Path, since: float, until: float) -> Iterator[Generation]:
    """Yield the calls of requests from `since` on and before `until` (Unix seconds), in the order of time, a page at a
    time. Imported requests are left out: they were made elsewhere. Raises LedgerError."""
    queries.bring_in(path)
    if not path.exists():
        return
    after = (since, "")
    while True:
        db = store.open_for_reading(path)  # for each page: a comparison takes long, and a reader holds the WAL back
        try:
            found = db.execute(
                "SELECT time, id FROM requests WHERE time >= ? AND time < ? AND (time, id) > (?, ?) "
                "AND id NOT LIKE 'imp\\_%' ESCAPE '\\' ORDER BY time, id LIMIT ?",
                (since, until, *after, PAGE),
            ).fetchall()
            times = {id: time for time, id in found}
            marks = ", ".join("?" * len(times))
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM attempts WHERE request_id IN ({marks})",  # noqa: S608 - marks only
                list(times),
            ).fetchall()
        except sqlite3.Error as error:
            raise LedgerError(f"the ledger {path} cannot be read: {error}.") from error
        finally:
            db.close()
        for request_id, number, started, *rest in sorted(rows, key=lambda row: (times[row[0]], row[0], row[1])):
            values = dict(zip(Generation.__struct_fields__[3:], rest, strict=True))
            yield Generation(request_id=request_id, number=number, time=times[request_id] + started, **values)
        if len(found) < PAGE:
            return
        after = found[-1]
