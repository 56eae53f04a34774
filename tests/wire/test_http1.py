"""The HTTP/1.1 client against servers whose every byte is decided here."""

from __future__ import annotations

import asyncio
import gc
import gzip
import json
import os
import random
import socket
import ssl
import subprocess
import tracemalloc
import zlib
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from cheapfirst.messages import Outcome
from cheapfirst.policy import table
from cheapfirst.policy.table import Timeouts
from cheapfirst.upstream import Call, Upstream, raw
from scripted import Exchange, Reply, call, collect, completion, delta, serving, usage_chunk

BODY = json.dumps(completion()).encode()
JSON = b"content-type: application/json\r\n"


def framed(body: bytes = BODY, *headers: bytes) -> bytes:
    """A whole response that says its length."""
    more = b"".join(header + b"\r\n" for header in headers)
    return b"HTTP/1.1 200 OK\r\n%b%bcontent-length: %d\r\n\r\n%b" % (JSON, more, len(body), body)


def chunked(*chunks: bytes, extension: bytes = b"", trailers: bytes = b"", headers: bytes = b"") -> bytes:
    """A whole response in chunks."""
    body = b"".join(b"%x%b\r\n%b\r\n" % (len(chunk), extension, chunk) for chunk in chunks)
    return b"HTTP/1.1 200 OK\r\n%b%btransfer-encoding: chunked\r\n\r\n%b0\r\n%b\r\n" % (JSON, headers, body, trailers)


def bytes_of(data: bytes, *, then: str = "stay") -> Reply:
    """Sends just these bytes, then waits for the next request (stay), ends (cut) or says nothing more (hang)."""

    async def reply(exchange: Exchange) -> None:
        await exchange.raw(data)
        if then == "cut":
            await exchange.cut()
        elif then == "hang":
            await exchange.hang()

    return reply


def name(outcome: Outcome) -> str:
    """The fault's name, else the outcome's kind."""
    return outcome.fault.name if outcome.fault is not None else outcome.kind


async def calls(reply: Reply, number: int = 1, **options: Any) -> tuple[list[str], int]:
    """What so many calls, one after another, came to, and on how many connections."""
    async with serving(reply, **options) as (server, upstream):
        names = [name(await upstream.send(call())) for _ in range(number)]
        return names, server.connections


def at(base_url: str) -> Upstream:
    return Upstream(table.Upstream(base_url=base_url), api_key="k")


# Framing


@pytest.mark.parametrize(
    ("data", "connections"),
    [
        (framed(), 1),
        (chunked(BODY), 1),
        (chunked(BODY[:9], BODY[9:]), 1),
        (chunked(BODY[:9], BODY[9:], extension=b";a=b;c"), 1),
        (chunked(BODY, trailers=b"x-checksum: 1\r\ncontent-encoding: gzip\r\n"), 1),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + framed(), 1),
        (b"HTTP/1.1 102 Processing\r\ncontent-encoding: gzip\r\n\r\n" + framed(), 1),
        (framed(BODY, b"connection: close"), 2),
        (framed().replace(b"1.1", b"1.0"), 2),
        (framed(BODY, b"connection: keep-alive").replace(b"1.1", b"1.0"), 1),
        (framed(BODY, b"set-cookie: a=1", b"set-cookie: b=2"), 1),
        (framed() + b"garbage", 2),
        (framed() + framed(b"{}"), 2),
        (chunked(BODY) + b"\0", 2),
        (framed() + b"\r\n", 1),
    ],
)
async def test_every_honest_framing_is_read_and_a_connection_is_used_again_only_when_it_is_clean(
    data: bytes, connections: int
) -> None:
    assert await calls(bytes_of(data), 2) == (["answer", "answer"], connections)


