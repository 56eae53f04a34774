"""What nobody should send: each gets a clear 4xx, soon, and the gateway goes on serving."""

from __future__ import annotations

import asyncio
import gzip
import json
import random
import zlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from cheapfirst.gateway import protocol
from scripted import Exchange, completion
from talking import SECONDS, World, asking, request, world

BOUNDS = "\n[gateway]\nmax_body = 20000\nbody_wait = 0.3\n"


async def hi(exchange: Exchange) -> None:
    await exchange.whole(completion("Hi."))


@asynccontextmanager
async def bounded(files: Path) -> AsyncIterator[World]:
    """A gateway with narrow bounds, which still works at the end and has asked the upstream only for what is right."""
    async with world(hi, files, settings=BOUNDS) as made:
        yield made
        before = len(made.server.seen)
        assert (await made.ask(asking())).status == 200
        assert len(made.server.seen) == before + 1


def about(content: bytes) -> bytes:
    return b'{"model": "write", "messages": [{"role": "user", "content": ' + content + b"}]}"


@pytest.mark.parametrize(
    ("body", "code"),
    [
        (b"", "invalid_json"),
        (b"null", "invalid_json"),
        (b"[]", "invalid_json"),
        (b'"text"', "invalid_json"),
        (b"{", "invalid_json"),
        (b'{"model": "write"} x', "invalid_json"),
        (about(b"NaN"), "invalid_json"),
        (about(b"Infinity"), "invalid_json"),
        (about(b"-Infinity"), "invalid_json"),
        (about(b'"\xff\xfe"'), "invalid_json"),
        (about(b'"\xc3"'), "invalid_json"),
        (about(b'"\xed\xa0\x80"'), "invalid_json"),
        (about(b'"\\ud800"'), "invalid_json"),
        (about(b'"a\nb"'), "invalid_json"),
        (about(b"'a'"), "invalid_json"),
        (about(b"01"), "invalid_json"),
        (b"\xef\xbb\xbf" + about(b'"a"'), "invalid_json"),
        (about(b'"a"').decode().encode("utf-16"), "invalid_json"),
        (b'{"model": "write", "model": "chat", "messages": []}', "duplicate_name"),
        (about(b'"a", "content": "b"'), "duplicate_name"),
        (about(b'"a", "c\\u006fntent": "b"'), "duplicate_name"),
        (about(b"[" * 200 + b"]" * 200), "too_deep"),
        (about(b'{"a":' * 150 + b"1" + b"}" * 150), "too_deep"),
        (about(b"[" * 9000 + b"]" * 9000), "too_deep"),
        (b"[" * 19_000, "invalid_json"),
        (about(b'"' + b"x" * 20_000 + b'"'), "body_too_big"),
    ],
)
async def test_a_body_that_is_not_one_plain_json_object_is_refused(tmp_path: Path, body: bytes, code: str) -> None:
    async with bounded(tmp_path) as made:
        said = await made.ask(body)
        assert said.status == (413 if code == "body_too_big" else 400)
        assert said.code in (code, "too_deep")
        assert made.server.seen == []


async def test_numbers_beyond_all_bounds_do_no_harm(tmp_path: Path) -> None:
    async with bounded(tmp_path) as made:
        for number in (b"1e999", b"-1e999", b"9" * 5000, b"0." + b"9" * 5000, b"1e-999"):
            body = b'{"model": "write", "messages": [{"role": "user", "content": "a"}], "seed": ' + number + b"}"
            assert (await made.ask(body)).status in (200, 400)


async def test_a_declared_length_beyond_the_bound_is_refused_before_it_is_sent(tmp_path: Path) -> None:
    async with bounded(tmp_path) as made, made.talk() as talk:
        await talk.send(request(b"", content_length="20001"))
        assert (await talk.answer()).status == 413


async def test_a_chunked_body_beyond_the_bound_is_refused(tmp_path: Path) -> None:
    async with bounded(tmp_path) as made, made.talk() as talk:
        head = b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n"
        await talk.send(head + b"4000\r\n" + b"x" * 0x4000 + b"\r\n" + b"4000\r\n" + b"x" * 0x4000 + b"\r\n")
        assert (await talk.answer()).status == 413


