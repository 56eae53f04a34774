"""Brings journals into the ledger's database, in batches, in a background thread. The only part that waits for it."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from cheapfirst.errors import LedgerError
from cheapfirst.ledger.notices import Notices
from cheapfirst.ledger.writer import Writer

if TYPE_CHECKING:
    from cheapfirst.ledger.store import Opened

GATHER = 0.25  # seconds between a request and its batch
IDLE = 10.0  # seconds without work after which the thread ends
BUSY = 1.0  # seconds to wait for another writer of the database before trying again later
AGAIN = 2.0  # seconds to wait after a failure
LOOK = 30.0  # seconds between looks for journals that dead processes left
ROTATE = 8 * 2**20  # bytes after which a journal is replaced by a new one


class Loader:
    """Keeps the database up to date with this process's journals and those that dead processes left."""

    def __init__(self, path: Path, writer: Writer, notices: Notices) -> None:
        self._path = path
        self._writer = writer
        self._notices = notices
        self._store: Opened | None = None
        self._loaded: tuple[str, int] = ("", 0)  # the current journal and how far the database has it (bytes)
        self._look_at = 0.0  # monotonic seconds
        self._working = threading.Lock()  # held during a pass
        self._starting = threading.Lock()
        self._work = threading.Event()
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def wake(self) -> None:
        """Say that there is work. Starts the thread when none is running."""
        if self._work.is_set():
            return
        with self._starting:
            self._work.set()
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="cheapfirst-ledger", daemon=True)
                try:
                    thread.start()
                except RuntimeError:  # the interpreter is ending, or has no more threads: the journal keeps it
                    self._work.clear()
                    return
                self._thread = thread

    def flush(self, timeout: float) -> bool:
        """Work in the calling thread until everything is in the database. Returns whether it was within `timeout`."""
        end = time.monotonic() + timeout
        while True:
            left = max(0.0, end - time.monotonic())
            if self._working.acquire(timeout=left):
                try:
                    if self._pass(min(BUSY, left)):
                        return True
                finally:
                    self._working.release()
            if time.monotonic() >= end:
                return False
            time.sleep(min(0.02, max(0.0, end - time.monotonic())))

    def look(self) -> None:
        """Look for journals that others left in the next pass."""
        self._look_at = 0.0

    def hand_over(self, size: int) -> None:
        """Leave journals of that many bytes to others, unless a pass is under way."""
        if self._working.acquire(blocking=False):
            try:
                self._writer.hand_over(size)
            finally:
                self._working.release()

    def close(self, timeout: float) -> None:
        """End the thread, bring everything in within `timeout` seconds, and close the database."""
        self._stop.set()
        self._work.set()
        self._writer.retry()
        self._writer.retire()
        self.flush(timeout)
        if self._working.acquire(timeout=BUSY):
            try:
                self._shut()
                self._writer.let_go()
            finally:
                self._working.release()

    def pause(self) -> bool:
        """Before a fork: wait until no pass is under way, and close the database.

        SQLite keeps what a process has locked in its memory. A child that inherited an open database would
        believe that it holds the parent's locks, and both would write over each other.
        """
        if not self._working.acquire(timeout=BUSY):
            return False
        self._shut()
        return True

    def resume(self) -> None:
        """After a fork, in the parent: go on."""
        self._working.release()

    def _run(self) -> None:
        while not self._stop.is_set():
            if not self._work.wait(IDLE):
                with self._starting:
                    if not self._work.is_set():
                        self._thread = None
                        break
            if self._stop.wait(GATHER):
                return
            self._work.clear()
            with self._working:
                done = self._pass(BUSY)
            if not done and not self._stop.wait(AGAIN):
                self._work.set()
        with self._working:
            self._shut()

    def _pass(self, wait: float) -> bool:
        """Bring in all there is. Returns whether nothing is left; trouble is said, not raised."""
        self._writer.retry()
        try:
            self._bring_in(wait)
        except Exception as error:  # noqa: BLE001 - whatever it is, the thread goes on and tries again
            self._shut()
            self._notices.warn(
                "database",
                f"the ledger's database {self._path} cannot be written: {_said(error)}. Nothing is lost: finished "
                f"requests wait in {self._writer.folder} and are brought in when it can be written again.",
            )
            return False
        current = self._writer.current()
        behind = current is not None and self._loaded != (current.path.name, current.size)
        return not behind and not self._writer.waiting() and not self._writer.finished()

    def _bring_in(self, wait: float) -> None:
        from cheapfirst.ledger import store

        if self._store is not None and not store.same_file(self._store, self._path):
            self._shut()
        if self._store is None:
            self._store = store.open_store(self._path, wait=wait)
        db = self._store.db
        db.execute(f"PRAGMA busy_timeout = {int(wait * 1000)}")
        if time.monotonic() >= self._look_at:
            store.bring_in_left(db, self._writer.folder)
            self._look_at = time.monotonic() + LOOK
        for done in self._writer.finished():
            store.bring_in(db, done.path.name, done.fd, ended=True, owned=True)
            self._writer.remove(done)
            store.forget(db, done.path.name)
        current = self._writer.current()
        if current is not None:
            offset = store.bring_in(db, current.path.name, current.fd, ended=False, owned=True)
            self._loaded = (current.path.name, offset)
            if offset >= ROTATE or current.replaced():
                self._writer.retire()

    def _shut(self) -> None:
        if self._store is not None:
            self._store.db.close()
            self._store = None


def _said(error: Exception) -> str:
    """What an error says, if it is of a kind that holds nothing of a request; else its name only."""
    harmless = isinstance(error, OSError | LedgerError) or type(error).__module__ == "sqlite3"
    return str(error) if harmless else type(error).__name__