@pytest.mark.parametrize(
    "head",
    [
        b"HTTP/1.1 200 OK\r\n" + JSON,
        b"HTTP/1.0 200 OK\r\n" + JSON,
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: identity\r\n" + JSON,
    ],
)
async def test_a_body_without_a_length_ends_with_its_connection(head: bytes) -> None:
    assert await calls(bytes_of(head + b"\r\n" + BODY, then="cut"), 2) == (["answer", "answer"], 2)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (framed()[:-1], "cut_stream"),
        (chunked(BODY)[:-5], "cut_stream"),
        (chunked(BODY)[:-2], "cut_stream"),
        (b"HTTP/1.1 200 OK\r\n" + JSON + b"\r\n" + BODY[:-1], "malformed"),
        (b"HTTP/1.1 200 OK\r\n" + JSON + b"content-length: 10\r\n\r\n", "cut_stream"),
        (b"HTTP/1.1 200 OK\r\n" + JSON, "no_response"),
        (b"HTTP/1.1 103 Early Hints\r\n\r\n", "no_response"),
        (b"", "no_response"),
    ],
)
@pytest.mark.parametrize("together", [True, False])
async def test_an_answer_that_ends_too_early_is_a_named_fault(data: bytes, fault: str, together: bool) -> None:
    async def reply(exchange: Exchange) -> None:
        for start in range(0, len(data), len(data) if together else 17):
            await exchange.raw(data[start : start + (len(data) if together else 17)])
        await exchange.cut()

    assert (await calls(reply))[0] == [fault]


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n{}    ",
        b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ntransfer-encoding: chunked\r\n\r\n{}    ",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n{}",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n{}",
        b"HTTP/1.1 200 OK\r\n" + JSON + b"x-long: a\r\n b\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n\x81\x05hello",
        b"HTTP/2 200\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
    ],
)
async def test_what_breaks_the_rules_of_http_is_malformed(data: bytes) -> None:
    assert (await calls(bytes_of(data, then="hang")))[0] == ["malformed"]


@pytest.mark.parametrize("status", [204, 205, 304])
async def test_an_answer_without_a_body_is_no_answer_and_does_not_wait_for_one(status: int) -> None:
    reply = bytes_of(b"HTTP/1.1 %d X\r\n%b\r\n" % (status, b"content-length: 0\r\n" if status == 205 else b""))
    names, connections = await calls(reply, 2)
    assert names == ["redirect" if status == 304 else "malformed"] * 2
    assert connections == 1


async def test_a_trailer_does_not_pass_for_a_header() -> None:
    async with (
        serving(bytes_of(chunked(BODY, trailers=b"x-generation-id: gen-t\r\nx-more: 1\r\n"))) as (_, upstream),
        raw.open(upstream, "GET", "/x", b"", {}, timeouts=Timeouts(), budget=5.0) as answer,
    ):
        assert b"".join([piece async for piece in answer.pieces]) == BODY
        assert "x-more" not in answer.headers


async def test_headers_of_the_same_name_are_one_list() -> None:
    async with (
        serving(bytes_of(framed(BODY, b"X-A: 1", b"x-a: 2", b"x-b: \xfc"))) as (_, upstream),
        raw.open(upstream, "GET", "/x", b"", {}, timeouts=Timeouts(), budget=5.0) as answer,
    ):
        assert (answer.headers["x-a"], answer.headers["x-b"]) == ("1, 2", "ü")


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n" + b"x-a: b\r\n" * 100_000,
        b"HTTP/1.1 200 OK\r\nx-a: " + b"b" * 10_000_000,
        b"HTTP/1.1 200 " + b"b" * 1_000_000,
        b"HTTP/1.1 103 Early Hints\r\n\r\n" * 100_000,
        chunked(BODY)[:-2] + b"x-a: b\r\n" * 100_000,
        chunked(b"{}", extension=b";" + b"x" * 10_000_000),
    ],
)
async def test_a_head_or_a_trailer_without_end_is_malformed_and_not_kept(data: bytes) -> None:
    assert (await calls(bytes_of(data, then="hang")))[0] == ["malformed"]


