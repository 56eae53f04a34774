"""A real gateway between a scripted upstream and a client that speaks HTTP byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cheapfirst.gateway.server import Handle, serve_in_thread
from cheapfirst.messages import Wire
from scripted import Reply, Server

SECONDS = 10.0
"""Nothing here takes so long unless it hangs."""

POLICY = """
[tiers]
cheap = ["sim/small"]
premium = "sim/large"

[routes]
write = { tier = "cheap", shape = "text", stream = "hold" }
extract = { tier = "cheap", shape = "json" }
chat = { tier = "cheap", shape = "stream", stream = "pass" }

[limits]
retries = 0
backoff = 0.001
deadline = 8.0

[models."sim/small"]
input = 0.1
output = 0.2
structured = "json_schema"
tools = true

[models."sim/large"]
input = 5
output = 25
structured = "json_schema"
tools = true
"""


class Said:
    """One answer as bytes, and how it ended."""

    def __init__(self, status: int, headers: dict[str, str]) -> None:
        self.status = status
        self.headers = headers
        self.data = b""
        self.whole = False  # it ended as HTTP wants it

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])

    @property
    def events(self) -> list[str]:
        """The data of a stream's events; [DONE] is one of them."""
        lines = self.data.decode().split("\n")
        return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]

    @property
    def done(self) -> bool:
        return self.events[-1:] == ["[DONE]"]

    @property
    def chunks(self) -> list[Wire]:
        return [json.loads(event) for event in self.events if event != "[DONE]"]

    @property
    def text(self) -> str:
        deltas = [choice.get("delta") or {} for chunk in self.chunks for choice in chunk.get("choices") or []]
        return "".join(delta.get("content") or "" for delta in deltas)

    @property
    def trail(self) -> Any:
        """The `cheapfirst` object, wherever it stands."""
        if self.headers.get("content-type", "").startswith("application/json"):
            return self.json["cheapfirst"]
        return next(chunk["cheapfirst"] for chunk in reversed(self.chunks) if "cheapfirst" in chunk)


class Talk:
    """One connection to the gateway."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def head(self) -> Said:
        """Read an answer's status and headers."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        first, *lines = head.decode("latin-1").strip().split("\r\n")
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
        return Said(int(first.split()[1]), headers)

    async def piece(self, said: Said) -> bytes:
        """Read the next piece of a chunked body into `said`; empty at its end."""
        size = int(await self.reader.readuntil(b"\r\n"), 16)
        data = (await self.reader.readexactly(size + 2))[:-2]
        said.data += data
        said.whole = not size
        return data

    async def body(self, said: Said) -> Said:
        """Read the body to its end, or to where it breaks off."""
        with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
            if said.headers.get("transfer-encoding") == "chunked":
                while await self.piece(said):
                    pass
            else:
                said.data = await self.reader.readexactly(int(said.headers.get("content-length", 0)))
                said.whole = True
        return said

    async def answer(self) -> Said:
        """Read one answer."""
        async with asyncio.timeout(SECONDS):
            return await self.body(await self.head())

    async def closed(self) -> bool:
        """Whether the gateway closes the connection without another byte."""
        async with asyncio.timeout(SECONDS):
            with contextlib.suppress(ConnectionError):
                return await self.reader.read() == b""
            return True

    def leave(self) -> None:
        """Hang up, with a reset."""
        self.writer.transport.abort()


class World:
    """The upstream and the gateway before it."""

    def __init__(self, server: Server, handle: Handle, ledger: Path) -> None:
        self.server = server
        self.handle = handle
        self.ledger = ledger

    @asynccontextmanager
    async def talk(self) -> AsyncIterator[Talk]:
        url = urlsplit(self.handle.base_url)
        reader, writer = await asyncio.open_connection(url.hostname, url.port, limit=1 << 24)
        try:
            yield Talk(reader, writer)
        finally:
            writer.transport.abort()

    async def ask(
        self,
        body: Any = None,
        *,
        path: str = "/v1/chat/completions",
        method: str = "POST",
        **headers: str,
    ) -> Said:
        """One request over a connection of its own."""
        async with self.talk() as talk:
            await talk.send(request(body, path=path, method=method, **headers))
            return await talk.answer()

    def rows(self, table: str = "requests") -> list[dict[str, Any]]:
        """What the ledger has."""
        assert self.handle.gateway.router.ledger.flush()
        with contextlib.closing(sqlite3.connect(self.ledger)) as database:
            database.row_factory = sqlite3.Row
            return [dict(row) for row in database.execute(f"SELECT * FROM {table}")]

    async def row(self) -> dict[str, Any]:
        """The ledger's only request, once it is there."""
        await until(self.rows)
        (row,) = self.rows()
        return row

    async def quiet(self) -> None:
        """Wait until the gateway is at rest: nothing under way, neither before it nor behind it."""
        gateway = self.handle.gateway
        await until(lambda: not (gateway.gate.running or gateway.gate.waiting or gateway.router.upstream.in_flight()))


@asynccontextmanager
async def world(
    reply: Reply, files: Path, policy: str = POLICY, *, settings: str = "", **options: Any
) -> AsyncIterator[World]:
    """A gateway before an upstream that answers by `reply`. At the end nothing may be under way any more.

    `settings` is put behind the policy's text.
    """
    server = Server(reply)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/api/v1"
    path = files / "cheapfirst.toml"
    path.write_text(policy + settings)
    ledger = files / "ledger.db"
    running = serve_in_thread(path, base_url=server.url, ledger=ledger, **options)
    handle = await asyncio.to_thread(running.__enter__)
    try:
        made = World(server, handle, ledger)
        yield made
        await made.quiet()
    finally:
        async with asyncio.timeout(SECONDS):
            await asyncio.to_thread(running.__exit__, None, None, None)
        listening.close()
    await asyncio.wait_for(server.empty.wait(), SECONDS)


async def until(what: Callable[[], object]) -> None:
    """Wait for something that other threads do."""
    async with asyncio.timeout(SECONDS):
        while not what():  # noqa: ASYNC110 - of another thread
            await asyncio.sleep(0.003)


def asking(task: str = "write", text: str = "Where is my parcel?", **more: Any) -> Wire:
    """A small request."""
    return {"model": task, "messages": [{"role": "user", "content": text}], **more}


def request(body: Any, *, path: str = "/v1/chat/completions", method: str = "POST", **headers: str) -> bytes:
    """A request's bytes. `body` is JSON, bytes as they are, or None. Headers: underscores stand for hyphens."""
    data = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
    told = {"host": "gateway", "content-type": "application/json", "content-length": str(len(data))}
    told |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = "".join(f"{name}: {value}\r\n" for name, value in told.items())
    return f"{method} {path} HTTP/1.1\r\n{lines}\r\n".encode("latin-1") + data
