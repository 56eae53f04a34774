"""Server-sent events come out whole and equal, however the bytes were cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cheapfirst.upstream.sse import Event, Oversize, Parser

LIMIT = 10_000
LINES = st.one_of(
    st.sampled_from(
        ["", "data", "data:", "data: [DONE]", ": OPENROUTER PROCESSING", ":", "event: error", "id: 7", "x"]
    ),
    st.text(alphabet=st.characters(exclude_characters="\r\n", codec="utf-8"), max_size=12).map(
        lambda text: f"data: {text}"
    ),
)
STREAMS = st.lists(st.tuples(LINES, st.sampled_from(["\n", "\r\n", "\r"])), max_size=20).map(
    lambda lines: "".join(line + end for line, end in lines).encode()
)


def parse(*pieces: bytes) -> list[Event]:
    parser = Parser(LIMIT)
    events = [event for piece in pieces for event in parser.feed(piece)]
    return events + parser.end()


@given(STREAMS, st.data())
def test_any_split_of_the_bytes_gives_the_same_events(stream: bytes, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)), max_size=10)))
    pieces = [stream[start:end] for start, end in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert parse(*pieces) == parse(stream)
    assert parse(*(bytes([byte]) for byte in stream)) == parse(stream)


@given(st.lists(st.text(alphabet=st.characters(exclude_characters="\r\n", codec="utf-8"), min_size=1)))
def test_what_is_sent_as_data_comes_out_as_data(texts: list[str]) -> None:
    stream = "".join(f": keep-alive\n\ndata: {text}\n\n" for text in texts).encode()
    assert [event.data.decode() for event in parse(stream)] == texts


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_all_three_line_ends_are_read(end: str) -> None:
    stream = f"data: a{end}data: b{end}{end}data: c{end}{end}".encode()
    assert parse(stream) == [Event(b"a\nb"), Event(b"c")]


def test_an_event_is_there_as_soon_as_its_blank_line_is_even_if_that_ends_in_cr() -> None:
    parser = Parser(LIMIT)
    assert parser.feed(b"data: a\r\n\r") == [Event(b"a")]
    assert parser.feed(b"\ndata: b\r\n\r\n") == [Event(b"b")]


def test_comments_bare_fields_and_unknown_fields_make_no_events() -> None:
    assert parse(b": OPENROUTER PROCESSING\n\nretry: 3\n\nid\n\n") == []


def test_event_names_are_kept_for_their_own_event_only() -> None:
    assert parse(b"event: error\ndata: x\n\ndata: y\n\n") == [Event(b"x", "error"), Event(b"y")]


def test_a_byte_order_mark_at_the_start_is_not_part_of_the_first_field() -> None:
    assert parse(b"\xef", b"\xbb", b"\xbfdata: a\n\n") == [Event(b"a")]


def test_only_one_space_after_the_colon_is_dropped() -> None:
    assert parse(b"data:  a\n\ndata:b\n\n") == [Event(b" a"), Event(b"b")]


def test_a_last_event_without_its_final_newline_is_returned_at_the_end() -> None:
    assert parse(b"data: a\n\ndata: [DONE]") == [Event(b"a"), Event(b"[DONE]")]


@pytest.mark.parametrize(
    "pieces", [[b"data: " + b"x" * 60 + b"\n\n"], [b"data: ", *[b"x"] * 60], [b"data: xxxxxxxx\n"] * 9]
)
def test_an_event_over_the_limit_is_refused_without_being_kept(pieces: list[bytes]) -> None:
    parser = Parser(50)
    with pytest.raises(Oversize, match="50 bytes"):
        list(map(parser.feed, pieces))


def test_many_events_under_the_limit_pass_whatever_their_sum() -> None:
    parser = Parser(50)
    assert sum(len(parser.feed(b"data: xxxxxxxx\n\n")) for _ in range(1000)) == 1000