STREAM = b"".join(
    b"data: " + (chunk if isinstance(chunk, bytes) else json.dumps(chunk, ensure_ascii=False).encode()) + b"\n\n"
    for chunk in (delta("hé "), delta("you"), delta(None, "stop"), usage_chunk(), b"[DONE]")
)


def streamed(body: bytes, packing: bytes = b"") -> bytes:
    return SSE + packing + b"content-length: %d\r\n\r\n" % len(body) + body


SSE = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
WIRES = [
    streamed(STREAM),
    SSE + b"transfer-encoding: chunked\r\n\r\n%x\r\n%b\r\n0\r\n\r\n" % (len(STREAM), STREAM),
    b"HTTP/1.1 100 Continue\r\n\r\n" + streamed(gzip.compress(STREAM), b"content-encoding: gzip\r\n"),
    streamed(zlib.compress(STREAM), b"content-encoding: deflate\r\n"),
    SSE + b"\r\n" + STREAM,
    framed(),
    framed()[:-3],
    b"HTTP/1.1 429 X\r\nretry-after: 3\r\ncontent-length: 2\r\n\r\n{}",
    b"HTTP/1.1 200 OK\r\nbad\r\n\r\n",
]


@settings(max_examples=60)
@given(wire=st.sampled_from(WIRES), cuts=st.lists(st.floats(0, 1), max_size=12))
@example(wire=WIRES[1], cuts=[])
def test_how_the_network_cuts_a_response_changes_nothing(wire: bytes, cuts: list[float]) -> None:
    places = sorted({round(cut * len(wire)) for cut in cuts} | {0, len(wire)})
    pieces = [wire[start:end] for start, end in pairwise(places)]
    assert asyncio.run(_came(pieces)) == asyncio.run(_came([wire]))


@pytest.mark.parametrize("wire", WIRES)
async def test_a_response_that_comes_byte_by_byte_is_the_same(wire: bytes) -> None:
    assert await _came([wire[index : index + 1] for index in range(len(wire))]) == await _came([wire])


async def _came(pieces: list[bytes]) -> tuple[object, ...]:
    """What a streamed call makes of these writes, after which the connection ends."""

    async def reply(exchange: Exchange) -> None:
        for piece in pieces:
            await exchange.raw(piece)
            await asyncio.sleep(0)
        await exchange.cut()

    async with serving(reply) as (_, upstream):
        chunks, outcome = await collect(upstream, call(stream=True))
        return chunks, name(outcome), outcome.text, outcome.reported_cost, outcome.fault and outcome.fault.retry_after


# Packing


def bare(data: bytes) -> bytes:
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


@pytest.mark.parametrize(
    ("packing", "data"),
    [
        (b"gzip", gzip.compress(BODY)),
        (b"x-gzip", gzip.compress(BODY)),
        (b"GZIP", gzip.compress(BODY[:50]) + gzip.compress(BODY[50:])),
        (b"gzip", gzip.compress(BODY) + b"\0" * 20),
        (b"deflate", zlib.compress(BODY)),
        (b"deflate", bare(BODY)),
        (b"identity", BODY),
    ],
)
@pytest.mark.parametrize("size", [1, 7, 100_000])
async def test_packed_answers_are_unpacked_however_they_are_cut(packing: bytes, data: bytes, size: int) -> None:
    pieces = [data[start : start + size] for start in range(0, len(data), size)]
    reply = bytes_of(chunked(*pieces, headers=b"content-encoding: %b\r\n" % packing))
    assert await calls(reply, 2) == (["answer", "answer"], 1)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        (gzip.compress(BODY)[:-1], "cut_stream"),
        (gzip.compress(BODY)[:30], "cut_stream"),
        (gzip.compress(BODY)[:1], "cut_stream"),
        (gzip.compress(BODY[:50]) + gzip.compress(BODY[50:])[:-9], "cut_stream"),
        (b"\x1f\x8b not packed", "malformed"),
        (BODY, "malformed"),
        (gzip.compress(BODY)[:-8] + b"12345678", "malformed"),
        (b"", "malformed"),
    ],
)
async def test_a_packed_answer_that_is_not_whole_is_a_fault(data: bytes, fault: str) -> None:
    assert (await calls(bytes_of(framed(data, b"content-encoding: gzip"))))[0] == [fault]


