"""The ledger's front door: takes a finished request in microseconds, and never fails or delays it."""

from __future__ import annotations

import atexit
import os
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

from cheapfirst.ledger import journal, rows
from cheapfirst.ledger.apart import Apart
from cheapfirst.ledger.loader import ROTATE, Loader
from cheapfirst.ledger.notices import Notices
from cheapfirst.ledger.writer import Backlog, Losses, Writer
from cheapfirst.messages import Settled, Story

AT_EXIT = 3.0  # seconds that a normal exit may spend on bringing the journal into the database


class Recorder:
    """Records finished requests in the ledger at `path`; `Recorder(None)` records nothing.

    A request is in this process's journal, a file, before `record` returns, so it survives whatever ends the
    process; with durability "fsync" it is on the disk and survives the machine's end too. A background thread
    brings the journal into the database. Threads, processes and recorders may share a ledger, and a process
    that has a recorder may fork.
    """

    def __init__(self, path: Path | None, *, durability: Literal["process", "fsync"] = "process") -> None:
        self.path = path
        self._writer: Writer | None = None
        if path is None:
            return
        self._notices = Notices()
        self._writer = Writer(journal.directory(path), self._notices, sync=durability == "fsync")
        self._loader: Loader | None = None
        self._inherited: list[Loader] = []  # of the parent: its database must not be touched, not even closed
        self._paused = False
        self._apart: Apart | None = None
        self._opening = threading.Lock()
        os.register_at_fork(
            before=_weakly(self._before_fork),
            after_in_parent=_weakly(self._after_fork_in_parent),
            after_in_child=_weakly(self._after_fork_in_child),
        )
        if journal.present(self._writer.folder):
            self._open(path, self._writer).wake()

    def record(self, story: Story) -> None:
        """Append the story to the journal. Never raises and never waits for the database."""
        if self.path is None or self._writer is None:
            return
        try:
            line, plan = rows.line(story), rows.blueprint_of(story)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a story, its request must not fail
            self._writer.drop(1, f"{type(error).__name__} while its rows were made")
        else:
            self._writer.write(line, plan)
        self._wake(self.path, self._writer)

    def load_apart(self) -> None:
        """From now on let a process of its own bring the journal in. Where that fails, the thread does it as before."""
        if self.path is not None and self._apart is None:
            self._apart = Apart(self.path)
            self._apart.tend()
            atexit.register(self._at_exit)

    def settle(self, settled: Settled) -> None:
        """Append what an attempt cost that this process recorded without its cost. Never raises, never waits."""
        if self.path is None or self._writer is None:
            return
        line = rows.cost_line(settled)
        if line is not None:
            self._writer.write(line)
            self._wake(self.path, self._writer)

    def flush(self, timeout: float = 5.0) -> bool:
        """Bring all that was recorded so far into the database. Returns whether it was done in `timeout` seconds."""
        if self.path is None or self._writer is None:
            return True
        loader = self._open(self.path, self._writer)
        if self._apart is not None:
            loader.look()
        return loader.flush(timeout)

    def close(self, timeout: float = 5.0) -> None:
        """Bring everything in and remove the journal. What is not in after `timeout` seconds waits in the journal
        for the next process that opens the ledger. Recording afterwards opens the ledger again."""
        if self._writer is None:
            return
        apart, self._apart = self._apart, None
        if apart is not None and self.path is not None:
            apart.stop(timeout)
            self._open(self.path, self._writer).look()
        with self._opening:
            loader, self._loader = self._loader, None
        if loader is not None:
            atexit.unregister(self._at_exit)
            loader.close(timeout)

    def losses(self) -> Losses:
        """How many requests this process could not record, and why the last one was lost."""
        return self._writer.losses() if self._writer is not None else Losses(0, None)

    def backlog(self) -> Backlog:
        """What this process has recorded and still keeps outside the database."""
        return self._writer.backlog() if self._writer is not None else Backlog(0, 0)

    def _wake(self, path: Path, writer: Writer) -> None:
        """See to it that what was just written is brought in."""
        if self._apart is None or not self._left_to(self._apart, writer):
            (self._loader or self._open(path, writer)).wake()

    def _left_to(self, apart: Apart, writer: Writer) -> bool:
        """Whether the process apart will bring it in. Looks after that process and after the journal's size."""
        if apart.due():
            apart.tend()
            if apart.works():
                (self._loader or writer).hand_over(ROTATE)
        return apart.works() and not writer.waiting()

    def _open(self, path: Path, writer: Writer) -> Loader:
        with self._opening:
            if self._loader is None:
                self._loader = Loader(path, writer, self._notices)
                atexit.register(self._at_exit)
            return self._loader

    def _at_exit(self) -> None:
        self.close(AT_EXIT)

    def _before_fork(self) -> None:
        self._paused = self._loader is not None and self._loader.pause()

    def _after_fork_in_parent(self) -> None:
        if self._paused and self._loader is not None:
            self._loader.resume()

    def _after_fork_in_child(self) -> None:
        self._opening = threading.Lock()
        self._apart = None
        if self._loader is not None:
            self._inherited.append(self._loader)
            self._loader = None
            atexit.unregister(self._at_exit)
        if self._writer is not None:
            self._writer.after_fork()


def _weakly(method: Callable[[], None]) -> Callable[[], Any]:
    """Call the method as long as its object lives: hooks of the interpreter cannot be taken back."""
    found = weakref.WeakMethod(method)

    def call() -> None:
        alive = found()
        if alive is not None:
            alive()

    return call