@pytest.mark.parametrize("length", ["x", "-5", "1, 2", "1e3", "99999999999999999999999999", "0x10", "+5"])
async def test_a_length_that_is_none_is_refused(tmp_path: Path, length: str) -> None:
    async with bounded(tmp_path) as made, made.talk() as talk:
        await talk.send(request(b"{}", content_length=length))
        assert (await talk.answer()).status in (400, 413)


async def test_two_lengths_and_lengths_beside_chunks_are_refused(tmp_path: Path) -> None:
    async with bounded(tmp_path) as made:
        for more in (
            b"content-length: 5\r\ncontent-length: 6\r\n",
            b"content-length: 5\r\ntransfer-encoding: chunked\r\n",
        ):
            async with made.talk() as talk:
                await talk.send(b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n" + more + b"\r\n0\r\n\r\n")
                assert (await talk.answer()).status == 400


@pytest.mark.parametrize("packing", ["gzip", "x-gzip", "deflate", "GZIP"])
async def test_a_packed_body_is_unpacked(tmp_path: Path, packing: str) -> None:
    async with bounded(tmp_path) as made:
        data = json.dumps(asking()).encode()
        packed = zlib.compress(data) if packing == "deflate" else gzip.compress(data)
        assert (await made.ask(packed, content_encoding=packing)).status == 200


@pytest.mark.parametrize("packing", ["gzip", "deflate"])
async def test_a_bomb_does_not_go_off(tmp_path: Path, packing: str) -> None:
    async with bounded(tmp_path) as made:
        zeros = b"0" * 15_000_000
        bomb = zlib.compress(zeros) if packing == "deflate" else gzip.compress(zeros)
        assert len(bomb) < 20_000
        said = await made.ask(bomb, content_encoding=packing)
        assert (said.status, said.code) == (413, "body_too_big")


@pytest.mark.parametrize(
    ("packing", "body", "status"),
    [
        ("gzip", b"not packed", 400),
        ("gzip", gzip.compress(b'{"model": "write"}')[:-12], 400),
        ("deflate", b"\x00\x01\x02", 400),
        ("br", b"{}", 415),
        ("gzip, gzip", b"{}", 415),
        ("zstd", b"{}", 415),
    ],
)
async def test_packing_that_is_none_is_refused(tmp_path: Path, packing: str, body: bytes, status: int) -> None:
    async with bounded(tmp_path) as made:
        assert (await made.ask(body, content_encoding=packing)).status == status


async def test_a_body_that_comes_too_slowly_is_given_up(tmp_path: Path) -> None:
    async with bounded(tmp_path) as made, made.talk() as talk:
        await talk.send(request(asking())[:-10])
        said = await talk.answer()
        assert (said.status, said.code) == (408, "body_too_slow")
        await made.quiet()


async def test_a_head_that_comes_too_slowly_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol, "HEAD_WAIT", 0.2)
    async with bounded(tmp_path) as made:
        for begun in (b"", b"P", b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\nx: "):
            async with made.talk() as talk:
                await talk.send(begun)
                said = await talk.answer()
                assert (said.status, said.code) == (408, "head_too_slow")
                assert await talk.closed()


@pytest.mark.parametrize(
    "head",
    [
        b"GET /health HTTP/1.1\r\nhost: a\r\nx-big: " + b"x" * 70_000 + b"\r\n\r\n",
        b"GET /health HTTP/1.1\r\nhost: a\r\n" + b"x-many: 1\r\n" * 7_000 + b"\r\n",
        b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n",
    ],
    ids=["one big", "many", "target"],
)
async def test_a_head_that_is_too_big_is_refused(tmp_path: Path, head: bytes) -> None:
    async with bounded(tmp_path) as made, made.talk() as talk:
        await talk.send(head)
        said = await talk.answer()
        assert said.status == 431
        assert said.code == "head_too_big"


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n\r\n\r\n" + b"\x00" * 100 + b"\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x01" * 50,
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /health HTTP/1.1\r\nno colon here\r\n\r\n",
        b"GET /health HTTP/1.1\r\na b: c\r\n\r\n",
        b"GET /health HTTP/1.1\r\nx: a\x00b\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
    ],
)
async def test_what_is_no_http_is_refused(tmp_path: Path, data: bytes) -> None:
    async with bounded(tmp_path) as made, made.talk() as talk:
        await talk.send(data)
        said = await talk.answer()
        assert 400 <= said.status < 500
        assert await talk.closed()