@settings(max_examples=20)
@given(st.integers((1 << 20) - 400, (1 << 20) + 400), st.booleans())
def test_nothing_is_lost_where_a_piece_of_unpacked_data_is_full(size: int, wrapped: bool) -> None:
    data = (zlib.compress if wrapped else bare)(b" " * size + b"{}" + b" " * size)

    async def length() -> int:
        async with (
            serving(bytes_of(framed(data, b"content-encoding: deflate"))) as (_, upstream),
            raw.open(upstream, "GET", "/x", b"", {}, timeouts=Timeouts(), budget=20.0) as answer,
        ):
            return sum([len(piece) async for piece in answer.pieces])

    assert asyncio.run(length()) == 2 * size + 2


async def test_a_packed_bomb_takes_little_memory_and_ends_at_the_limit() -> None:
    packer = zlib.compressobj(9, wbits=31)
    data = b"".join(packer.compress(b"0" * (1 << 20)) for _ in range(300)) + packer.flush()
    bomb = data + data  # 600 MB
    async with serving(bytes_of(framed(bomb, b"content-encoding: gzip"), then="hang"), largest_answer=1 << 20) as (
        _,
        upstream,
    ):
        tracemalloc.start()
        try:
            made = await upstream.send(call())
            peak = tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()
    assert name(made) == "answer_too_big"
    assert peak < 16 << 20


# Backpressure


async def test_an_upstream_that_sends_faster_than_the_caller_reads_is_made_to_wait() -> None:
    sent = 0

    async def reply(exchange: Exchange) -> None:
        nonlocal sent
        await exchange.raw(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (64 << 20))
        for _ in range(64 * 16):
            await exchange.raw(b"x" * (1 << 16))
            sent += 1 << 16

    async with serving(reply) as (_, upstream):
        async with raw.open(upstream, "GET", "/x", b"", {}, timeouts=Timeouts(), budget=30.0) as answer:
            first = await anext(answer.pieces)
            while True:  # until the server is stuck
                before = sent
                await asyncio.sleep(0.05)
                if sent == before:
                    break
            assert sent < 32 << 20
            rest = sum([len(piece) async for piece in answer.pieces])
        assert len(first) + rest == 64 << 20


# Connections


async def test_a_connection_that_the_server_closed_while_it_was_idle_is_not_used() -> None:
    async with serving(bytes_of(framed(), then="cut")) as (server, upstream):
        for _ in range(3):
            assert name(await upstream.send(call())) == "answer"
            await asyncio.wait_for(server.empty.wait(), 10)
            await asyncio.sleep(0)
        assert server.connections == 3


async def test_a_connection_that_is_closed_as_the_request_goes_out_is_no_response() -> None:
    async def reply(exchange: Exchange) -> None:
        if len(exchange.server.seen) == 2:
            await exchange.cut()
        else:
            await exchange.raw(framed())

    assert await calls(reply, 3) == (["answer", "no_response", "answer"], 2)


