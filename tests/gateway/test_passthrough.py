"""Paths that the gateway does not serve itself, over the wire: a real upstream on loopback, the real openai client."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import sqlite3
import threading
from collections.abc import Callable, Iterator
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import openai
import pytest
from msgspec import Struct, field

from cheapfirst.gateway.server import Handle, serve_in_thread

POLICY = """
[tiers]
cheap = "sim/small"
premium = "sim/large"

[routes]
write = { tier = "cheap", shape = "text" }

[upstream]
title = "mine"

[limits.timeouts]
total = 5

[models."embed/known"]
input = 0.5

[models."sim/small"]
input = 0.1
output = 0.2

[models."sim/large"]
input = 5
output = 25
"""
KEY = "sk-upstream-0123456789"
VECTOR = [0.25, -0.5, 1.0]


class Asked(Struct):
    """One request as the upstream got it."""

    method: str
    target: str
    headers: Message
    body: bytes


class Upstream(Struct):
    """A server whose next answer a test decides."""

    base_url: str = ""
    asked: list[Asked] = field(default_factory=list)
    answer: Callable[[BaseHTTPRequestHandler], None] | None = None


class Gate(Struct):
    """A gateway, and what the ledger has once it is flushed."""

    handle: Handle
    ledger: Path

    def rows(self, table: str = "requests") -> list[dict[str, Any]]:
        assert self.handle.gateway.router.ledger.flush()
        with contextlib.closing(sqlite3.connect(self.ledger)) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(f"SELECT * FROM {table}")]


@pytest.fixture
def upstream() -> Iterator[Upstream]:
    made = Upstream()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            pass

        def serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            made.asked.append(Asked(self.command, self.path, self.headers, body))
            (made.answer or embeddings)(self)

        do_GET = do_POST = serve

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.base_url = f"http://127.0.0.1:{server.server_port}/api/v1"
    thread = threading.Thread(target=lambda: server.serve_forever(0.01), daemon=True)
    thread.start()
    yield made
    server.shutdown()
    server.server_close()


@pytest.fixture
def gate(upstream: Upstream, tmp_path: Path) -> Iterator[Gate]:
    with serving(upstream, tmp_path) as made:
        yield made


@contextlib.contextmanager
def serving(upstream: Upstream, folder: Path, more: str = "") -> Iterator[Gate]:
    (folder / "cheapfirst.toml").write_text(POLICY + more)
    ledger = folder / "ledger.db"
    with serve_in_thread(
        folder / "cheapfirst.toml",
        base_url=upstream.base_url,
        api_key=KEY,
        ledger=ledger,
        store=str(folder / "access.db"),
    ) as handle:
        yield Gate(handle, ledger)


def embeddings(handler: BaseHTTPRequestHandler, *, usage: Any = None, status: int = 200) -> None:
    import struct

    packed = base64.b64encode(struct.pack("<3f", *VECTOR)).decode()
    told = {
        "object": "list",
        "data": [{"object": "embedding", "index": 0, "embedding": packed}],
        "model": "embed/known",
        "usage": usage or {"prompt_tokens": 8, "total_tokens": 8},
        "extra": {"kept": True},
    }
    whole(handler, status, json.dumps(told).encode())


def whole(handler: BaseHTTPRequestHandler, status: int, data: bytes, **headers: str) -> None:
    handler.send_response(status)
    for name, value in {"content_type": "application/json", **headers}.items():
        handler.send_header(name.replace("_", "-"), value)
    handler.send_header("content-length", str(len(data)))
    handler.end_headers()
    handler.wfile.write(data)


def call(
    gate: Gate, method: str, target: str, body: bytes | None = None, **headers: str
) -> tuple[int, bytes, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection(urlsplit(gate.handle.base_url).netloc, timeout=10)
    with contextlib.closing(connection):
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, target, body, {"content-type": "application/json", **named})
        response = connection.getresponse()
        return response.status, response.read(), response.headers


def client(gate: Gate) -> openai.OpenAI:
    return openai.OpenAI(base_url=gate.handle.base_url, api_key="client-secret", max_retries=0)


def test_embeddings_come_from_the_upstream_and_are_recorded(upstream: Upstream, gate: Gate) -> None:
    with client(gate) as openai_client:
        answer = openai_client.embeddings.create(model="embed/known", input="Hello", user="acme")
    assert answer.data[0].embedding == VECTOR
    assert (answer.model_extra or {})["extra"] == {"kept": True}
    (asked,) = upstream.asked
    assert (asked.method, asked.target) == ("POST", "/api/v1/embeddings")
    assert asked.headers["authorization"] == f"Bearer {KEY}"
    assert "client-secret" not in str(asked.headers)
    (row,) = gate.rows()
    assert (row["task"], row["tenant"], row["ending"], row["tier"]) == ("embeddings", "acme", "accepted", "passthrough")
    assert (row["model"], row["prompt_tokens"], row["forced"], row["mode"]) == ("embed/known", 8, 1, "off")
    assert row["cost"] == 4_000_000  # 8 tokens at 0.5 USD per million, in picodollars
    assert row["baseline"] is None


def test_a_reported_cost_wins_and_an_unknown_one_stays_unknown(upstream: Upstream, gate: Gate) -> None:
    upstream.answer = lambda handler: embeddings(handler, usage={"prompt_tokens": 8, "cost": 0.000007})
    call(gate, "POST", "/v1/embeddings", b'{"model": "embed/known", "input": "x"}')
    upstream.answer = lambda handler: whole(handler, 200, b'{"model": "nobody/knows", "usage": {"prompt_tokens": 8}}')
    call(gate, "POST", "/v1/embeddings", b'{"model": "nobody/knows", "input": "x"}')
    upstream.answer = lambda handler: whole(handler, 200, b'{"text": "Hello"}')
    call(gate, "POST", "/v1/audio/transcriptions", b"RIFF", content_type="audio/wav")
    assert [row["cost"] for row in gate.rows()] == [7_000_000, None, None]
    assert [row["task"] for row in gate.rows()] == ["embeddings", "embeddings", "audio/transcriptions"]


def test_bodies_pass_as_bytes_in_both_directions(upstream: Upstream, gate: Gate) -> None:
    sound = bytes(range(256)) * 999
    upstream.answer = lambda handler: whole(handler, 200, sound, content_type="audio/mpeg", set_cookie="a=b")
    form = b'--x\r\nContent-Disposition: form-data; name="model"\r\n\r\nw/isper\r\n--x--\r\n'
    status, data, headers = call(
        gate, "POST", "/v1/audio/speech?speed=2", form, content_type="multipart/form-data; boundary=x", cookie="c=d"
    )
    assert (status, data, headers["content-type"]) == (200, sound, "audio/mpeg")
    assert headers["set-cookie"] is None
    assert headers["x-cheapfirst-request-id"].startswith("req_")
    (asked,) = upstream.asked
    assert (asked.target, asked.body) == ("/api/v1/audio/speech?speed=2", form)
    assert asked.headers["content-type"] == "multipart/form-data; boundary=x"
    assert asked.headers["cookie"] is None
    assert gate.rows("attempts")[0]["model_asked"] == "w/isper"


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500])
def test_an_upstreams_refusal_passes_unchanged_and_costs_nothing(upstream: Upstream, gate: Gate, status: int) -> None:
    told = b'{"error": {"message": "No.", "their": "own"}}'
    upstream.answer = lambda handler: whole(handler, status, told, retry_after="7")
    got, data, headers = call(gate, "POST", "/v1/moderations", b'{"input": "x"}')
    assert (got, data, headers["retry-after"]) == (status, told, "7")
    (row,) = gate.rows()
    assert (row["ending"], row["cost"]) == ("fault", 0)


def test_a_stream_passes_as_it_comes(upstream: Upstream, gate: Gate) -> None:
    first_read = threading.Event()
    chunks = [{"choices": [{"text": "A"}]}, {"choices": [], "usage": {"prompt_tokens": 3, "completion_tokens": 1}}]

    def stream(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-type", "text/event-stream")
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        for chunk in chunks:
            data = f"data: {json.dumps(chunk)}\n\n".encode()
            handler.wfile.write(b"%x\r\n%b\r\n" % (len(data), data))
            assert first_read.wait(10)
        handler.wfile.write(b"0\r\n\r\n")

    upstream.answer = stream
    with client(gate) as openai_client:
        pieces = openai_client.completions.create(model="sim/small", prompt="x", stream=True)
        got = [next(iter(pieces))]
        first_read.set()
        got += list(pieces)
    assert [piece.choices[0].text if piece.choices else None for piece in got] == ["A", None]
    (row,) = gate.rows()
    assert (row["shape"], row["prompt_tokens"], row["cost"]) == ("stream", 3, 500_000)


def test_gets_pass_and_are_no_requests_of_the_ledger(upstream: Upstream, gate: Gate) -> None:
    upstream.answer = lambda handler: whole(handler, 200, b'{"data": []}')
    assert call(gate, "GET", "/v1/endpoints/zdr?limit=3")[:2] == (200, b'{"data": []}')
    assert upstream.asked[0].target == "/api/v1/endpoints/zdr?limit=3"
    assert upstream.asked[0].headers["content-length"] is None
    assert gate.rows() == []


@pytest.mark.parametrize(
    ("target", "status", "code"),
    [
        ("/v1/../../admin", 400, "path_not_plain"),
        ("/v1/%2e%2e/admin", 400, "path_not_plain"),
        ("/v1/x%2f..%2f..%2fadmin", 400, "path_not_plain"),
        ("/v1//evil.example/x", 400, "path_not_plain"),
        ("/v1/http://evil.example/x", 400, "path_not_plain"),
        ("http://evil.example/v1/../x", 400, "path_not_plain"),
        ("/v1/key", 403, "path_not_passed"),
        ("/v1/chat/completions/", 404, "path_not_found"),
        ("/v1/responses/resp_1", 404, "path_not_found"),
        ("/nowhere", 404, "path_not_found"),
    ],
)
def test_no_request_says_where_it_goes(upstream: Upstream, gate: Gate, target: str, status: int, code: str) -> None:
    got, data, _ = call(gate, "GET", target)
    assert (got, json.loads(data)["error"]["code"]) == (status, code)
    assert upstream.asked == []


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b'{"model": "a", "model": "b"}', 400, "duplicate_name"),
        (b'{"model": NaN}', 400, "invalid_json"),
        (b'{"input": "%b"}' % (b"x" * 70_000), 413, "body_too_big"),
    ],
)
def test_bodies_are_bounded_as_a_chats_are(
    upstream: Upstream, tmp_path: Path, body: bytes, status: int, code: str
) -> None:
    with serving(upstream, tmp_path, "\n[gateway]\nmax_body = 65536\n") as gate:
        got, data, _ = call(gate, "POST", "/v1/embeddings", body)
    assert (got, json.loads(data)["error"]["code"]) == (status, code)
    assert upstream.asked == []


def test_a_redirect_is_not_followed(upstream: Upstream, gate: Gate) -> None:
    upstream.answer = lambda handler: whole(handler, 307, b"", location="http://evil.example/")
    status, data, headers = call(gate, "POST", "/v1/embeddings", b"{}")
    told = json.loads(data)
    assert (status, told["error"]["code"]) == (502, "upstream_redirect")
    assert headers["location"] is None
    assert told["cheapfirst"]["attempts"][0]["fault"] == "redirect"


def test_an_upstream_that_is_not_there_is_a_fault_of_ours(upstream: Upstream, tmp_path: Path) -> None:
    gone = Upstream(base_url="http://127.0.0.1:1/v1")
    with serving(gone, tmp_path) as gate:
        status, data, _ = call(gate, "POST", "/v1/embeddings", b'{"model": "embed/known"}')
        assert (status, json.loads(data)["error"]["code"]) == (502, "upstream_connect")
        (row,) = gate.rows()
    assert (row["ending"], row["error"], row["cost"]) == ("fault", "connect", 0)


def test_an_answer_that_breaks_off_breaks_off_here_too(upstream: Upstream, gate: Gate) -> None:
    def half(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "1000")
        handler.end_headers()
        handler.wfile.write(b"half")
        handler.close_connection = True

    upstream.answer = half
    with pytest.raises((http.client.IncompleteRead, ConnectionError)):
        call(gate, "POST", "/v1/audio/speech", b"{}")
    (row,) = gate.rows()
    assert (row["ending"], row["error"], row["cost"]) == ("fault", "cut_stream", None)


def test_a_client_that_leaves_ends_the_upstream_call(upstream: Upstream, gate: Gate) -> None:
    begun, ended = threading.Event(), threading.Event()

    def endless(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("transfer-encoding", "chunked")
        handler.end_headers()
        try:
            while True:
                handler.wfile.write(b"4\r\nmore\r\n")
                begun.set()
        except OSError:
            ended.set()
            handler.close_connection = True

    upstream.answer = endless
    connection = http.client.HTTPConnection(urlsplit(gate.handle.base_url).netloc, timeout=10)
    connection.request("POST", "/v1/audio/speech", b"{}", {"content-type": "application/json"})
    connection.getresponse().read(4)
    assert begun.wait(10)
    connection.close()
    assert ended.wait(10)


def test_a_key_is_needed_and_its_scope_holds(upstream: Upstream, gate: Gate) -> None:
    import asyncio

    from cheapfirst.access import Access

    async def make() -> dict[str, str]:
        access = Access(gate.handle.gateway.router.policy, gate.handle.gateway.admission.access.address)
        await access.open()
        scopes: dict[str, dict[str, Any]] = {
            "all": {"tenant": "acme"},
            "model": {"models": ["embed/known"]},
            "other": {"models": ["sim/small"]},
            "task": {"tasks": ["write"]},
        }
        made = {name: (await access.create_key(name, **scope))[1] for name, scope in scopes.items()}
        await access.close()
        return made

    secrets = asyncio.run(make())
    body = b'{"model": "embed/known", "input": "x"}'
    assert call(gate, "POST", "/v1/embeddings", body)[0] == 401
    statuses = {
        name: call(gate, "POST", "/v1/embeddings", body, authorization=f"Bearer {secret}")[0]
        for name, secret in secrets.items()
    }
    assert statuses == {"all": 200, "model": 200, "other": 403, "task": 403}
    assert all(asked.headers["authorization"] == f"Bearer {KEY}" for asked in upstream.asked)
    assert [row["tenant"] for row in gate.rows()] == ["acme", None]


def test_a_budget_binds_what_passes_through(upstream: Upstream, tmp_path: Path) -> None:
    body = b'{"model": "embed/known", "user": "acme", "input": "x"}'.ljust(2000)  # 1,001 tokens at most: 0.0005005 USD
    spent = {"prompt_tokens": 900, "total_tokens": 900}
    upstream.answer = lambda handler: embeddings(handler, usage=spent)
    budget = '\n[[budgets]]\ntenant = "acme"\nper = "total"\nlimit = 0.001\n'
    with serving(upstream, tmp_path, budget) as gate:
        statuses = [call(gate, "POST", "/v1/embeddings", body)[0] for _ in range(3)]
        unknown = call(gate, "POST", "/v1/embeddings", b'{"model": "nobody/knows", "user": "acme"}')[0]
    assert statuses == [200, 200, 402]
    assert unknown == 402
    assert len(upstream.asked) == 2
