"""The ledger's promise: a request that was answered is in the ledger, once, however the process ends."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cheapfirst.ledger import Recorder, journal, report

HERE = Path(__file__).parent
SOURCE, HELPERS = HERE.parents[1] / "src", HERE.parent


@contextmanager
def recording(path: Path, mode: str, prefix: str = "a", number: int = 0) -> Iterator[subprocess.Popen[str]]:
    """The program beside this file, recording into `path`; killed at the end if it still runs."""
    process = subprocess.Popen(
        [sys.executable, os.fspath(HERE / "recording.py"), os.fspath(path), mode, prefix, str(number)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": f"{SOURCE}{os.pathsep}{HELPERS}"},
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def acknowledged(process: subprocess.Popen[str], before: int, end: signal.Signals) -> list[str]:
    """Every id that the program said, which gets the signal after it has said `before` of them."""
    assert process.stdout is not None
    said = [process.stdout.readline() for _ in range(before)]
    process.send_signal(end)
    said += process.stdout.readlines()
    process.wait()
    return [line.strip() for line in said if line.endswith("\n")]


def stored(path: Path) -> list[str]:
    with sqlite3.connect(path) as db:
        (broken,) = db.execute(
            "SELECT count(*) FROM requests WHERE attempts <> (SELECT count(*) FROM attempts WHERE request_id = id)"
        ).fetchone()
        assert broken == 0, "a request without all its attempts"
        return [row[0] for row in db.execute("SELECT id FROM requests")]


def replayed(path: Path) -> list[str]:
    """What is stored after the next process has come."""
    recorder = Recorder(path)
    assert recorder.flush(30)
    recorder.close()
    assert journal.present(journal.directory(path)) == []
    return stored(path)


@pytest.mark.parametrize("seed", range(6))
def test_a_killed_process_has_lost_nothing_it_answered(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "ledger.db"
    chance = random.Random(seed)
    said: list[str] = []
    for life in range(2):
        with recording(path, "forever", f"life{life}") as process:
            said += acknowledged(process, chance.randint(1, 4000), signal.SIGKILL)
            assert process.returncode == -signal.SIGKILL
    assert sorted(set(said) - set(replayed(path))) == []
    assert len(stored(path)) <= len(said) + 2  # at most the one request that each life had not yet answered


@pytest.mark.parametrize("seed", range(4))
def test_a_process_killed_while_it_brings_in_or_closes_has_lost_nothing(tmp_path: Path, seed: int) -> None:
    path = tmp_path / "ledger.db"
    chance = random.Random(seed)
    said: list[str] = []
    for life in range(3):
        with recording(path, "churn", f"life{life}") as process:
            said += acknowledged(process, chance.randint(1, 200), signal.SIGKILL)
    assert sorted(set(said) - set(replayed(path))) == []


def test_a_report_finds_what_a_killed_process_left(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with recording(path, "forever") as process:
        said = acknowledged(process, 100, signal.SIGKILL)
    found = report.report(path)
    assert len(said) <= found.total.requests <= len(said) + 1
    assert (found.losses.dropped, found.losses.unreadable) == (0, 0)


def test_a_terminated_process_has_lost_nothing_it_answered(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with recording(path, "forever") as process:
        said = acknowledged(process, 500, signal.SIGTERM)
        assert process.returncode == -signal.SIGTERM
    assert set(said) <= set(replayed(path))


def test_a_process_that_exits_on_sigterm_leaves_a_complete_database_and_no_journal(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with recording(path, "handled") as process:
        said = acknowledged(process, 500, signal.SIGTERM)
        assert process.returncode == 0
    assert set(said) <= set(stored(path))
    assert journal.present(journal.directory(path)) == []


@pytest.mark.parametrize(("mode", "code"), [("normal", 0), ("exception", 1)])
def test_a_process_that_ends_by_itself_leaves_a_complete_database_and_no_journal(
    tmp_path: Path, mode: str, code: int
) -> None:
    path = tmp_path / "ledger.db"
    with recording(path, mode, number=300) as process:
        said, _ = process.communicate()
        assert process.returncode == code
    assert sorted(stored(path)) == sorted(said.split())
    assert len(said.split()) == 300
    assert journal.present(journal.directory(path)) == []


def test_a_fork_while_recording_loses_nothing_of_parent_or_child(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with recording(path, "fork", number=300) as process:
        said, complaint = process.communicate()
        assert process.returncode == 0, complaint
    lines = said.splitlines()
    assert "flushed True" in lines
    ids = [line for line in lines if not line.startswith("flushed")]
    assert len(ids) == 1500
    assert sorted(stored(path)) == sorted(ids)
    assert journal.present(journal.directory(path)) == []


def test_processes_share_a_ledger_while_others_are_killed(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with (
        recording(path, "normal", "one", 800) as one,
        recording(path, "normal", "two", 800) as two,
        recording(path, "forever", "killed") as killed,
    ):
        said = acknowledged(killed, 300, signal.SIGKILL)
        said += one.communicate()[0].split() + two.communicate()[0].split()
        assert (one.returncode, two.returncode) == (0, 0)
    found = replayed(path)
    assert len(said) >= 1900
    assert set(said) <= set(found)
    assert len(found) <= len(said) + 1


def test_a_full_disk_fails_no_request_and_loses_nothing_that_memory_holds(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with recording(path, "full_disk", number=300) as process:
        said, complaint = process.communicate()
        assert process.returncode == 0, complaint
    lines = said.splitlines()
    assert lines[-2:] == ["flushed False", "flushed True"]
    assert sorted(stored(path)) == sorted(lines[:-2])
    found = report.report(path)
    assert (found.total.requests, found.losses.dropped, found.losses.unreadable) == (300, 0, 0)
    assert "cannot be written" in complaint


def test_what_a_full_disk_and_full_memory_cost_is_counted_to_the_request(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    with recording(path, "full_disk_and_memory", number=300) as process:
        said, complaint = process.communicate()
        assert process.returncode == 0, complaint
    lost = int(said.splitlines()[-1].removeprefix("lost "))
    found = report.report(path)
    assert lost > 0
    assert (found.total.requests, found.losses.dropped, found.losses.unreadable) == (300 - lost, lost, 0)


def test_a_read_only_folder_fails_no_request_and_loses_nothing_that_memory_holds(tmp_path: Path) -> None:
    with recording(tmp_path / "unused", "read_only", number=50) as process:
        said, complaint = process.communicate()
        assert process.returncode == 0, complaint
    assert said.splitlines()[50:] == ["flushed False", "flushed True", "found 50"]


def test_a_journal_torn_by_a_power_cut_costs_its_last_line_only(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.mkdir()  # no database can be made, so that everything stays in the journal
    with recording(path, "forever") as process:
        said = acknowledged(process, 200, signal.SIGKILL)
    path.rmdir()
    (left,) = journal.present(journal.directory(path))
    whole = left.read_bytes().count(b'{"request"')
    os.truncate(left, left.stat().st_size - 100)
    found = report.report(path)
    assert (found.total.requests, found.losses.unreadable) == (whole - 1, 1)
    assert len(set(said) - set(stored(path))) <= 1
