"""Keys, budgets and rates in a SQLite file: for one machine, any number of processes on it."""

from __future__ import annotations

import asyncio
import os
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from cheapfirst.access import rows
from cheapfirst.access.books import Ask, Books, Decision, Held, Settle
from cheapfirst.access.keys import Key
from cheapfirst.access.store import Counters, account_ids, new_version, oldest, pace_ids, turn
from cheapfirst.errors import StoreUnavailable
from cheapfirst.ledger.journal import make_private

T = TypeVar("T")

PATIENCE = 5.0
"""Seconds to wait for another process that writes."""

AT_ONCE = 200
"""Reservations past their time that one batch settles."""

APPLICATION = 0x43484641  # "CHFA" in the file's header says what it is


class Sqlite:
    """A store in a file. It is made with the first key or the first request that a budget or rate binds, never by
    looking. All work is done on one thread of its own, so the event loop never waits for the disk.

    A batch survives the death of the process. Of the last moments before a power cut it may know nothing, as is usual
    for SQLite's write-ahead log without a sync for every transaction.
    """

    def __init__(self, address: str) -> None:
        self._path = Path(address)
        self._db: sqlite3.Connection | None = None
        self._file: tuple[int, int] | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cheapfirst-access")

    async def open(self) -> None:
        await self._run(self._existing)

    async def close(self) -> None:
        await self._run(self._shut)
        self._thread.shutdown(wait=False)

    async def version(self) -> int:
        return await self._run(lambda: self._one("SELECT version FROM cheapfirst_access"))

    async def keys(self) -> list[tuple[str, Key]]:
        return await self._run(self._keys)

    async def add_key(self, key: Key, digest: str) -> bool:
        return await self._run(lambda: self._add_key(key, digest))

    async def revoke_key(self, id: str, now: float) -> bool:
        sql = "UPDATE cheapfirst_keys SET revoked = ? WHERE id = ? AND revoked IS NULL"
        return await self._run(lambda: self._change(self._existing(), sql, (now, id)))

    async def work(self, asks: Sequence[Ask], settles: Sequence[Settle], now: float) -> list[Decision]:
        return await self._run(lambda: self._work(asks, settles, now))

    async def tidy(self, now: float) -> None:
        await self._run(lambda: self._tidy(now))

    async def counters(self) -> Counters:
        return await self._run(self._counters)

    async def _run(self, function: Callable[[], T]) -> T:
        try:
            return await asyncio.get_running_loop().run_in_executor(self._thread, function)
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(
                f"the store of keys and budgets {self._path} cannot be used: {error}. Check its permissions and the "
                "disk, or name another with CHEAPFIRST_STORE.",
                retry_after=1.0,
            ) from error

    def _existing(self) -> sqlite3.Connection | None:
        """The database, if there is one at the path by now."""
        file = self._identity()
        if file != self._file:
            self._shut()
        if self._db is None and file is not None:
            self._db, self._file = self._patiently(), file
        return self._db

    def _patiently(self) -> sqlite3.Connection:
        """Open the database; where another process is about to make it, SQLite itself would not wait."""
        until = time.monotonic() + PATIENCE
        while True:
            try:
                return self._connect()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or time.monotonic() > until:
                    raise
                time.sleep(0.01)

    def _made(self) -> sqlite3.Connection:
        """The database; it is made (0600, missing folders 0700) when it is absent."""
        if self._existing() is None:
            make_private(self._path.parent)
            os.close(os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        db = self._existing()
        assert db is not None
        return db

    def _connect(self) -> sqlite3.Connection:
        db = sqlite3.connect(self._path, timeout=PATIENCE, isolation_level=None, check_same_thread=False)
        try:
            (application,) = db.execute("PRAGMA application_id").fetchone()
            if application != APPLICATION:
                self._found(db)
            (format,) = db.execute("SELECT format FROM cheapfirst_access").fetchone()
            if format > rows.FORMAT:
                raise sqlite3.DatabaseError("a newer cheapfirst made it; upgrade cheapfirst")
            db.execute("PRAGMA synchronous = NORMAL")
        except BaseException:
            db.close()
            raise
        return db

    def _found(self, db: sqlite3.Connection) -> None:
        """Make the tables in an empty file."""
        db.execute("PRAGMA journal_mode = WAL")
        with _Transaction(db):
            if db.execute("SELECT count(*) FROM sqlite_master WHERE name NOT LIKE 'cheapfirst_%'").fetchone()[0]:
                indexes = "SELECT count(*) FROM sqlite_master WHERE name LIKE 'cheapfirst_%'"
                if not db.execute(indexes).fetchone()[0]:
                    raise sqlite3.DatabaseError("it is another program's database")
            for statement in rows.TABLES:
                db.execute(statement)
            db.execute("INSERT OR IGNORE INTO cheapfirst_access VALUES (1, ?, 0)", (rows.FORMAT,))
            db.execute(f"PRAGMA application_id = {APPLICATION}")

    def _identity(self) -> tuple[int, int] | None:
        try:
            found = os.stat(self._path)
        except FileNotFoundError:
            return None
        return found.st_dev, found.st_ino

    def _shut(self) -> None:
        if self._db is not None:
            self._db.close()
        self._db = self._file = None

    def _one(self, sql: str) -> int:
        db = self._existing()
        return int(db.execute(sql).fetchone()[0]) if db is not None else 0

    def _keys(self) -> list[tuple[str, Key]]:
        db = self._existing()
        if db is None:
            return []
        found = db.execute(f"SELECT digest, {', '.join(rows.KEY)} FROM cheapfirst_keys ORDER BY created, id")  # noqa: S608
        return [(row[0], rows.to_key(row[1:])) for row in found]

    def _add_key(self, key: Key, digest: str) -> bool:
        sql = f"INSERT OR IGNORE INTO cheapfirst_keys (digest, {', '.join(rows.KEY)}) VALUES ({_marks(10)})"  # noqa: S608
        return self._change(self._made(), sql, (digest, *rows.of_key(key)))

    def _change(self, db: sqlite3.Connection | None, sql: str, values: Sequence[Any]) -> bool:
        if db is None:
            return False
        with _Transaction(db):
            changed = db.execute(sql, values).rowcount == 1
            if changed:
                db.execute("UPDATE cheapfirst_access SET version = ?", (new_version(),))
        return changed

    def _tidy(self, now: float) -> None:
        db = self._existing()
        if db is not None:
            with _Transaction(db):
                for statement, value in zip(rows.TIDY, oldest(now), strict=True):
                    db.execute(statement.format("?"), (value,))

    def _counters(self) -> Counters:
        db = self._existing()
        if db is None:
            return Counters({}, {})
        accounts = db.execute("SELECT * FROM cheapfirst_accounts").fetchall()
        paces = db.execute("SELECT * FROM cheapfirst_paces").fetchall()
        return Counters(dict(map(rows.to_account, accounts)), dict(map(rows.to_pace, paces)))

    def _work(self, asks: Sequence[Ask], settles: Sequence[Settle], now: float) -> list[Decision]:
        db = self._made()
        with _Transaction(db):
            ended = _take(db, [settle.id for settle in settles], now)
            books = Books({}, {})
            for id in account_ids(asks, ended.values()):
                sql = "SELECT * FROM cheapfirst_accounts WHERE scope = ? AND subject = ? AND period = ?"
                books.accounts.update(map(rows.to_account, db.execute(sql, id)))
            for pace in pace_ids(asks, ended.values()):
                sql = "SELECT * FROM cheapfirst_paces WHERE scope = ? AND subject = ?"
                books.paces.update(map(rows.to_pace, db.execute(sql, pace)))
            change = turn(books, asks, ended, settles, now)
            if change.granted or ended:
                _put(db, "cheapfirst_accounts", 5, (rows.of_account(*each) for each in books.accounts.items()))
                _put(db, "cheapfirst_paces", 6, (rows.of_pace(*each) for each in books.paces.items()))
                _put(db, "cheapfirst_leases", 7, map(rows.of_held, change.granted))
        return change.decisions


def _take(db: sqlite3.Connection, ids: Sequence[str], now: float) -> dict[str, Held]:
    """Take these reservations and those past their time out of the store."""
    sql = f"DELETE FROM cheapfirst_leases WHERE id = ? RETURNING {', '.join(rows.HELD)}"  # noqa: S608
    late = db.execute("SELECT id FROM cheapfirst_leases WHERE expires <= ? LIMIT ?", (now, AT_ONCE)).fetchall()
    found: dict[str, Held] = {}
    for id in (*ids, *(row[0] for row in late)):
        for row in db.execute(sql, (id,)).fetchall():
            found[id] = rows.to_held(row)
    return found


def _put(db: sqlite3.Connection, table: str, columns: int, values: Iterable[tuple[Any, ...]]) -> None:
    db.executemany(f"INSERT OR REPLACE INTO {table} VALUES ({_marks(columns)})", values)  # noqa: S608


def _marks(count: int) -> str:
    return ", ".join("?" * count)


class _Transaction:
    """A write transaction: begun at once, so that nobody comes between reading and writing."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        if kind is None:
            try:
                self._db.execute("COMMIT")
                return
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")
