"""The ledger's database: opens it, checks that it is one, and brings journals in, each line once."""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Iterable, Sequence
from hashlib import sha256
from pathlib import Path

import msgspec
from msgspec import Struct

from cheapfirst.errors import LedgerError
from cheapfirst.ledger import journal
from cheapfirst.ledger.rows import TOKENS, AttemptRow, CostRow, Line, LossRow, PlanRow, RequestRow, fits, values

VERSION = 2
APPLICATION = 0x43484650  # "CHFP" in the file's header says that it is a ledger
OLDEST_SQLITE = (3, 37, 0)  # STRICT tables

TOGETHER = 100
"""Rows in one statement: SQLite takes 32,766 values in one."""

_DECODER = msgspec.json.Decoder(Line)


class Opened(Struct, frozen=True):
    """An open ledger, and which file it was when it was opened."""

    db: sqlite3.Connection
    file: tuple[int, int]  # device and inode


def open_store(path: Path, *, wait: float = 5.0) -> Opened:
    """Open the ledger for writing, making it when it is absent (0600; missing folders 0700).

    `wait` is how long to wait for another writer, in seconds. Raises LedgerError when the file is not a ledger
    or a newer one, sqlite3.Error or OSError when it cannot be opened now.
    """
    _check_sqlite()
    journal.make_private(path.parent)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    file = _identity(path)
    db = _connect(path, wait)
    try:
        _check(db, path)
        db.execute("PRAGMA journal_mode = WAL")
        db.execute("PRAGMA synchronous = FULL")  # a journal is removed only when its rows are on the disk
        if _version(db) < VERSION:
            _make_tables(db)
    except BaseException:
        db.close()
        raise
    return Opened(db, file)


def open_for_reading(path: Path, *, wait: float = 5.0) -> sqlite3.Connection:
    """Open an existing ledger for queries only. Raises LedgerError when it cannot be read or is not one."""
    _check_sqlite()
    try:
        db = _connect(path.resolve(), wait, mode="ro")
        try:
            _check(db, path)
        except sqlite3.OperationalError:
            # A WAL database in a folder that we may not write to: read the file as it stands.
            db.close()
            db = _connect(path.resolve(), wait, mode="ro&immutable=1")
            _check(db, path)
    except sqlite3.Error as error:
        raise LedgerError(f"the ledger {path} cannot be read: {error}. Check its permissions.") from error
    return db


def same_file(opened: Opened, path: Path) -> bool:
    """Whether the path still names the file that was opened."""
    try:
        return _identity(path) == opened.file
    except OSError:
        return False


def bring_in(db: sqlite3.Connection, name: str, fd: int, *, ended: bool, owned: bool = False) -> int:
    """Bring a journal's lines into the database and return the offset up to which it now has them (bytes).

    Idempotent: offset and rows move in one transaction, and a request that is there already stays as it is.
    Lines that cannot be read are counted as losses. `ended`: nobody writes to the journal any more. Somebody
    else's journal (not `owned`) that is being removed is left alone. Raises sqlite3.Error and OSError.
    """
    while True:
        offset = _offset(db, name) or 0
        pieces, after = journal.read(fd, offset, ended=ended)
        if after == offset:
            return offset
        lines, unreadable = _decode(pieces)
        with Transaction(db):
            if (_offset(db, name) or 0) != offset:
                continue  # another process brought these in meanwhile
            if not owned and os.fstat(fd).st_nlink == 0:
                return after
            unreadable += _insert(db, lines)
            if unreadable:
                reason = "torn or damaged journal lines were skipped"
                lost = LossRow(
                    id=f"{name}:{offset}", time=time.time(), kind="unreadable", count=unreadable, reason=reason
                )
                _insert_rows(db, "losses", [lost])
            db.execute(
                'INSERT INTO journals (name, "offset") VALUES (?, ?) '
                'ON CONFLICT (name) DO UPDATE SET "offset" = excluded."offset"',
                (name, after),
            )


def bring_in_left(db: sqlite3.Connection, folder: Path) -> None:
    """Bring in and remove the journals that dead processes left in the folder. Raises sqlite3.Error and OSError."""
    for path in journal.present(folder):
        fd = _open_journal(path, os.O_RDWR)  # some file systems lock only what may be written
        if fd is None:
            continue
        try:
            if journal.lock(fd) and os.fstat(fd).st_nlink > 0:
                bring_in(db, path.name, fd, ended=True, owned=True)
                path.unlink(missing_ok=True)
                forget(db, path.name)
        finally:
            os.close(fd)


