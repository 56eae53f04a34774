"""`ledger.Recorder`: whatever happens to disk and database, requests go on, and what was recorded is found again."""

from __future__ import annotations

import logging
import os
import sqlite3
import threading
from pathlib import Path
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from cheapfirst.errors import LedgerError
from cheapfirst.ledger import Recorder, journal, locate, report, writer
from cheapfirst.messages import Story
from stories import stories, story


def ids(path: Path) -> list[str]:
    with sqlite3.connect(path) as db:
        return [row[0] for row in db.execute("SELECT id FROM requests ORDER BY id")]


def test_what_is_recorded_is_in_the_journal_at_once_and_in_the_database_after_a_flush(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "ledger.db")
    recorder.record(story(id="a"))
    (own,) = journal.present(journal.directory(tmp_path / "ledger.db"))
    assert b'"id":"a"' in own.read_bytes()
    assert recorder.flush()
    assert ids(tmp_path / "ledger.db") == ["a"]
    recorder.close()
    assert journal.present(own.parent) == []


@settings(max_examples=20)
@given(st.lists(stories(), min_size=1, max_size=5))
def test_any_story_is_recorded_once(tmp_path_factory: pytest.TempPathFactory, told: list[Story]) -> None:
    path = tmp_path_factory.mktemp("recorder") / "ledger.db"
    recorder = Recorder(path, durability="fsync")
    for one in told + told:
        recorder.record(one)
    recorder.close()
    assert ids(path) == sorted(one.request.id for one in told)


def test_nothing_is_made_before_something_is_recorded(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "deep" / "ledger.db")
    recorder.close()
    assert list(tmp_path.iterdir()) == []


def test_a_recorder_without_a_ledger_records_nothing_and_loses_nothing() -> None:
    recorder = Recorder(None)
    recorder.record(story())
    assert recorder.flush()
    assert recorder.losses().count == 0
    recorder.close()


def test_the_background_thread_brings_requests_in_by_itself(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "ledger.db")
    recorder.record(story(id="a"))
    while not (tmp_path / "ledger.db").exists() or report.report(tmp_path / "ledger.db").total.requests == 0:
        threading.Event().wait(0.01)
    recorder.close()


def test_threads_share_a_recorder(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "ledger.db")

    def work(name: int) -> None:
        for number in range(200):
            recorder.record(story(id=f"{name}-{number:03}"))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert recorder.flush(30)
    assert len(ids(tmp_path / "ledger.db")) == 800
    recorder.close()


def test_two_recorders_share_a_ledger(tmp_path: Path) -> None:
    one, two = Recorder(tmp_path / "ledger.db"), Recorder(tmp_path / "ledger.db")
    for number in range(100):
        (one if number % 2 else two).record(story(id=f"{number:03}"))
    one.close()
    assert two.flush()
    assert len(ids(tmp_path / "ledger.db")) == 100
    two.close()


def test_a_closed_recorder_opens_again_when_something_is_recorded(tmp_path: Path) -> None:
    recorder = Recorder(tmp_path / "ledger.db")
    for name in "abc":
        recorder.record(story(id=name))
        recorder.close()
        recorder.close()
    assert ids(tmp_path / "ledger.db") == ["a", "b", "c"]


def test_a_new_recorder_brings_in_what_a_dead_process_left(tmp_path: Path) -> None:
    from cheapfirst.ledger.rows import line

    folder = journal.directory(tmp_path / "ledger.db")
    folder.mkdir()
    (folder / "1-dead.jsonl").write_bytes(line(story(id="a")))
    recorder = Recorder(tmp_path / "ledger.db")
    assert recorder.flush()
    recorder.close()
    assert ids(tmp_path / "ledger.db") == ["a"]


