"""Brings journals into the ledger's database in a process of its own, so that a busy gateway never waits for it.

One such process serves all gateways of this machine that share a ledger: whoever holds the lock has started it. It runs
at low priority: under a burst, requests come first and their rows wait in the journals. It ends when the process that
started it does, however that ends, and has then brought in what that one left.
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import sys
import threading
import time
from pathlib import Path

from cheapfirst.ledger import journal

LOCK = "loader.lock"
"""The file in the journals' folder that is locked as long as a process brings them in."""

LOOK = 1.0
"""Seconds between looks whether the process is there."""

PAUSE = 10.0
"""Seconds before it is started again after it gave up."""

GATHER = 0.25
"""Seconds between its batches."""

BUSY = 5.0
"""Seconds that it waits for another writer of the database."""

NICE = 10
"""Added to its niceness."""

KEPT = ("PATH", "PYTHONPATH", "PYTHONHOME", "LD_LIBRARY_PATH", "TMPDIR", "LANG", "LC_ALL")
"""What it gets of the environment: it needs no key."""


class Apart:
    """The process, as seen by one that records."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._works = False
        self._look_at = 0.0  # monotonic seconds

    def due(self) -> bool:
        """Whether it is time to look after the process."""
        return time.monotonic() >= self._look_at

    def works(self) -> bool:
        """Whether a process brings journals in, as far as was seen last."""
        return self._works

    def tend(self) -> None:
        """See whether a process is there, and start one when none is."""
        with self._lock:
            self._look_at = time.monotonic() + LOOK
            if self._process is not None:
                if self._process.poll() is None:
                    return
                self._let_go()
                self._works = False
                self._look_at = time.monotonic() + PAUSE
                return
            try:
                self._works = self._start()
            except (OSError, ValueError, subprocess.SubprocessError):
                self._works = False
                self._look_at = time.monotonic() + PAUSE

    def stop(self, timeout: float) -> None:
        """Let the process bring in what there is and end. After `timeout` seconds it is killed: nothing is lost."""
        with self._lock:
            self._works = False
            process = self._process
            if process is None:
                return
            assert process.stdin is not None
            process.stdin.close()
            try:
                process.wait(timeout)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            self._process = None

    def _start(self) -> bool:
        """Start the process, unless another's is there. Returns whether there is one now."""
        folder = journal.directory(self._path)
        journal.make_private(folder)
        fd = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not journal.lock(fd):
                return True
            # The lock belongs to the open file, so it stays locked until the process that inherits it has ended.
            command = [sys.executable, "-P", "-m", "cheapfirst.ledger.apart", os.fspath(self._path.resolve())]
            self._process = subprocess.Popen(  # noqa: S603 - our own interpreter
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,  # whoever takes over says what is wrong
                env={name: os.environ[name] for name in KEPT if name in os.environ},
                pass_fds=[fd],
                start_new_session=True,  # a terminal's Ctrl-C is for the gateway
            )
            return True
        finally:
            os.close(fd)

    def _let_go(self) -> None:
        if self._process is not None and self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
        self._process = None


def main() -> None:
    """Bring journals in until standard input ends. Any trouble but a busy database ends the process: the one that
    started it then goes on by itself, and says what is wrong."""
    from cheapfirst.ledger import store

    os.nice(NICE)
    path, parent = Path(sys.argv[1]), os.getppid()
    folder = journal.directory(path)
    opened: store.Opened | None = None
    ended = False
    while not ended:
        ready, _, _ = select.select([sys.stdin], [], [], GATHER)
        ended = bool(ready) or os.getppid() != parent
        if opened is not None and not store.same_file(opened, path):
            opened.db.close()
            opened = None
        if opened is None and journal.present(folder):
            opened = store.open_store(path, wait=BUSY)
        if opened is not None:
            store.bring_in_left(opened.db, folder)
            store.bring_in_live(opened.db, folder)
    if opened is not None:
        opened.db.close()


if __name__ == "__main__":
    main()