def bring_in_live(db: sqlite3.Connection, folder: Path) -> None:
    """Bring in what living processes have written so far; their files are only read. Raises as `bring_in`."""
    for path in journal.present(folder):
        fd = _open_journal(path, os.O_RDONLY)
        if fd is None:
            continue
        try:
            bring_in(db, path.name, fd, ended=False)
        finally:
            os.close(fd)


def forget(db: sqlite3.Connection, name: str) -> None:
    """Drop the offset of a journal whose file has been removed."""
    with Transaction(db):
        db.execute("DELETE FROM journals WHERE name = ?", (name,))


class Transaction:
    """A write transaction: taken at once, committed at the end, rolled back on any exception."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: object) -> None:
        try:
            self._db.execute("COMMIT" if kind is None else "ROLLBACK")
        except sqlite3.Error:
            if self._db.in_transaction:
                self._db.execute("ROLLBACK")
            if kind is None:
                raise


def _decode(pieces: Sequence[bytes]) -> tuple[list[Line], int]:
    lines, unreadable = [], 0
    for piece in pieces:
        if not piece:
            continue
        try:
            lines.append(_DECODER.decode(piece))
        except (msgspec.MsgspecError, UnicodeDecodeError):
            unreadable += 1
    return lines, unreadable


def _insert(db: sqlite3.Connection, lines: Sequence[Line]) -> int:
    """Insert the lines' rows; one whose values no column can hold is left out. Returns how many were."""
    if _entered(db, lines):
        return 0
    return sum(not _entered(db, [line]) for line in lines)


def _entered(db: sqlite3.Connection, lines: Sequence[Line]) -> bool:
    """Insert all of the lines' rows, or none: a row has values that no column can hold."""
    db.execute("SAVEPOINT lines")
    try:
        _insert_lines(db, lines)
    except (sqlite3.IntegrityError, sqlite3.DataError, OverflowError, UnicodeError):
        db.execute("ROLLBACK TO lines")
        db.execute("RELEASE lines")
        return False
    db.execute("RELEASE lines")
    return True


def _insert_lines(db: sqlite3.Connection, lines: Iterable[Line]) -> None:
    _insert_rows(db, "plans", [line.plan for line in lines if line.plan is not None])
    _insert_rows(db, "requests", [line.request for line in lines if line.request is not None])
    _insert_rows(db, "attempts", [attempt for line in lines for attempt in line.attempts])
    _insert_rows(db, "losses", [line.loss for line in lines if line.loss is not None])
    for line in lines:
        if line.cost is not None:
            _settle(db, line.cost)


def _settle(db: sqlite3.Connection, row: CostRow) -> None:
    """Enter a cost in its attempt's row, if that still lacks one, and sum its request up anew."""
    absent = ("generation_id", "provider", *TOKENS)
    entries = ", ".join(f"{name} = coalesce({name}, ?)" for name in absent)
    entered = db.execute(
        "UPDATE attempts SET cost = ?, reported_cost = coalesce(?, reported_cost), "  # noqa: S608 - our own names
        f"model_served = coalesce(?, model_served), {entries} "
        "WHERE request_id = ? AND number = ? AND cost IS NULL",
        (
            row.cost,
            row.reported_cost,
            row.model_served,
            *(getattr(row, name) for name in absent),
            row.request_id,
            row.number,
        ),
    ).rowcount
    if not entered:
        return
    own = db.execute(
        f"SELECT cost, {', '.join(TOKENS)} FROM attempts WHERE request_id = ?",  # noqa: S608 - our own names
        (row.request_id,),
    ).fetchall()
    costs, *tokens = [[cell for cell in column if cell is not None] for column in zip(*own, strict=True)]
    unknown = len(own) - len(costs)
    spent = sum(costs)
    sums = ", ".join(f"{name} = ?" for name in TOKENS)
    db.execute(
        f"UPDATE requests SET cost = ?, cost_known = ?, unknown_attempts = ?, {sums} WHERE id = ?",  # noqa: S608 - our own names
        (
            None if unknown else spent,
            spent,
            unknown,
            *(fits(sum(column)) if column else None for column in tokens),
            row.request_id,
        ),
    )