def test_a_locked_database_delays_no_request_and_is_filled_when_it_is_free(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    recorder = Recorder(path)
    recorder.record(story(id="a"))
    assert recorder.flush()
    other = sqlite3.connect(path, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    for name in "bcd":
        recorder.record(story(id=name))
    assert not recorder.flush(0.05)
    other.execute("ROLLBACK")
    other.close()
    assert recorder.flush(10)
    assert ids(path) == ["a", "b", "c", "d"]
    assert recorder.losses().count == 0
    recorder.close()


def test_a_database_replaced_by_garbage_is_left_alone_and_nothing_is_lost(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"garbage" * 1000)
    recorder = Recorder(path)
    recorder.record(story(id="a"))
    assert not recorder.flush(0.05)
    with pytest.raises(LedgerError):
        report.report(path)
    assert path.read_bytes() == b"garbage" * 1000
    assert [record.name for record in caplog.records] == ["cheapfirst.ledger"]
    assert "not a ledger" in caplog.text
    path.unlink()
    assert recorder.flush(10)
    assert ids(path) == ["a"]
    recorder.close()


def test_a_database_taken_away_while_open_is_made_anew_from_what_the_journal_still_holds(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    recorder = Recorder(path)
    recorder.record(story(id="a"))
    assert recorder.flush()
    for file in tmp_path.glob("ledger.db*"):
        if file.is_file():
            file.unlink()
    recorder.record(story(id="b"))
    assert recorder.flush(10)
    assert ids(path) == ["a", "b"]
    recorder.close()


def test_a_journal_folder_taken_away_while_open_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    recorder = Recorder(path)
    recorder.record(story(id="a"))
    for file in journal.present(journal.directory(path)):
        file.unlink()
    journal.directory(path).rmdir()
    assert recorder.flush(10)
    recorder.record(story(id="b"))
    assert len(journal.present(journal.directory(path))) == 1
    recorder.close()
    assert ids(path) == ["a", "b"]


def test_a_large_journal_is_replaced_by_a_new_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cheapfirst.ledger.loader.ROTATE", 3000)
    path = tmp_path / "ledger.db"
    recorder = Recorder(path)
    names = set()
    for number in range(30):
        recorder.record(story(id=f"{number:03}"))
        names |= {file.name for file in journal.present(journal.directory(path))}
        assert recorder.flush()
    assert len(names) > 3
    recorder.close()
    assert len(ids(path)) == 30
    assert journal.present(journal.directory(path)) == []


def test_a_folder_that_cannot_be_made_fails_no_request_and_counts_nothing_until_it_is_over(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "ledger.db"
    recorder = Recorder(path)
    recorder.record(story(id="a", feature="secret"))
    recorder.record(story(id="b", feature="secret"))
    assert recorder.losses().count == 0
    (tmp_path / "file").unlink()
    assert recorder.flush(10)
    assert ids(path) == ["a", "b"]
    assert "secret" not in caplog.text
    assert len([record for record in caplog.records if "wait in memory" in record.message]) == 1
    recorder.close()


def test_what_no_memory_is_left_for_is_counted_and_stands_in_the_ledger_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(writer, "BUFFER", 10_000)
    (tmp_path / "file").write_text("in the way")
    path = tmp_path / "file" / "ledger.db"
    recorder = Recorder(path)
    for number in range(100):
        recorder.record(story(id=f"{number:03}"))
    lost = recorder.losses()
    assert 0 < lost.count < 100
    assert lost.last_reason
    (tmp_path / "file").unlink()
    assert recorder.flush(10)
    assert recorder.flush(10)
    found = report.report(path)
    assert found.losses.dropped == lost.count
    assert found.losses.last_reason == lost.last_reason
    assert found.total.requests == 100 - lost.count
    assert ids(path)[-1] == "099"
    assert len([record for record in caplog.records if "could not be recorded" in record.message]) == 1
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    recorder.close()


def test_what_still_waits_in_memory_at_the_end_is_counted_as_lost(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    recorder = Recorder(tmp_path / "file" / "ledger.db")
    recorder.record(story())
    recorder.record(story())
    recorder.close(0.05)
    assert recorder.losses().count == 2


def test_a_story_that_cannot_be_turned_into_rows_fails_no_request_and_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    recorder = Recorder(path)
    recorder.record(cast(Any, "no story"))
    recorder.record(structs.replace(story(), duration=cast(Any, object())))
    recorder.record(story(id="a"))
    assert recorder.losses().count == 2
    recorder.close()
    assert ids(path) == ["a"]
    assert report.report(path).losses.dropped == 2


def test_a_log_handler_that_raises_fails_no_request(tmp_path: Path) -> None:
    class Broken(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            raise RuntimeError("the log is broken too")

    handler = Broken()
    logging.getLogger("cheapfirst.ledger").addHandler(handler)
    try:
        recorder = Recorder(tmp_path / "ledger.db")
        recorder.record(cast(Any, "no story"))
        assert recorder.losses().count == 1
        recorder.close()
    finally:
        logging.getLogger("cheapfirst.ledger").removeHandler(handler)


def test_a_path_that_no_system_can_have_fails_no_request() -> None:
    recorder = Recorder(Path("no\0where"))
    recorder.record(story())
    recorder.close(0.05)
    assert recorder.losses().count == 1


def test_a_clock_that_goes_backwards_loses_nothing(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    recorder = Recorder(path)
    for number in range(50):
        recorder.record(story(time=1.8e9 - number))
    recorder.close()
    found = report.report(path)
    assert (found.total.requests, found.first, found.last) == (50, 1.8e9 - 49, 1.8e9)


def test_the_ledger_is_where_the_environment_the_policy_or_the_data_folder_says(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("CHEAPFIRST_LEDGER", "~/env.db")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert locate("~/policy.db") == tmp_path / "env.db"
    monkeypatch.delenv("CHEAPFIRST_LEDGER")
    assert locate("~/policy.db") == tmp_path / "policy.db"
    assert locate() == Path("/data/cheapfirst/ledger.db")
    monkeypatch.delenv("XDG_DATA_HOME")
    assert locate(None) == tmp_path / ".local/share/cheapfirst/ledger.db"


def test_recording_imports_neither_the_database_nor_the_loop(tmp_path: Path) -> None:
    import subprocess
    import sys

    program = "import sys, cheapfirst.ledger; print(*sorted({'sqlite3', 'asyncio'} & set(sys.modules)))"
    source = os.fspath(Path(__file__).parents[2] / "src")
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": source}, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == ""
