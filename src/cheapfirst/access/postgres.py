"""Keys, budgets and rates in PostgreSQL: for any number of gateways on any number of machines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from cheapfirst.access import place, rows
from cheapfirst.access.books import Ask, Books, Decision, Held, Settle
from cheapfirst.access.keys import Key
from cheapfirst.access.store import Change, Counters, account_ids, new_version, oldest, pace_ids, turn
from cheapfirst.errors import MissingExtra, StoreUnavailable

try:
    import asyncpg
except ImportError as error:
    raise MissingExtra("asyncpg", "postgres", "a PostgreSQL store") from error

LOCK = 0x63666163
"""The advisory lock under which batches of all gateways follow one another."""

PATIENCE = 5.0
"""Seconds to wait for the server, for each step."""


class Postgres:
    """A store in a PostgreSQL database; its tables are made when they are absent, and begin with `cheapfirst_`.

    Batches of all gateways follow one another under one lock, and a busy gateway's batches are large, so what bounds
    requests per second is the database's round trips over how many requests come in during them.
    """

    def __init__(self, address: str) -> None:
        self._address = address
        self._pool: asyncpg.Pool[Any] | None = None
        self._opening = asyncio.Lock()

    async def open(self) -> None:
        async with self._connection():
            pass

    async def close(self) -> None:
        if self._pool is not None:
            pool, self._pool = self._pool, None
            try:
                await asyncio.wait_for(pool.close(), PATIENCE)
            except (TimeoutError, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
                pool.terminate()

    async def version(self) -> int:
        async with self._connection() as db:
            return int(await db.fetchval("SELECT version FROM cheapfirst_access"))

    async def keys(self) -> list[tuple[str, Key]]:
        async with self._connection() as db:
            found = await db.fetch(f"SELECT digest, {', '.join(rows.KEY)} FROM cheapfirst_keys ORDER BY created, id")  # noqa: S608
        return [(row[0], rows.to_key(tuple(row)[1:])) for row in found]

    async def add_key(self, key: Key, digest: str) -> bool:
        return await self._change(
            f"INSERT INTO cheapfirst_keys (digest, {', '.join(rows.KEY)}) "  # noqa: S608
            "VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10) ON CONFLICT DO NOTHING",
            digest,
            *rows.of_key(key),
        )

    async def revoke_key(self, id: str, now: float) -> bool:
        return await self._change("UPDATE cheapfirst_keys SET revoked = $1 WHERE id = $2 AND revoked IS NULL", now, id)

    async def work(self, asks: Sequence[Ask], settles: Sequence[Settle], now: float) -> list[Decision]:
        async with self._connection() as db, db.transaction():
            await db.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            ended = await _take(db, [settle.id for settle in settles], now)
            change = turn(await _read(db, asks, ended.values()), asks, ended, settles, now)
            if change.granted or ended:
                await _write(db, change)
        return change.decisions

    async def tidy(self, now: float) -> None:
        async with self._connection() as db, db.transaction():
            await db.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
            for statement, value in zip(rows.TIDY, oldest(now), strict=True):
                await db.execute(statement.format("$1"), value)

    async def counters(self) -> Counters:
        async with self._connection() as db:
            accounts = await db.fetch("SELECT scope, subject, period, spent, reserved FROM cheapfirst_accounts")
            paces = await db.fetch("SELECT scope, subject, under_way, requests, tokens, last FROM cheapfirst_paces")
        return Counters(
            dict(rows.to_account(tuple(row)) for row in accounts), dict(rows.to_pace(tuple(row)) for row in paces)
        )

    async def _change(self, sql: str, *values: Any) -> bool:
        async with self._connection() as db, db.transaction():
            changed = (await db.execute(sql, *values)).endswith(" 1")
            if changed:
                await db.execute("UPDATE cheapfirst_access SET version = $1", new_version())
        return bool(changed)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[Any]:
        try:
            async with self._opening:
                if self._pool is None:
                    self._pool = await self._connect()
            async with self._pool.acquire(timeout=PATIENCE) as db:
                yield db
        except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
            raise StoreUnavailable(
                f"the store of keys and budgets {place.shown(self._address)} cannot be used: "
                f"{type(error).__name__}. Check the server and the address in CHEAPFIRST_STORE.",
                retry_after=1.0,
            ) from error

    async def _connect(self) -> asyncpg.Pool[Any]:
        pool = await asyncpg.create_pool(
            self._address, min_size=0, max_size=3, timeout=PATIENCE, command_timeout=PATIENCE
        )
        try:
            async with pool.acquire(timeout=PATIENCE) as db, db.transaction():
                await db.execute("SELECT pg_advisory_xact_lock($1)", LOCK)
                if await db.fetchval("SELECT to_regclass('cheapfirst_access')") is None:
                    for statement in rows.TABLES:
                        await db.execute(statement)
                    await db.execute("INSERT INTO cheapfirst_access VALUES (1, $1, 0)", rows.FORMAT)
                format = await db.fetchval("SELECT format FROM cheapfirst_access")
                if format > rows.FORMAT:
                    raise StoreUnavailable(
                        f"a newer cheapfirst made the store {place.shown(self._address)}; upgrade this one"
                    )
        except BaseException:
            pool.terminate()
            raise
        return pool


async def _take(db: Any, ids: Sequence[str], now: float) -> dict[str, Held]:
    """Take these reservations and those past their time out of the store."""
    found = await db.fetch(
        f"DELETE FROM cheapfirst_leases WHERE id = ANY($1) OR expires <= $2 RETURNING {', '.join(rows.HELD)}",  # noqa: S608
        list(ids),
        now,
    )
    return {row[0]: rows.to_held(tuple(row)) for row in found}


async def _read(db: Any, asks: Sequence[Ask], ended: Any) -> Books:
    accounts, paces = account_ids(asks, ended), pace_ids(asks, ended)
    books = Books({}, {})
    if accounts:
        scopes, subjects, periods = zip(*accounts, strict=True)
        found = await db.fetch(
            "SELECT scope, subject, period, spent, reserved FROM cheapfirst_accounts "
            "WHERE (scope, subject, period) IN (SELECT * FROM unnest($1::text[], $2::text[], $3::text[]))",
            scopes,
            subjects,
            periods,
        )
        books.accounts.update(rows.to_account(tuple(row)) for row in found)
    if paces:
        scopes, subjects = zip(*paces, strict=True)
        found = await db.fetch(
            "SELECT scope, subject, under_way, requests, tokens, last FROM cheapfirst_paces "
            "WHERE (scope, subject) IN (SELECT * FROM unnest($1::text[], $2::text[]))",
            scopes,
            subjects,
        )
        books.paces.update(rows.to_pace(tuple(row)) for row in found)
    return books


async def _write(db: Any, change: Change) -> None:
    if change.books.accounts:
        await db.execute(
            "INSERT INTO cheapfirst_accounts "
            "SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[]) "
            "ON CONFLICT (scope, subject, period) DO UPDATE SET spent = excluded.spent, reserved = excluded.reserved",
            *zip(*(rows.of_account(*each) for each in change.books.accounts.items()), strict=True),
        )
    if change.books.paces:
        await db.execute(
            "INSERT INTO cheapfirst_paces "
            "SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::bigint[]) "
            "ON CONFLICT (scope, subject) DO UPDATE SET under_way = excluded.under_way, "
            "requests = excluded.requests, tokens = excluded.tokens, last = excluded.last",
            *zip(*(rows.of_pace(*each) for each in change.books.paces.items()), strict=True),
        )
    if change.granted:
        await db.execute(
            "INSERT INTO cheapfirst_leases SELECT * FROM unnest("
            "$1::text[], $2::float8[], $3::bigint[], $4::text[], $5::text[], $6::bigint[], $7::bigint[])",
            *zip(*map(rows.of_held, change.granted), strict=True),
        )