def _insert_rows(
    db: sqlite3.Connection, table: str, rows: Sequence[RequestRow | AttemptRow | PlanRow | LossRow]
) -> None:
    """Insert many rows a statement: between two statements the interpreter's lock changes hands, and the request path
    would wait for it after every row."""
    for begin in range(0, len(rows), TOGETHER):
        some = rows[begin : begin + TOGETHER]
        marks = "(" + ", ".join("?" * len(some[0].__struct_fields__)) + ")"
        # DO NOTHING only for rows that are there already; OR IGNORE would also swallow broken ones.
        statement = f"INSERT INTO {table} VALUES {', '.join([marks] * len(some))} ON CONFLICT DO NOTHING"  # noqa: S608 - our own names
        db.execute(statement, [cell for row in some for cell in values(row)])


def _offset(db: sqlite3.Connection, name: str) -> int | None:
    found = db.execute('SELECT "offset" FROM journals WHERE name = ?', (name,)).fetchone()
    return None if found is None else int(found[0])


def _open_journal(path: Path, flags: int) -> int | None:
    try:
        return os.open(path, flags | os.O_CLOEXEC)
    except OSError:
        return None  # removed meanwhile, or another user's


def _connect(path: Path, wait: float, mode: str = "rw") -> sqlite3.Connection:
    return sqlite3.connect(
        f"{path.resolve().as_uri()}?mode={mode}", uri=True, timeout=wait, isolation_level=None, check_same_thread=False
    )


def _check(db: sqlite3.Connection, path: Path) -> None:
    try:
        application = _pragma(db, "application_id")
        version = _version(db)
        tables = db.execute("SELECT count(*) FROM sqlite_schema").fetchone()[0]
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        raise LedgerError(
            f"{path} is not a ledger: {error}. Move it away, or name another file with {_HINT}; "
            "what was recorded meanwhile waits in the journals beside it."
        ) from error
    if application != APPLICATION and (tables or application):
        raise LedgerError(f"{path} is a database, but not a ledger. Name another file with {_HINT}.")
    if version > VERSION:
        raise LedgerError(
            f"the ledger {path} has version {version}; this cheapfirst reads up to {VERSION}. Upgrade cheapfirst."
        )


_HINT = "--ledger or CHEAPFIRST_LEDGER"


def _make_tables(db: sqlite3.Connection) -> None:
    """Make the tables, or bring those of an older version up to date; a second process finds it done."""
    with Transaction(db):
        version = _version(db)
        if version == 0:
            schema = Path(__file__).with_name("schema.sql").read_text(encoding="utf-8")
            for statement in schema.split(";\n"):
                db.execute(statement)
            db.execute(f"PRAGMA application_id = {APPLICATION}")
        elif version == 1:
            _share_plans(db)
        db.execute(f"PRAGMA user_version = {VERSION}")


def _share_plans(db: sqlite3.Connection) -> None:
    """From version 1, where each request held its whole plan, to 2."""
    db.execute("CREATE TABLE plans (hash TEXT NOT NULL PRIMARY KEY, plan TEXT NOT NULL) STRICT, WITHOUT ROWID")
    db.execute("ALTER TABLE requests ADD COLUMN key TEXT")
    db.execute("ALTER TABLE requests ADD COLUMN prompt_estimate INTEGER NOT NULL DEFAULT 0")
    for id, plan in db.execute("SELECT id, plan FROM requests").fetchall():
        told = msgspec.json.decode(plan)
        estimate = told.pop("prompt_tokens", 0)
        for attempt in told["attempts"]:
            attempt.pop("worst_case", None)
        text = msgspec.json.encode(told)
        digest = sha256(text).hexdigest()[:16]
        db.execute("INSERT INTO plans VALUES (?, ?) ON CONFLICT DO NOTHING", (digest, text.decode()))
        db.execute("UPDATE requests SET plan = ?, prompt_estimate = ? WHERE id = ?", (digest, estimate, id))


def _version(db: sqlite3.Connection) -> int:
    return _pragma(db, "user_version")


def _pragma(db: sqlite3.Connection, name: str) -> int:
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])


def _identity(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_dev, stat.st_ino


def _check_sqlite() -> None:
    if sqlite3.sqlite_version_info < OLDEST_SQLITE:
        raise LedgerError(
            f"Python's SQLite is {sqlite3.sqlite_version}; the ledger needs {'.'.join(map(str, OLDEST_SQLITE))} or "
            "newer. Requests are kept in the journal meanwhile."
        )
