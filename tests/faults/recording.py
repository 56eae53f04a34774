"""A program that records requests and says each one's id once it is recorded. Run by test_ledger_kill in many ways.

python recording.py LEDGER MODE PREFIX [COUNT]
"""

from __future__ import annotations

import os
import resource
import shutil
import signal
import sys
import tempfile
from itertools import count
from pathlib import Path

from cheapfirst.ledger import Recorder, report, writer
from stories import escalated, story


def acknowledge(recorder: Recorder, name: str) -> None:
    """Record one request and say so, in one write, as a server answers its caller."""
    recorder.record(escalated(id=name) if hash(name) % 3 == 0 else story(id=name))
    os.write(1, f"{name}\n".encode())


def forever(recorder: Recorder, prefix: str) -> None:
    for number in count():
        acknowledge(recorder, f"{prefix}-{number}")


def churn(recorder: Recorder, prefix: str) -> None:
    """Record, bring in and close again and again, so that a kill falls into each of them."""
    for number in count():
        acknowledge(recorder, f"{prefix}-{number}")
        if number % 3 == 0:
            recorder.flush()
        if number % 7 == 0:
            recorder.close()


def some(recorder: Recorder, prefix: str, number: int) -> None:
    for each in range(number):
        acknowledge(recorder, f"{prefix}-{each}")


def fork(recorder: Recorder, prefix: str, number: int) -> None:
    """Fork with the database open; parent and child both go on, and the parent closes it before the child writes."""
    some(recorder, f"{prefix}-before", number)
    recorder.flush(30)
    some(recorder, f"{prefix}-waiting", number)
    heard, closed = os.pipe()
    if os.fork() == 0:
        some(recorder, f"{prefix}-child", number)
        os.write(1, f"flushed {recorder.flush(30)}\n".encode())
        os.read(heard, 1)
        some(recorder, f"{prefix}-late", number)
        recorder.close()
        os._exit(0)
    some(recorder, f"{prefix}-parent", number)
    recorder.close()
    os.write(closed, b"!")
    os.wait()


def full_disk(recorder: Recorder, prefix: str, number: int) -> None:
    """No file may grow beyond 30,000 bytes for a while."""
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, hard))
    some(recorder, prefix, number)
    os.write(1, f"flushed {recorder.flush(0.2)}\n".encode())
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    os.write(1, f"flushed {recorder.flush(30)}\n".encode())


def full_disk_and_memory(recorder: Recorder, prefix: str, number: int) -> None:
    writer.BUFFER = 20_000
    full_disk(recorder, prefix, number)
    os.write(1, f"lost {recorder.losses().count}\n".encode())


def warm(path: Path) -> None:
    """Import whatever is imported late, while we may still read where Python is installed."""
    recorder = Recorder(path)
    recorder.record(story())
    recorder.close()
    report.report(path)


def read_only(prefix: str, number: int) -> None:
    """A folder of our own that we may not write to for a while. Root may always, so root becomes somebody else."""
    folder = Path(tempfile.mkdtemp())
    warm(folder / "warm.db")
    if os.getuid() == 0:
        os.chown(folder, 65534, 65534)
        os.setuid(65534)
    recorder = Recorder(folder / "ledger.db")
    folder.chmod(0o500)
    some(recorder, prefix, number)
    os.write(1, f"flushed {recorder.flush(0.2)}\n".encode())
    folder.chmod(0o700)
    os.write(1, f"flushed {recorder.flush(30)}\n".encode())
    os.write(1, f"found {report.report(folder / 'ledger.db').total.requests}\n".encode())
    recorder.close()
    shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    path, mode, prefix, *rest = sys.argv[1:]
    number = int(rest[0]) if rest else 0
    if mode == "read_only":
        return read_only(prefix, number)
    recorder = Recorder(Path(path))
    match mode:
        case "forever":
            forever(recorder, prefix)
        case "churn":
            churn(recorder, prefix)
        case "handled":  # a program that turns SIGTERM into an orderly exit
            signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
            forever(recorder, prefix)
        case "exception":
            some(recorder, prefix, number)
            raise RuntimeError("something went wrong")
        case "fork":
            fork(recorder, prefix, number)
        case "full_disk":
            full_disk(recorder, prefix, number)
        case "full_disk_and_memory":
            full_disk_and_memory(recorder, prefix, number)
        case _:
            some(recorder, prefix, number)


if __name__ == "__main__":
    main()
