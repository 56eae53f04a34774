"""The reader of event streams under anything a network can bring."""

from __future__ import annotations

import itertools
import sys
from types import FrameType
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cheapfirst.upstream.sse import Event, Oversize, Parser

PIECES = st.sampled_from(
    [
        *(b"data: ", b"data:", b"data", b"event: error", b"event:", b"id: 7", b"retry: 5", b": comment", b":", b" "),
        *(
            b"\n",
            b"\r",
            b"\r\n",
            b"\n\n",
            b"\r\n\r\n",
            b"\r\r",
            b"\xef\xbb\xbf",
            b"[DONE]",
            b'{"a": 1}',
            b"\x00",
            b"\xff",
        ),
        *("ü€🍏".encode(), b"\xc3", b"\xe2\x82", b"x" * 30, b"\x0b", b"\x0c", b"\x1c", b"\x85", b"\xe2\x80\xa8"),
    ]
)
STREAMS = st.lists(st.one_of(PIECES, st.binary(max_size=8)), max_size=40).map(b"".join)
ENDS = ("\n", "\r", "\r\n")


def events(data: bytes, cuts: list[int] = [], limit: int = 1 << 20) -> list[Event]:  # noqa: B006 - only read
    parser = Parser(limit)
    found: list[Event] = []
    edges = sorted({0, len(data), *(cut % (len(data) + 1) for cut in cuts)})
    for begin, end in itertools.pairwise(edges):
        found += parser.feed(data[begin:end])
    return found + parser.end()


def by_the_standard(data: bytes) -> list[Event]:
    """The standard's own algorithm, line by line, with nothing clever; an unended event at the end counts."""
    text = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    found: list[Event] = []
    kept: list[bytes] = []
    name = ""
    for line in [*text.split(b"\n"), b""]:
        if not line:
            if kept:
                found.append(Event(b"\n".join(kept), name))
            kept, name = [], ""
            continue
        field, _, value = line.partition(b":")
        value = value[1:] if value.startswith(b" ") else value
        if field == b"data":
            kept.append(value)
        elif field == b"event":
            name = value.decode("utf-8", "replace")
    return found


@given(data=STREAMS, cuts=st.lists(st.integers(0, 1000), max_size=30))
@example(data=b"data: a\r\n\r\ndata: b\r\n\r\n", cuts=[8])
@example(data=b"data: a\n\ndata: b\n\n", cuts=[9, 12])
def test_any_bytes_cut_anywhere_are_read_as_the_standard_says(data: bytes, cuts: list[int]) -> None:
    assert events(data, cuts) == by_the_standard(data)


@given(data=STREAMS)
def test_one_byte_at_a_time_is_no_different(data: bytes) -> None:
    assert events(data, list(range(len(data)))) == events(data)


@given(data=STREAMS, cuts=st.lists(st.integers(0, 1000), max_size=10), limit=st.integers(1, 40))
def test_a_limit_is_kept_however_the_bytes_come(data: bytes, cuts: list[int], limit: int) -> None:
    try:
        found = events(data, cuts, limit)
    except Oversize:
        longest = max((len(line) for line in data.replace(b"\r", b"\n").split(b"\n")), default=0)
        sizes = [len(event.data) + 1 for event in by_the_standard(data)]
        assert max([longest, *sizes]) > limit
    else:
        assert all(len(event.data) <= limit for event in found)


@given(
    texts=st.lists(st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"])), max_size=8),
    cuts=st.lists(st.integers(0, 500), max_size=20),
    ending=st.sampled_from(ENDS),
    comments=st.booleans(),
)
def test_what_was_said_is_what_is_heard(texts: list[str], cuts: list[int], ending: str, comments: bool) -> None:
    between = f": hello{ending}{ending}" if comments else ""
    data = "".join(f"{between}data: {text}{ending}{ending}" for text in texts).encode()
    assert [event.data.decode() for event in events(data, cuts)] == texts


@pytest.mark.parametrize(("piece", "lines"), [(b"x", 0), (b"data: x", 0), (b"data: x\n", 1), (b"\r", 1), (b":", 0)])
def test_what_has_come_is_put_together_once_and_not_for_every_piece(piece: bytes, lines: int) -> None:
    joins = 0

    def look(frame: FrameType, event: str, function: Any) -> None:
        nonlocal joins
        joins += event == "c_call" and getattr(function, "__name__", "") == "join"

    parser = Parser(1 << 30)
    sys.setprofile(look)
    try:
        for _ in range(1000):
            parser.feed(piece)
        parser.end()
    finally:
        sys.setprofile(None)
    assert joins <= 1000 * lines + 2
