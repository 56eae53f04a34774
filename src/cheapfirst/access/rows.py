"""Turns keys, counters and reservations into the columns of both stores, and back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from cheapfirst.access.books import Account, Held, Pace
from cheapfirst.access.concern import AccountId, PaceId
from cheapfirst.access.keys import Key
from cheapfirst.access.window import Marks

KEY = ("id", "name", "tenant", "tasks", "tiers", "models", "created", "expires", "revoked")
"""The columns of `cheapfirst_keys` without the digest."""

HELD = ("id", "expires", "amount", "accounts", "paces", "second", "tokens")
"""The columns of `cheapfirst_leases`."""

TABLES = (
    """CREATE TABLE IF NOT EXISTS cheapfirst_access (
        id INTEGER NOT NULL PRIMARY KEY CHECK (id = 1), format INTEGER NOT NULL, version BIGINT NOT NULL)""",
    """CREATE TABLE IF NOT EXISTS cheapfirst_keys (
        id TEXT NOT NULL PRIMARY KEY, digest TEXT NOT NULL UNIQUE, name TEXT NOT NULL, tenant TEXT,
        tasks TEXT NOT NULL, tiers TEXT NOT NULL, models TEXT NOT NULL,
        created DOUBLE PRECISION NOT NULL, expires DOUBLE PRECISION, revoked DOUBLE PRECISION)""",
    """CREATE UNIQUE INDEX IF NOT EXISTS cheapfirst_keys_by_name ON cheapfirst_keys (name) WHERE revoked IS NULL""",
    """CREATE TABLE IF NOT EXISTS cheapfirst_accounts (
        scope TEXT NOT NULL, subject TEXT NOT NULL, period TEXT NOT NULL,
        spent BIGINT NOT NULL, reserved BIGINT NOT NULL, PRIMARY KEY (scope, subject, period))""",
    """CREATE TABLE IF NOT EXISTS cheapfirst_paces (
        scope TEXT NOT NULL, subject TEXT NOT NULL, under_way BIGINT NOT NULL,
        requests TEXT NOT NULL, tokens TEXT NOT NULL, last BIGINT NOT NULL, PRIMARY KEY (scope, subject))""",
    """CREATE TABLE IF NOT EXISTS cheapfirst_leases (
        id TEXT NOT NULL PRIMARY KEY, expires DOUBLE PRECISION NOT NULL, amount BIGINT NOT NULL,
        accounts TEXT NOT NULL, paces TEXT NOT NULL, second BIGINT NOT NULL, tokens BIGINT NOT NULL)""",
    """CREATE INDEX IF NOT EXISTS cheapfirst_leases_by_expiry ON cheapfirst_leases (expires)""",
)
"""Both databases understand these. Money is in whole picodollars (USD * 10^12), times are Unix seconds."""

TIDY = (
    "DELETE FROM cheapfirst_accounts WHERE reserved = 0 AND length(period) = 10 AND period < {}",
    "DELETE FROM cheapfirst_accounts WHERE reserved = 0 AND length(period) = 7 AND period < {}",
    "DELETE FROM cheapfirst_paces WHERE under_way = 0 AND last < {}",
)
"""What `tidy` does; each takes one of the values of `store.oldest`."""

FORMAT = 1

_NAMES = msgspec.json.Decoder(tuple[str, ...])
_ACCOUNTS = msgspec.json.Decoder(list[tuple[str, str, str]])
_PACES = msgspec.json.Decoder(list[tuple[str, str]])
_MARKS = msgspec.json.Decoder(list[tuple[int, int]])


def of_key(key: Key) -> tuple[Any, ...]:
    """A key's columns."""
    return tuple(_text(value) if isinstance(value := getattr(key, name), tuple) else value for name in KEY)


def to_key(row: Sequence[Any]) -> Key:
    """A key from its columns."""
    said = dict(zip(KEY, row, strict=True))
    return Key(**{**said, **{name: _NAMES.decode(said[name]) for name in ("tasks", "tiers", "models")}})


def of_held(held: Held) -> tuple[Any, ...]:
    """A reservation's columns."""
    return (held.id, held.expires, held.amount, _text(held.accounts), _text(held.paces), held.second, held.tokens)


def to_held(row: Sequence[Any]) -> Held:
    """A reservation from its columns."""
    id, expires, amount, accounts, paces, second, tokens = row
    return Held(
        id=id,
        expires=expires,
        amount=amount,
        accounts=tuple(AccountId(*each) for each in _ACCOUNTS.decode(accounts)),  # type: ignore[arg-type]
        paces=tuple(PaceId(*each) for each in _PACES.decode(paces)),  # type: ignore[arg-type]
        second=second,
        tokens=tokens,
    )


def of_account(id: AccountId, account: Account) -> tuple[Any, ...]:
    """An account's columns."""
    return (*id, account.spent, account.reserved)


def to_account(row: Sequence[Any]) -> tuple[AccountId, Account]:
    """An account from its columns."""
    return AccountId(*row[:3]), Account(*row[3:])


def of_pace(id: PaceId, pace: Pace) -> tuple[Any, ...]:
    """A pace's columns."""
    last = max(pace.requests, default=0)
    return (*id, pace.open, _marks(pace.requests), _marks(pace.tokens), last)


def to_pace(row: Sequence[Any]) -> tuple[PaceId, Pace]:
    """A pace from its columns."""
    requests, tokens = (dict(_MARKS.decode(text)) for text in row[3:5])
    return PaceId(*row[:2]), Pace(row[2], requests, tokens)


def _marks(marks: Marks) -> str:
    return _text(list(marks.items()))


def _text(value: Any) -> str:
    return msgspec.json.encode(value).decode()