async def test_what_an_idle_connection_says_unasked_is_no_answer_to_the_next_call() -> None:
    said = asyncio.Event()

    async def reply(exchange: Exchange) -> None:
        await exchange.raw(framed())
        if len(exchange.server.seen) == 1:
            asyncio.get_running_loop().call_later(0.01, asyncio.ensure_future, late(exchange))

    async def late(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n")
        said.set()

    async with serving(reply) as (server, upstream):
        assert name(await upstream.send(call())) == "answer"
        await said.wait()
        await asyncio.wait_for(server.empty.wait(), 10)
        assert name(await upstream.send(call())) == "answer"
        assert server.connections == 2


async def test_a_server_that_speaks_first_is_no_http_server() -> None:
    async def greet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 ready\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(greet, "127.0.0.1", 0) as server:
        upstream = at(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        assert name(await upstream.send(call())) in ("malformed", "no_response")
        await upstream.close()


async def test_a_server_that_closes_every_connection_at_once_is_no_response() -> None:
    async def leave(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(leave, "127.0.0.1", 0) as server:
        upstream = at(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        for _ in range(20):
            assert name(await asyncio.wait_for(upstream.send(call()), 10)) == "no_response"
        await upstream.close()


async def test_a_server_that_closes_only_its_side_after_the_answer_is_understood() -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.raw(framed())
        exchange._writer.write_eof()
        await exchange.hang()

    async with serving(reply) as (server, upstream):
        for _ in range(2):
            assert name(await upstream.send(call())) == "answer"
            await asyncio.wait_for(server.empty.wait(), 10)
        assert server.connections == 2


async def test_an_answer_before_the_whole_request_was_sent_counts_and_the_connection_does_not() -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 413 X\r\ncontent-length: 2\r\n\r\n{}")
        await left.wait()
        writer.close()

    left = asyncio.Event()
    async with await asyncio.start_server(refuse, "127.0.0.1", 0, limit=1 << 16) as server:
        upstream = at(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        for _ in range(2):  # the second would wait for ever behind the first one's rest
            assert name(await upstream.send(call(text="x" * (32 << 20)))) == "payload_too_large"
        left.set()
        await upstream.close()


async def test_a_large_request_arrives_whole() -> None:
    text = random.Random(7).randbytes(2 << 20).hex()
    async with serving(bytes_of(framed())) as (server, upstream):
        assert name(await upstream.send(call(text=text))) == "answer"
        assert json.loads(server.seen[0].body)["text"] == text


async def test_a_connection_is_not_kept_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cheapfirst.upstream.pool.KEPT", 0.02)
    async with serving(bytes_of(framed())) as (server, upstream):
        await asyncio.gather(*(upstream.send(call()) for _ in range(5)))
        await asyncio.wait_for(server.empty.wait(), 10)
        assert name(await upstream.send(call())) == "answer"


@pytest.mark.parametrize("phase", ["connecting", "waiting", "head", "body", "stream"])
async def test_a_call_that_is_cancelled_at_any_time_leaves_no_connection(phase: str) -> None:
    reached = asyncio.Event()

    async def reply(exchange: Exchange) -> None:
        begun = {"head": framed()[:20], "body": framed()[:-20], "stream": WIRES[0][:-20]}.get(phase, b"")
        await exchange.raw(begun)
        reached.set()
        await exchange.hang()

    async with serving(reply) as (server, upstream):
        made = call(stream=phase == "stream")
        task = asyncio.ensure_future(collect(upstream, made) if made.streamed else upstream.send(made))
        if phase == "connecting":
            await asyncio.sleep(0)
        else:
            await asyncio.wait_for(reached.wait(), 10)
            for _ in range(5):
                await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert upstream.in_flight() == 0
        await asyncio.wait_for(server.empty.wait(), 10)


async def test_closing_the_client_ends_the_calls_under_way() -> None:
    arrived = asyncio.Event()

    async def reply(exchange: Exchange) -> None:
        arrived.set()
        await exchange.hang()

    async with serving(reply) as (_, upstream):
        waiting = asyncio.ensure_future(upstream.send(call()))
        await asyncio.wait_for(arrived.wait(), 10)
        connecting = asyncio.ensure_future(upstream.send(call()))
        await asyncio.sleep(0)
        await upstream.close()
        assert [name(await waiting), name(await connecting)] == ["closed", "closed"]


# Addresses


async def test_an_address_in_ipv6_is_called() -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(framed(BODY, b"connection: close"))
        writer.close()

    seen: list[bytes] = []
    async with await asyncio.start_server(serve, "::1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        upstream = at(f"http://[::1]:{port}/v1")
        assert name(await upstream.send(call())) == "answer"
        await upstream.close()
    assert b"\r\nHost: [::1]:%d\r\n" % port in seen[0]


@pytest.mark.parametrize("address", ["127.0.0.1", "::1"])
async def test_a_host_is_reached_by_whichever_family_it_listens_on(address: str) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(framed(BODY, b"connection: close"))
        writer.close()

    async with await asyncio.start_server(serve, address, 0) as server:
        port = server.sockets[0].getsockname()[1]
        found = [(family, socket.SOCK_STREAM, 6, "", (host, port)) for family, host in
                 ((socket.AF_INET6, "::1"), (socket.AF_INET, "127.0.0.1"))]  # fmt: skip

        async def resolve(*_: Any, **__: Any) -> Any:
            return found

        loop = asyncio.get_running_loop()
        loop.getaddrinfo = resolve  # type: ignore[method-assign]
        upstream = at(f"http://both.example:{port}")
        assert name(await upstream.send(call())) == "answer"
        await upstream.close()


async def test_a_name_and_password_in_the_address_go_nowhere() -> None:
    async with serving(bytes_of(framed())) as (server, _):
        upstream = at(server.url.replace("http://", "http://me:hidden@"))
        assert name(await upstream.send(call())) == "answer"
        assert server.seen[0].headers["host"] == server.url.split("/")[2]
        assert server.seen[0].headers["authorization"] == "Bearer k"
        assert "hidden" not in repr(upstream)
        await upstream.close()


@pytest.mark.parametrize(("path", "target"), [("", "/x"), ("/", "/x"), ("/a/b/", "/a/b/x"), ("/a%20b", "/a%20b/x")])
async def test_a_path_of_the_address_stands_before_every_target(path: str, target: str) -> None:
    async with serving(bytes_of(framed())) as (server, _):
        upstream = at("/".join(server.url.split("/")[:3]) + path)
        await upstream.get("/x")
        assert server.seen[0].line == f"GET {target} HTTP/1.1"
        await upstream.close()


@pytest.mark.parametrize("path", ["/a b", "/ü", "/a\r\nx: y", "/a\0"])
async def test_a_path_that_cannot_stand_in_a_request_is_not_sent(path: str) -> None:
    async with serving(bytes_of(framed())) as (server, upstream):
        fault = await upstream.get(path)
        assert not isinstance(fault, dict)
        assert fault.name == "unsendable"
        assert server.connections == 0


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that nobody trusts, and its key, in one file."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1,DNS:localhost",
         "-keyout", folder / "key.pem", "-out", folder / "cert.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def over_tls(certificate: Path, serve: Serve, *made: Call, host: str = "127.0.0.1") -> list[str]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate / "cert.pem", certificate / "key.pem")
    async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
        upstream = at(f"https://{host}:{server.sockets[0].getsockname()[1]}/v1")
        try:
            return [name(await upstream.send(one)) for one in made]
        finally:
            await upstream.close()


async def answering(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length"))
            await reader.readexactly(int(length.partition(b":")[2]))
            writer.write(framed())
    except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
        writer.close()


@pytest.fixture
def trusted(certificate: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate / "cert.pem"))
    return certificate


async def test_a_certificate_that_nobody_trusts_is_a_tls_fault(certificate: Path) -> None:
    assert await over_tls(certificate, answering, call()) == ["tls"]


async def test_a_certificate_named_by_the_environment_is_trusted(trusted: Path) -> None:
    assert await over_tls(trusted, answering, call(), call(text="x" * (1 << 20)), call()) == ["answer"] * 3


async def test_a_trusted_certificate_for_another_host_is_a_tls_fault(trusted: Path) -> None:
    assert await over_tls(trusted, answering, call(), host="127.1") == ["tls"]


async def test_an_answer_over_tls_that_ends_too_early_is_a_fault(trusted: Path) -> None:
    async def cut(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(framed()[:-5])
        writer.close()

    assert await over_tls(trusted, cut, call()) == ["cut_stream"]


async def test_a_server_that_never_finishes_the_handshake_is_a_connect_timeout() -> None:
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(silent, "127.0.0.1", 0) as server:
        upstream = at(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        limits = Timeouts(connect=0.1, first_token=9.0, silence=9.0, total=9.0)
        assert name(await upstream.send(call(timeouts=limits))) == "connect_timeout"
        await upstream.close()


# Processes and loops


async def test_a_forked_child_does_not_disturb_the_parents_connections() -> None:
    async with serving(bytes_of(framed())) as (server, upstream):
        assert name(await upstream.send(call())) == "answer"
        child = os.fork()
        if child == 0:  # what a worker process does first: a loop of its own, a call, and an end
            try:
                asyncio.events._set_running_loop(None)
                os._exit(0 if asyncio.run(_closed(upstream)) else 1)
            finally:
                os._exit(2)
        _, status = await asyncio.to_thread(os.waitpid, child, 0)
        assert os.waitstatus_to_exitcode(status) == 0
        assert name(await upstream.send(call())) == "answer"
        assert server.connections == 2


async def _closed(upstream: Upstream) -> bool:
    made = await upstream.send(call())
    await upstream.close()
    return made.kind == "answer"


def test_event_loops_one_after_another_leave_no_connection_behind() -> None:
    listening = socket.create_server(("127.0.0.1", 0))
    upstream = at(f"http://127.0.0.1:{listening.getsockname()[1]}")

    async def one() -> str:
        async with await asyncio.start_server(answering, sock=listening.dup()):
            return name(await upstream.send(call()))

    def opened() -> int:
        gc.collect()
        return len(os.listdir("/proc/self/fd"))

    assert asyncio.run(one()) == "answer"
    before = opened()
    for _ in range(10):
        assert asyncio.run(one()) == "answer"
    assert opened() <= before + 2
    asyncio.run(upstream.close())
    listening.close()


# The same on another event loop


@pytest.fixture
def uvloop_run() -> Iterator[Callable[[Coroutine[Any, Any, Any]], Any]]:
    uvloop = pytest.importorskip("uvloop")
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        yield runner.run


def test_the_gateways_event_loop_changes_nothing(
    uvloop_run: Callable[[Coroutine[Any, Any, Any]], Any], trusted: Path
) -> None:
    async def everything() -> None:
        await test_an_upstream_that_sends_faster_than_the_caller_reads_is_made_to_wait()
        await test_a_connection_that_the_server_closed_while_it_was_idle_is_not_used()
        await test_a_connection_that_is_closed_as_the_request_goes_out_is_no_response()
        await test_what_an_idle_connection_says_unasked_is_no_answer_to_the_next_call()
        await test_a_server_that_speaks_first_is_no_http_server()
        await test_a_server_that_closes_every_connection_at_once_is_no_response()
        await test_a_server_that_closes_only_its_side_after_the_answer_is_understood()
        await test_an_answer_before_the_whole_request_was_sent_counts_and_the_connection_does_not()
        await test_closing_the_client_ends_the_calls_under_way()
        await test_a_certificate_named_by_the_environment_is_trusted(trusted)
        await test_an_answer_over_tls_that_ends_too_early_is_a_fault(trusted)
        await test_a_server_that_never_finishes_the_handshake_is_a_connect_timeout()
        await test_a_packed_bomb_takes_little_memory_and_ends_at_the_limit()
        for phase in ("connecting", "waiting", "head", "body", "stream"):
            await test_a_call_that_is_cancelled_at_any_time_leaves_no_connection(phase)
        for wire in WIRES:
            await test_a_response_that_comes_byte_by_byte_is_the_same(wire)

    uvloop_run(everything())
