"""One model call as another tool's log tells it: what all logs have in common."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from msgspec import Struct

from cheapfirst.messages import Usage

Row = dict[str, Any]
"""One row of a log: a JSON object, or a line of CSV by the names of its columns. Numbers with a point are Decimal."""

LABELS = ("task", "feature", "tenant", "session")
"""What a log may say of a request in words, and what `--map` takes."""


class Entry(Struct, frozen=True, kw_only=True):
    """One call. Labels, times and tokens that the log does not say are None."""

    id: str  # the tool's own; the same call has the same one in every export
    time: float  # Unix seconds when it began
    model: str  # as the log spells it
    provider: str | None = None  # likewise
    generation_id: str | None = None
    usage: Usage | None = None
    cost: Decimal | None = None  # USD as the log says; None: it does not say
    batch: bool = False  # asked for in a batch, which has prices of its own
    task: str | None = None
    feature: str | None = None
    tenant: str | None = None
    session: str | None = None
    max_tokens: int | None = None
    duration: float = 0.0  # seconds; 0: not said
    first_token: float | None = None  # seconds; None: not streamed, or not said
    finish: str | None = None  # finish_reason
    failed: bool = False
    status: int | None = None  # HTTP status of a failure


class Skip(Struct, frozen=True):
    """A row that is fine and not a call to import, and why: few words that are the same for many rows."""

    why: str


class Malformed(Exception):
    """A row that cannot be understood; the message says why, without quoting what may be private."""
