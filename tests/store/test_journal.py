"""`ledger.journal`: one append-only file per process, safe against full disks, torn lines and dead owners."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cheapfirst.ledger import journal


def lines(path: Path, *, ended: bool = True) -> list[bytes]:
    """All lines that readers get, chunk by chunk."""
    fd, offset = os.open(path, os.O_RDONLY), 0
    found: list[bytes] = []
    try:
        while True:
            more, after = journal.read(fd, offset, ended=ended)
            if after == offset:
                return found
            found += more
            offset = after
    finally:
        os.close(fd)


@contextmanager
def files_up_to(size: int) -> Iterator[None]:
    """A disk that is full: no file of this process grows beyond `size` bytes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_lines_come_back_as_they_were_written(tmp_path: Path) -> None:
    own = journal.create(tmp_path)
    own.append(b"one\n")
    own.append(b"two\nthree\n")
    assert lines(own.path) == [b"one", b"two", b"three"]
    own.close()


@given(st.lists(st.binary(max_size=2000).map(lambda line: line.replace(b"\n", b"")), max_size=30), st.integers(1, 3000))
def test_whatever_the_chunk_no_line_is_split_or_lost(
    tmp_path_factory: pytest.TempPathFactory, written: list[bytes], chunk: int
) -> None:
    own = journal.create(tmp_path_factory.mktemp("journal"))
    before, journal.CHUNK = journal.CHUNK, chunk
    try:
        own.append(b"".join(line + b"\n" for line in written))
        assert lines(own.path) == written
    finally:
        journal.CHUNK = before
        own.close()


def test_a_last_line_without_its_end_waits_while_its_writer_lives_and_is_torn_after(tmp_path: Path) -> None:
    path = tmp_path / "1.jsonl"
    path.write_bytes(b"whole\nhal")
    assert lines(path, ended=False) == [b"whole"]
    assert lines(path, ended=True) == [b"whole", b"hal"]


def test_a_full_disk_leaves_no_piece_of_a_line_behind(tmp_path: Path) -> None:
    own = journal.create(tmp_path)
    own.append(b"a" * 50 + b"\n")
    with files_up_to(80), pytest.raises(OSError, match="large"):
        own.append(b"b" * 50 + b"\n")
    assert own.path.stat().st_size == own.size == 51
    own.append(b"c\n")
    assert lines(own.path) == [b"a" * 50, b"c"]
    own.close()


def test_a_piece_that_cannot_be_taken_back_spoils_no_line_after_it(tmp_path: Path) -> None:
    append_only_pipe, written = os.pipe()  # takes a part, and cannot be truncated
    os.set_blocking(written, False)
    own = journal.Journal(tmp_path / "1.jsonl", written)
    with pytest.raises(BlockingIOError):
        own.append(b"x" * 2**20 + b"\n")
    torn = os.read(append_only_pipe, 2**20)
    own.append(b"next\n")
    path = tmp_path / "seen.jsonl"
    path.write_bytes(torn + os.read(append_only_pipe, 2**20))
    assert lines(path) == [torn, b"next"]
    os.close(append_only_pipe)
    own.close()


def test_a_journal_belongs_to_its_process_until_it_lets_go(tmp_path: Path) -> None:
    own = journal.create(tmp_path)
    other = os.open(own.path, os.O_RDWR)
    assert not journal.lock(other)
    own.close()
    assert journal.lock(other)
    os.close(other)


def test_journals_and_their_folder_are_their_owners_only(tmp_path: Path) -> None:
    os.umask(os.umask(0o022))
    own = journal.create(tmp_path / "new" / "ledger.db.journals")
    assert own.path.stat().st_mode & 0o777 == 0o600
    assert own.path.parent.stat().st_mode & 0o777 == 0o700
    assert own.path.parent.parent.stat().st_mode & 0o777 == 0o700
    own.close()


def test_a_removed_journal_is_noticed(tmp_path: Path) -> None:
    own = journal.create(tmp_path)
    assert not own.replaced()
    own.path.unlink()
    assert own.replaced()
    own.close()


def test_an_absent_folder_has_no_journals(tmp_path: Path) -> None:
    assert journal.present(tmp_path / "nowhere") == []


def test_two_journals_of_one_process_have_different_names(tmp_path: Path) -> None:
    one, two = journal.create(tmp_path), journal.create(tmp_path)
    assert journal.present(tmp_path) == sorted([one.path, two.path])
    one.remove()
    assert journal.present(tmp_path) == [two.path]
    two.remove()
