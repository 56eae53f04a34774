"""The benchmark's upstream and its floor answer as a real upstream does, however the request arrives."""

from __future__ import annotations

import json
import shutil
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from benchmarks.gateway import load, measure, peers

pytestmark = pytest.mark.skipif(shutil.which("cc") is None, reason="the upstream is compiled from C")


@pytest.fixture(scope="module", params=[1, 7, 0])
def upstream(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with load.upstream(tmp_path_factory.mktemp("upstream"), request.param) as (port, _):
        yield port


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[int]:
    with load.upstream(tmp_path, 1) as (port, _):
        yield port


def exchange(port: int, pieces: list[bytes], answers: int = 1) -> bytes:
    """Send the pieces one by one, and read until so many answers are there."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as one:
        one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for piece in pieces:
            one.sendall(piece)
        got = b""
        while got.count(b'"total_tokens":222}}') + got.count(b"0\r\n\r\n") < answers:
            more = one.recv(65536)
            assert more, f"closed after {got!r}"
            got += more
        return got


def wire(body: bytes, extra: bytes = b"") -> bytes:
    return b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\n%sContent-Length: %d\r\n\r\n%s" % (extra, len(body), body)


def test_whole_answers_and_streams_are_right(upstream: int) -> None:
    url = f"http://127.0.0.1:{upstream}/chat/completions"
    for kind in ("json", "text", "stream"):
        answer = measure.ask(url, {}, json.dumps(load.body("m", kind)).encode())
        assert measure.fault(kind, *answer) is None


def test_a_request_may_arrive_byte_by_byte(upstream: int) -> None:
    asked = wire(b'{"stream": false}')
    assert b"A-10442" in exchange(upstream, [asked[at : at + 1] for at in range(len(asked))])


def test_a_chunked_request_is_read_to_its_end(upstream: int) -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
    got = exchange(upstream, [head, b'5\r\n{"str\r\n', b'c\r\neam": true }\r\n', b"0\r\n\r\n"])
    assert got.count(b"word") == 50
    assert b"data: [DONE]" in got


def test_requests_on_one_connection_are_answered_in_order(upstream: int) -> None:
    got = exchange(upstream, [wire(b'{"stream":true}') + wire(b"{}") + wire(b'{"stream":true}')], answers=3)
    assert got.count(b"data: [DONE]") == 2
    assert got.index(b"[DONE]") < got.index(b"A-10442") < got.rindex(b"[DONE]")


def test_a_large_body_is_taken_whole(upstream: int) -> None:
    assert b"A-10442" in exchange(upstream, [wire(b" " * 3_000_000)])


def test_the_floor_hands_answers_and_streams_on(plain: int, tmp_path: Path) -> None:
    with measure.started("forwarder", tmp_path / "forwarder", tmp_path, plain) as target:
        assert set(target.bodies) == {"json", "stream"}
        assert target.idle_mb > 1


def test_a_peer_that_ends_at_once_is_absent_with_its_last_words(
    plain: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(
        peers.PEERS, "broken", lambda place: peers.Launch(["/bin/sh", "-c", "echo no luck; exit 3"], "1")
    )
    with (
        pytest.raises(peers.Absent, match="ended at once with 3: no luck"),
        measure.started("broken", tmp_path / "broken", tmp_path, plain),
    ):
        pass
