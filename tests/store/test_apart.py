"""`ledger.apart`: a process of its own brings journals in; whichever process ends, and however, no row is lost."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cheapfirst.ledger import Recorder, journal
from cheapfirst.ledger.apart import LOCK, Apart
from stories import story

LIMIT = 30.0
"""Seconds after which what a test waits for will not come."""

RECORD_AND_WAIT = """
import sys
from pathlib import Path
from cheapfirst.ledger import Recorder
from stories import story
recorder = Recorder(Path(sys.argv[1]))
recorder.load_apart()
for number in range(50):
    recorder.record(story(id=f"left-{number}"))
print("recorded", flush=True)
sys.stdin.read()
"""


def until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + LIMIT
    while not true():
        assert time.monotonic() < end, "it did not come"
        time.sleep(0.01)


def ids(path: Path) -> list[str]:
    try:
        with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as db:
            return [row[0] for row in db.execute("SELECT id FROM requests ORDER BY id")]
    except sqlite3.OperationalError:  # not there yet
        return []


def loaders(path: Path) -> list[int]:
    """The processes that bring in this ledger's journals."""
    found = []
    for entry in Path("/proc").iterdir():
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0") if entry.name.isdigit() else []
        except OSError:
            continue
        if b"cheapfirst.ledger.apart" in words and os.fsencode(path) in words:
            found.append(int(entry.name))
    return found


def free(path: Path) -> bool:
    """Whether nobody has the lock, so that the process has ended."""
    fd = os.open(journal.directory(path) / LOCK, os.O_RDWR)
    try:
        return journal.lock(fd)
    finally:
        os.close(fd)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


@pytest.fixture
def recorder(path: Path) -> Iterator[Recorder]:
    made = Recorder(path)
    made.load_apart()
    yield made
    made.close()


def test_rows_come_into_the_database_without_anybody_asking(path: Path, recorder: Recorder) -> None:
    recorder.record(story(id="a"))
    until(lambda: ids(path) == ["a"])
    recorder.record(story(id="b"))
    until(lambda: ids(path) == ["a", "b"])


def test_closing_brings_everything_in_ends_the_process_and_leaves_no_journal(path: Path) -> None:
    recorder = Recorder(path)
    recorder.load_apart()
    for number in range(200):
        recorder.record(story(id=f"{number:03}"))
    recorder.close()
    assert ids(path) == [f"{number:03}" for number in range(200)]
    assert journal.present(journal.directory(path)) == []
    assert free(path)


def test_a_flush_does_not_wait_for_the_process(path: Path, recorder: Recorder) -> None:
    recorder.record(story(id="a"))
    assert recorder.flush()
    assert ids(path) == ["a"]


def test_recorders_of_one_ledger_share_one_process_and_each_takes_over_from_the_other(path: Path) -> None:
    first, second = Recorder(path), Recorder(path)
    first.load_apart()
    second.load_apart()
    first.record(story(id="a"))
    second.record(story(id="b"))
    until(lambda: ids(path) == ["a", "b"])
    assert not free(path)
    first.close()  # and with it the process
    second.record(story(id="c"))
    second.close()
    assert ids(path) == ["a", "b", "c"]


def test_when_its_starter_is_killed_the_process_brings_in_what_was_left_and_ends(path: Path) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", RECORD_AND_WAIT, os.fspath(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert child.stdout is not None
    assert child.stdout.readline() == b"recorded\n"
    child.kill()
    child.wait()
    until(lambda: free(path))
    assert ids(path) == sorted(f"left-{number}" for number in range(50))
    assert journal.present(journal.directory(path)) == []


def test_when_the_process_is_killed_the_recorder_goes_on_by_itself(path: Path, recorder: Recorder) -> None:
    recorder.record(story(id="a"))
    until(lambda: ids(path) == ["a"])
    (loader,) = loaders(path)
    os.kill(loader, signal.SIGKILL)
    numbers = iter(range(100_000))

    def another_comes_in() -> bool:
        recorder.record(story(id=f"b{next(numbers):06}"))
        return len(ids(path)) > 1

    until(another_comes_in)
    recorder.close()
    assert len(ids(path)) == 1 + next(numbers)


def test_where_no_process_can_be_started_the_thread_does_the_work(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", os.fspath(path.parent / "absent"))
    recorder = Recorder(path)
    recorder.load_apart()
    recorder.record(story(id="a"))
    until(lambda: ids(path) == ["a"])
    recorder.close()


def test_a_full_journal_is_handed_over_and_goes_when_it_is_in(path: Path, recorder: Recorder) -> None:
    for number in range(100):
        recorder.record(story(id=f"{number:03}"))
    assert recorder._writer is not None
    recorder._writer.hand_over(size=1)
    until(lambda: len(ids(path)) == 100 and journal.present(journal.directory(path)) == [])
    recorder.record(story(id="later"))
    until(lambda: "later" in ids(path))


def test_the_process_gets_no_key(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENROUTER_API_KEY", "sk-secret-of-mine")
    apart = Apart(path)
    apart.tend()
    until(lambda: bool(loaders(path)))
    (loader,) = loaders(path)
    assert b"sk-secret-of-mine" not in Path(f"/proc/{loader}/environ").read_bytes()
    apart.stop(5.0)
    assert free(path)
