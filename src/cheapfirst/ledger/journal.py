"""Keeps finished requests in an append-only file until the ledger's database has them. One file per process.

A file belongs to the process that holds its lock (flock). The lock goes with the process, however it ends, so a
file whose lock is free was left behind and may be replayed by whoever comes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from pathlib import Path

SUFFIX = ".jsonl"
CHUNK = 1 << 20  # bytes read at once


def directory(ledger: Path) -> Path:
    """Where the journals of a ledger lie: beside its database."""
    return ledger.with_name(ledger.name + ".journals")


class Journal:
    """A journal of this process. Not thread-safe by itself: the recorder calls it under its lock."""

    def __init__(self, path: Path, fd: int) -> None:
        self.path = path
        self.fd = fd
        self.size = 0  # bytes of whole lines
        self._torn = False  # a piece of a line could not be taken back

    def append(self, lines: bytes, *, sync: bool = False) -> None:
        """Append whole lines with one write, and with `sync` wait for the disk. Raises OSError; then nothing
        of the lines is in the file, or only a piece that readers will skip."""
        data = b"\n" + lines if self._torn else lines
        done = os.write(self.fd, data)
        try:
            while done < len(data):  # the disk took a part: the next write says why
                more = os.write(self.fd, data[done:])
                if more == 0:
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                done += more
        except OSError:
            self._take_back()
            raise
        self._torn = False
        self.size += len(data)
        if sync:
            os.fdatasync(self.fd)

    def replaced(self) -> bool:
        """Whether somebody has removed the file, so that a process that dies would lose it."""
        return os.fstat(self.fd).st_nlink == 0

    def remove(self) -> None:
        """Remove the file (its lines are in the database) and let go of it."""
        self.path.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Let go of the file; it stays for whoever comes next."""
        os.close(self.fd)

    def _take_back(self) -> None:
        try:
            os.ftruncate(self.fd, self.size)
        except OSError:
            self._torn = True


def create(folder: Path, *, sync: bool = False) -> Journal:
    """Make a journal of this process's own, locked, readable by its owner only. Raises OSError."""
    make_private(folder)
    while True:
        path = folder / f"{time.time_ns():016x}-{os.getpid()}-{secrets.token_hex(4)}{SUFFIX}"  # sorts by age
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            # Between creating and locking, a replay elsewhere may have taken the file for a left one.
            if lock(fd) and os.fstat(fd).st_nlink > 0:
                if sync:
                    _sync_folder(folder)
                return Journal(path, fd)
        except BaseException:
            os.close(fd)
            raise
        os.close(fd)


def present(folder: Path) -> list[Path]:
    """Every journal in the folder, of live and dead processes, oldest name first; none when it is absent."""
    try:
        return sorted(Path(entry.path) for entry in os.scandir(folder) if entry.name.endswith(SUFFIX))
    except (OSError, ValueError):
        return []


def lock(fd: int) -> bool:
    """Take the file's lock if no living process holds it."""
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def read(fd: int, offset: int, *, ended: bool) -> tuple[list[bytes], int]:
    """Read a chunk of lines from `offset`: the lines without newlines, and the offset after them.

    A last line without newline is still being written, unless the journal has `ended`: then it is torn and
    comes as it is. Raises OSError.
    """
    data = os.pread(fd, CHUNK, offset)
    while (cut := data.rfind(b"\n") + 1) == 0:
        more = os.pread(fd, CHUNK, offset + len(data))
        if not more:
            return ([data], offset + len(data)) if ended and data else ([], offset)
        data += more
    return data[: cut - 1].split(b"\n"), offset + cut


def make_private(folder: Path) -> None:
    """Make the folder and its missing parents, for their owner only. Raises OSError."""
    for missing in reversed(list(_missing(folder))):
        try:
            missing.mkdir(mode=0o700)
        except FileExistsError:
            continue


def _missing(folder: Path) -> Iterator[Path]:
    while not folder.exists():
        yield folder
        folder = folder.parent


def _sync_folder(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