@pytest.mark.parametrize(
    "target", ["http://evil.example/v1/chat/completions", "https://127.0.0.1:1/v1/chat/completions", "//evil/v1/x"]
)
async def test_an_absolute_target_never_chooses_the_upstream(tmp_path: Path, target: str) -> None:
    async with bounded(tmp_path) as made:
        said = await made.ask(asking(), path=target)
        assert said.status in (200, 400, 404, 405)
        assert all(exchange.line.startswith("POST /api/v1/") for exchange in made.server.seen)


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "PATCH", "OPTIONS", "HEAD", "TRACE"])
async def test_a_method_that_the_path_does_not_take_is_405(tmp_path: Path, method: str) -> None:
    async with bounded(tmp_path) as made, made.talk() as talk:
        await talk.send(request(None, method=method))
        async with asyncio.timeout(SECONDS):
            said = await talk.head()
        assert said.status == 405
        assert said.headers["allow"] == "POST"


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/../health", "/v1/chat/completions/", "/%00", "/v1/%2e%2e/%2e%2e/etc/passwd", "/v2/models"]
)
async def test_a_path_that_is_not_there_is_404(tmp_path: Path, path: str) -> None:
    async with bounded(tmp_path) as made:
        said = await made.ask(asking(), path=path)
        assert said.status in (400, 404, 405)
        assert said.json["error"]["message"]


async def test_odd_values_everywhere_are_never_the_gateways_failure(tmp_path: Path) -> None:
    rng = random.Random(7)
    odd: list[Any] = [
        None,
        True,
        0,
        -1,
        1e308,
        "",
        "x" * 300,
        "\x00\ud7ff\uffff",
        [],
        {},
        [[]],
        {"": ""},
        [{"role": "user"}],
    ]
    names = [
        *("model", "messages", "metadata", "stream", "stream_options", "response_format", "tools", "tool_choice"),
        *("max_tokens", "max_completion_tokens", "temperature", "user", "prompt_cache_key", "n", "stop", "models"),
        *("reasoning", "provider", "modalities", "audio", "logprobs", "functions", "function_call", "cheapfirst"),
    ]
    async with world(hi, tmp_path, settings="\n[limits.timeouts]\ntotal = 2\n") as made:
        for number in range(400):
            body = {**asking(), **{name: rng.choice(odd) for name in rng.sample(names, rng.randrange(1, 4))}}
            if number % 3 == 0:
                body["messages"] = [{"role": "user", "content": rng.choice(odd), rng.choice(names): rng.choice(odd)}]
            if number % 5 == 0:
                body["response_format"] = {
                    "type": "json_schema",
                    "json_schema": {"name": "x", "schema": rng.choice(odd)},
                }
            if number % 7 == 0:
                body["tools"] = [
                    {"type": "function", "function": {"name": rng.choice(odd), "parameters": rng.choice(odd)}}
                ]
            said = await made.ask(body)
            assert said.status < 500, (body, said.data)
            assert said.whole


async def test_odd_headers_are_never_the_gateways_failure(tmp_path: Path) -> None:
    values = ["", "\xff\xfe", "x" * 1000, "\t", "a,b;c=d", "null", "../..", "Bearer", "Bearer  ", "Basic eA==", "%00"]
    names = [
        *("authorization", "x-api-key", "x-cheapfirst-task", "x-cheapfirst-tier", "x-cheapfirst-checks"),
        *("x-cheapfirst-user-facing", "x-cheapfirst-tenant", "traceparent", "tracestate", "accept", "content-type"),
        *("origin", "expect", "cookie", "content-encoding"),
    ]
    async with bounded(tmp_path) as made:
        for name in names:
            for value in values:
                said = await made.ask(asking(), **{name: value})
                assert said.status < 500, (name, value, said.data)


async def test_many_slow_senders_do_not_keep_others_from_being_served(tmp_path: Path) -> None:
    async with bounded(tmp_path) as made, AsyncExitStack() as stack:
        talks = [await stack.enter_async_context(made.talk()) for _ in range(50)]
        for talk in talks:
            await talk.send(request(asking())[:-5])
        assert (await made.ask(asking())).status == 200
        for talk in talks:
            assert (await talk.answer()).status == 408
        await made.quiet()
