"""Writes lines into this process's journal, keeps in memory what the disk does not take, and counts what is lost."""

from __future__ import annotations

import os
import secrets
import threading
import time
from collections import deque
from pathlib import Path

from msgspec import Struct

from cheapfirst.ledger import journal
from cheapfirst.ledger.notices import Notices
from cheapfirst.ledger.rows import LossRow, loss_line, plan_line
from cheapfirst.messages import Blueprint

BUFFER = 16 * 2**20  # bytes of lines kept in memory while the disk takes none
PIECE = 2**18  # bytes of them written at once when it does again
REOPEN = 0.5  # seconds between attempts to make a journal while that fails


class Losses(Struct, frozen=True):
    """What could not be recorded since this process began."""

    count: int  # requests dropped
    last_reason: str | None  # None: none were


class Backlog(Struct, frozen=True):
    """What this process keeps outside the database."""

    bytes: int  # in its journals; the database may have some of it already
    held: int  # requests in memory, because the disk takes none


class Writer:
    """The journals that this process owns. Safe from several threads; no method raises."""

    def __init__(self, folder: Path, notices: Notices, *, sync: bool) -> None:
        self.folder = folder
        self._notices = notices
        self._sync = sync
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.RLock()  # re-entrant: a signal handler may record too
        self._current: journal.Journal | None = None
        self._finished: list[journal.Journal] = []  # nothing more is written to these
        self._plans: set[str] = set()  # hashes of those that the current journal holds
        self._waiting: deque[bytes] = deque()  # lines the disk did not take
        self._waiting_bytes = 0
        self._reopen_at = 0.0  # monotonic seconds
        self._dropped = 0
        self._told = 0  # of the dropped, those that stand in a journal as a loss
        self._reason: str | None = None

    def write(self, line: bytes, plan: Blueprint | None = None) -> None:
        """Append one line, or keep it in memory for later; its plan goes before it once in each journal."""
        with self._lock:
            if plan is not None and plan.hash not in self._plans:
                line = plan_line(plan) + line
            try:
                self._open().append(line, sync=self._sync)
                if plan is not None:
                    self._plans.add(plan.hash)
            except (OSError, ValueError) as error:  # ValueError: a path that no system can have
                self._keep(line, reason(error))

    def drop(self, count: int, why: str) -> None:
        """Count requests that could not be recorded, and say so."""
        with self._lock:
            self._dropped += count
            self._reason = why
            self._tell()
        self._notices.warn(
            "dropped",
            f"{self._dropped} request(s) of this process could not be recorded in the ledger, the last because of: "
            f"{why}. Requests themselves are not affected. Journals are in {self.folder}.",
        )

    def losses(self) -> Losses:
        """What this process has dropped."""
        return Losses(self._dropped, self._reason)

    def backlog(self) -> Backlog:
        """What lies in the journals and in memory now."""
        with self._lock:
            mine = [*self._finished, *([self._current] if self._current is not None else [])]
            return Backlog(sum(one.size for one in mine), len(self._waiting))

    def retry(self) -> None:
        """Write what waits in memory, as far as the disk takes it."""
        with self._lock:
            try:
                while self._waiting:
                    lines = self._piece()
                    self._open().append(b"".join(lines), sync=self._sync)
                    for line in lines:
                        self._waiting.popleft()
                        self._waiting_bytes -= len(line)
            except (OSError, ValueError):
                return
            self._tell()

    def finished(self) -> list[journal.Journal]:
        """Journals that are not written to any more and have not been removed yet."""
        with self._lock:
            return list(self._finished)

    def current(self) -> journal.Journal | None:
        """The journal that lines go to; None when there is none."""
        return self._current

    def waiting(self) -> int:
        """How many lines wait in memory."""
        return len(self._waiting)

    def retire(self) -> None:
        """Finish the current journal; the next line begins a new one."""
        with self._lock:
            if self._current is not None:
                self._finished.append(self._current)
                self._current = None
                self._plans.clear()

    def hand_over(self, size: int) -> None:
        """Leave journals of that many bytes, and any that somebody has removed, to whoever brings them in."""
        with self._lock:
            if self._current is not None and (self._current.size >= size or self._current.replaced()):
                self.retire()
            left, self._finished = self._finished, []
        for one in left:
            one.close()

    def remove(self, done: journal.Journal) -> None:
        """Remove a finished journal whose lines the database has. Raises OSError."""
        with self._lock:
            self._finished.remove(done)
        done.remove()

    def let_go(self) -> None:
        """Leave the finished journals to whoever comes next; what still waits in memory is lost."""
        with self._lock:
            left, self._finished = self._finished, []
            lost, self._waiting, self._waiting_bytes = len(self._waiting), deque(), 0
        for one in left:
            one.close()
        if lost:
            self.drop(lost, self._reason or "the disk took no lines until the end")

    def after_fork(self) -> None:
        """In the child: begin anew. The parent keeps its journals, its locks and what it has in memory."""
        inherited = [*self._finished, *([self._current] if self._current is not None else [])]
        self._forget()
        for one in inherited:
            one.close()  # else this process would hold the parent's lock beyond the parent's end

    def _open(self) -> journal.Journal:
        if self._current is None:
            if time.monotonic() < self._reopen_at:
                raise OSError(self._reason or "no journal can be made")
            self._reopen_at = time.monotonic() + REOPEN
            self._current = journal.create(self.folder, sync=self._sync)
            self._reopen_at = 0.0
        return self._current

    def _keep(self, line: bytes, why: str) -> None:
        self._reason = why
        self._waiting.append(line)
        self._waiting_bytes += len(line)
        lost = 0
        while self._waiting_bytes > BUFFER:
            self._waiting_bytes -= len(self._waiting.popleft())
            lost += 1
        if lost:
            self.drop(lost, why)
        else:
            self._notices.warn(
                "waiting",
                f"the ledger's journal in {self.folder} cannot be written: {why}. Up to {BUFFER // 2**20} MB of "
                "finished requests wait in memory. Free the disk or correct the folder's permissions.",
            )

    def _piece(self) -> list[bytes]:
        lines, size = [], 0
        for line in self._waiting:
            lines.append(line)
            size += len(line)
            if size >= PIECE:
                break
        return lines

    def _tell(self) -> None:
        """Write the drops that no journal holds yet as a loss, so that reports can show them."""
        count = self._dropped - self._told
        if not count:
            return
        loss = LossRow(
            id=f"{os.getpid()}-{secrets.token_hex(6)}",
            time=time.time(),
            kind="dropped",
            count=count,
            reason=self._reason or "",
        )
        try:
            self._open().append(loss_line(loss), sync=self._sync)
        except (OSError, ValueError):
            return
        self._told = self._dropped


def reason(error: OSError | ValueError) -> str:
    """An error of the disk in a few words."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
