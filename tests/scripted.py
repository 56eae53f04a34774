"""A loopback HTTP server whose every byte a test decides: what it sends, when it stops, how it hangs up."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from cheapfirst.messages import Outcome, Wire
from cheapfirst.policy import table
from cheapfirst.policy.table import Timeouts
from cheapfirst.upstream import Call, Upstream

QUICK = Timeouts(connect=2.0, first_token=5.0, silence=5.0, total=10.0)
"""Seconds: long enough that nothing runs out by chance."""


class Exchange:
    """One request and the means to answer it."""

    def __init__(self, server: Server, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.server = server
        self.headers: dict[str, str] = {}
        self.line = ""
        self.body = b""
        self._reader = reader
        self._writer = writer

    async def receive(self) -> bool:
        """Read the next request of the connection; False when there is none."""
        try:
            head = await self._reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return False
        self.line, *lines = head.decode().strip().split("\r\n")
        self.headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        self.body = await self._reader.readexactly(int(self.headers.get("content-length", 0)))
        return True

    async def raw(self, data: bytes) -> None:
        self._writer.write(data)
        await self._writer.drain()

    async def whole(self, body: Any, status: int = 200, **headers: str) -> None:
        """Answer with JSON (or with bytes as they are)."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        if "content_type" not in headers:
            more += "content-type: application/json\r\n"
        await self.raw(f"HTTP/1.1 {status} X\r\n{more}content-length: {len(data)}\r\n\r\n".encode() + data)

    async def begin(self) -> None:
        """Begin a stream of events."""
        await self.raw(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n")

    async def piece(self, data: bytes) -> None:
        await self.raw(b"%x\r\n%b\r\n" % (len(data), data))

    async def events(self, *chunks: Wire | str) -> None:
        for chunk in chunks:
            text = chunk if isinstance(chunk, str) else json.dumps(chunk, ensure_ascii=False)
            await self.piece(f"data: {text}\n\n".encode())

    async def end(self) -> None:
        """End the stream as HTTP wants it."""
        await self.raw(b"0\r\n\r\n")

    async def streamed(self, *chunks: Wire | str) -> None:
        """A whole stream of these chunks."""
        await self.begin()
        await self.events(*chunks)
        await self.end()

    async def hang(self) -> None:
        """Say nothing more until the client leaves."""
        try:
            await self._reader.read()
        except ConnectionError:
            pass
        self.server.left.set()

    async def cut(self) -> None:
        """Break the connection."""
        self._writer.close()


Reply = Callable[[Exchange], Awaitable[None]]


class Server:
    """Answers every request by `reply`, and remembers what it saw."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        self.url = ""
        self.connections = 0
        self.open = 0
        self.seen: list[Exchange] = []
        self.left = asyncio.Event()  # a client went away while we hung or wrote
        self.empty = asyncio.Event()  # no connection is open
        self.empty.set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        self.empty.clear()
        try:
            while await (exchange := Exchange(self, reader, writer)).receive():
                self.seen.append(exchange)
                await self.reply(exchange)
        except ConnectionError:
            self.left.set()
        finally:
            writer.close()
            self.open -= 1
            if not self.open:
                self.empty.set()


@asynccontextmanager
async def serving(reply: Reply, *, port: int = 0, **options: Any) -> AsyncIterator[tuple[Server, Upstream]]:
    """A scripted server and a client of it. At the end no connection may be left open."""
    server = Server(reply)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", port)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/api/v1"
    upstream = Upstream(table.Upstream(base_url=server.url), api_key="sk-or-v1-secret0123456789", **options)
    try:
        yield server, upstream
    finally:
        await upstream.close()
        await asyncio.wait_for(server.empty.wait(), 10)
        listening.close()


def call(*, stream: bool = False, timeouts: Timeouts = QUICK, budget: float = 20.0, **body: Any) -> Call:
    """A small call."""
    whole: Wire = {"model": "a/b", "messages": [{"role": "user", "content": "Where is my parcel, please?"}], **body}
    if stream:
        whole["stream"] = True
    return Call(body=whole, timeouts=timeouts, budget=budget)


async def collect(upstream: Upstream, made: Call) -> tuple[list[Wire], Outcome]:
    """All chunks of a stream, and its outcome, which must be the last thing and the only one of its kind."""
    items = [item async for item in upstream.stream(made)]
    batches = [item for item in items if not isinstance(item, Outcome)]
    last = items[-1]
    assert isinstance(last, Outcome)
    assert len(batches) == len(items) - 1
    return [chunk for batch in batches for chunk in batch], last


def delta(content: str | None = None, finish: str | None = None, **more: Any) -> Wire:
    """A chunk as OpenRouter sends it."""
    fields: Wire = {"role": "assistant", "content": content or "", **more}
    choice = {"index": 0, "delta": fields, "finish_reason": finish, "native_finish_reason": finish}
    return {"id": "gen-1", "object": "chat.completion.chunk", "model": "a/b-1", "provider": "P", "choices": [choice]}


USAGE: Wire = {
    "prompt_tokens": 9,
    "completion_tokens": 10,
    "total_tokens": 19,
    "cost": 0.00000735,
    "is_byok": False,
    "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
    "completion_tokens_details": {"reasoning_tokens": 3},
}


def usage_chunk() -> Wire:
    return {"id": "gen-1", "object": "chat.completion.chunk", "model": "a/b-1", "choices": [], "usage": USAGE}


def completion(content: str | None = "hi", finish: str | None = "stop", **message: Any) -> Wire:
    """A whole answer."""
    choice = {
        "index": 0,
        "finish_reason": finish,
        "native_finish_reason": finish,
        "message": {"role": "assistant", "content": content, "refusal": None, **message},
    }
    return {"id": "gen-1", "object": "chat.completion", "model": "a/b-1", "provider": "P", "choices": [choice],
            "usage": USAGE}  # fmt: skip
