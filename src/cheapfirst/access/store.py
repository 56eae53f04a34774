"""What a store of keys, budgets and rates can do, the same for SQLite and PostgreSQL."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from cheapfirst.access import books, period, place, window
from cheapfirst.access.books import Account, Ask, Books, Decision, Grant, Held, Pace, Settle
from cheapfirst.access.concern import AccountId, PaceId
from cheapfirst.access.keys import Key
from cheapfirst.errors import GatewayError

KEPT = 400 * 86400
"""Seconds for which what was spent in a day or a month stays readable."""


class Change(Struct, frozen=True):
    """What one batch came to: the answers, and what the store must now hold."""

    decisions: list[Decision]
    books: Books
    granted: list[Held]


class Counters(Struct, frozen=True):
    """Everything counted, for people."""

    accounts: dict[AccountId, Account]
    paces: dict[PaceId, Pace]


class Store(Protocol):
    """Every method raises StoreUnavailable when the store cannot be reached."""

    async def open(self) -> None: ...
    async def close(self) -> None: ...

    async def version(self) -> int:
        """A number that changes with every change of a key; 0: no key was ever made."""

    async def keys(self) -> list[tuple[str, Key]]:
        """Every key with its secret's digest, oldest first."""

    async def add_key(self, key: Key, digest: str) -> bool:
        """Keep a new key; False when another one that is not revoked has its name."""

    async def revoke_key(self, id: str, now: float) -> bool:
        """Revoke a key; False when there is none with that id, or it is revoked already."""

    async def work(self, asks: Sequence[Ask], settles: Sequence[Settle], now: float) -> list[Decision]:
        """Settle, then let in, all in one transaction that no other one can come between. Reservations that are past
        their time are settled first, each as wholly spent. Nothing is kept when it raises."""

    async def tidy(self, now: float) -> None:
        """Forget accounts of periods that ended KEPT seconds ago and paces that nothing was counted in for a while."""

    async def counters(self) -> Counters:
        """Every account and pace there is."""


def open_store(address: str) -> Store:
    """Return the store at an address (see `place.find`); nothing is opened yet. Raises MissingExtra, and GatewayError
    for the address of something else."""
    if place.is_postgres(address):
        from cheapfirst.access.postgres import Postgres

        return Postgres(address)
    if "://" in address:
        scheme = address.partition("://")[0]
        raise GatewayError(
            f"keys and budgets cannot be kept at {scheme}://...: name a file, or a postgresql:// URL, with --store or "
            f"{place.VARIABLE}"
        )
    from cheapfirst.access.sqlite import Sqlite

    return Sqlite(address)


def new_version() -> int:
    """A version that no store had before, so that a store put in another's place is noticed too."""
    return secrets.randbits(62) + 1


def oldest(now: float) -> tuple[str, str, int]:
    """What `tidy` goes by: the oldest day and month that are kept, and the second before which a pace is idle."""
    return period.name("day", now - KEPT), period.name("month", now - KEPT), int(now) - 2 * window.LENGTH


def account_ids(asks: Iterable[Ask], ended: Iterable[Held]) -> set[AccountId]:
    """The accounts that a batch is about."""
    found = {cap.account for ask in asks for cap in ask.concern.caps}
    return found.union(*(held.accounts for held in ended))


def pace_ids(asks: Iterable[Ask], ended: Iterable[Held]) -> set[PaceId]:
    """The paces that a batch is about."""
    found = {throttle.pace for ask in asks for throttle in ask.concern.throttles}
    return found.union(*(held.paces for held in ended))


def turn(found: Books, asks: Sequence[Ask], ended: Mapping[str, Held], settles: Sequence[Settle], now: float) -> Change:
    """Decide a batch on the counters found. `ended` are the reservations that were taken out of the store: those to be
    settled and those past their time."""
    said = {settle.id: settle for settle in settles}
    for held in ended.values():
        settle = said.get(held.id)
        books.settle(found, held, settle.cost if settle else None, settle.tokens if settle else None)
    decisions = [books.admit(found, ask, now) for ask in asks]
    return Change(decisions, found, [decision.held for decision in decisions if isinstance(decision, Grant)])
