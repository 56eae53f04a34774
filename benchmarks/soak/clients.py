"""The clients of a soak: good ones, slow ones, broken ones, and those that leave at any moment."""

from __future__ import annotations

import asyncio
import json
import random
from collections import Counter
from contextlib import suppress
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct, field

PATIENCE = 60.0
"""Seconds after which an answer that has not come is a hang: four times the policy's deadline."""

WAYS = {
    "whole": 0.86,  # ask, read all, keep the connection
    "slow reader": 0.02,
    "slow sender": 0.02,
    "leaves before the answer": 0.025,
    "leaves in the answer": 0.035,
    "closes in the answer": 0.01,  # orderly, not by a reset
    "half a head": 0.01,
    "half a body": 0.01,
    "not JSON": 0.005,
    "not HTTP": 0.005,
}
"""What a client does, and how often."""

STREAMED = 1 / 3
TASKS = ("extract", "draft", "chat", "write")
ORDERLY = {200, 400, 401, 402, 403, 404, 408, 412, 413, 422, 429, 502, 503, 504}
"""What may be answered when the upstream fails in every way there is. 500 is none of them."""

SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "order",
        "schema": {
            "type": "object",
            "properties": {"order": {"type": "string"}, "urgent": {"type": "boolean"}},
            "required": ["order", "urgent"],
            "additionalProperties": False,
        },
    },
}


class Heard(Struct):
    """What all clients heard."""

    ids: list[str] = field(default_factory=list)  # request ids, of every answer whose head came
    costs: dict[str, str] = field(default_factory=dict)  # request id -> the cost its header told
    statuses: Counter[int] = field(default_factory=Counter)
    ways: Counter[str] = field(default_factory=Counter)
    streams: Counter[str] = field(default_factory=Counter)  # how streams ended that were read to their end
    wrong: list[str] = field(default_factory=list)  # what must not happen
    asked: int = 0
    streamed: int = 0

    def complain(self, what: str) -> None:
        if len(self.wrong) < 1000:
            self.wrong.append(what)


class Client:
    """One client, with one connection at a time."""

    def __init__(self, url: str, heard: Heard, rng: random.Random) -> None:
        parts = urlsplit(url)
        self._host, self._port = parts.hostname or "", parts.port
        self._heard = heard
        self._rng = rng
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, number: int) -> None:
        """Make request `number` in some way."""
        rng, heard = self._rng, self._heard
        way = rng.choices(list(WAYS), list(WAYS.values()))[0]
        streamed = rng.random() < STREAMED
        heard.asked += 1
        heard.streamed += streamed
        heard.ways[way] += 1
        try:
            async with asyncio.timeout(PATIENCE):
                await self._do(way, number, streamed)
        except TimeoutError:
            heard.complain(f"request {number} ({way}, {'streamed' if streamed else 'whole'}) hangs")
            self.hang_up()
        except (ConnectionError, asyncio.IncompleteReadError) as error:
            heard.complain(f"request {number} ({way}): the connection broke ({error!r})")
            self.hang_up()

    def hang_up(self) -> None:
        """Reset the connection."""
        if self._writer is not None:
            self._writer.transport.abort()
        self._reader = self._writer = None

    async def _do(self, way: str, number: int, streamed: bool) -> None:
        rng = self._rng
        if self._writer is None or self._writer.is_closing():
            self._reader, self._writer = await asyncio.open_connection(self._host, self._port)
        reader = self._reader
        assert reader is not None
        data = self._request(number, streamed)
        head = data.index(b"\r\n\r\n") + 4
        if way == "half a head":
            data = data[: rng.randrange(head)]
        elif way == "half a body":
            data = data[: rng.randrange(head, len(data))]
        elif way == "not JSON":
            data = data[:-2] + b"}}"
        elif way == "not HTTP":
            data = bytes(rng.randrange(256) for _ in range(50)) + b"\r\n\r\n"
        if way == "slow sender":
            for at in range(0, len(data), 100):
                self._writer.write(data[at : at + 100])
                await self._writer.drain()
                await asyncio.sleep(rng.random() * 0.02)
        else:
            self._writer.write(data)
            await self._writer.drain()
        if way.startswith("half"):
            await asyncio.sleep(rng.random() * 0.02)
            self.hang_up()
        elif way == "not HTTP":
            with suppress(ConnectionError):
                await reader.read()
            self.hang_up()
        elif way == "leaves before the answer":
            await asyncio.sleep(rng.random() ** 2 * 0.05)
            self.hang_up()
        else:
            await self._read(reader, way, number)

    async def _read(self, reader: asyncio.StreamReader, way: str, number: int) -> None:
        heard, rng = self._heard, self._rng
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        status = int(head[0].split()[1])
        headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in head[1:])}
        heard.statuses[status] += 1
        if status not in ORDERLY:
            heard.complain(f"request {number} ({way}): status {status}")
        id = headers.get("x-cheapfirst-request-id")
        if id is not None:
            heard.ids.append(id)
            if "x-cheapfirst-cost" in headers:
                heard.costs[id] = headers["x-cheapfirst-cost"]
        elif status == 200:
            heard.complain(f"request {number} ({way}): an answer without a request id")
        if way in ("leaves in the answer", "closes in the answer"):
            await asyncio.sleep(rng.random() ** 2 * 0.05)
            assert self._writer is not None
            if way.startswith("leaves"):
                self.hang_up()
            else:
                self._writer.close()
                self._reader = self._writer = None
            return
        pause = 0.01 if way == "slow reader" else 0.0
        if headers.get("transfer-encoding") != "chunked":
            body = await reader.readexactly(int(headers["content-length"]))
            self._judge(number, status, body)
        else:
            pieces = []
            while size := int(await reader.readuntil(b"\r\n"), 16):
                pieces.append((await reader.readexactly(size + 2))[:-2])
                if pause:
                    await asyncio.sleep(pause)
            await reader.readexactly(2)
            self._judge_stream(number, b"".join(pieces))
        if headers.get("connection") == "close":
            self.hang_up()

    def _judge(self, number: int, status: int, body: bytes) -> None:
        try:
            told = json.loads(body)
        except ValueError:
            told = {}
        wanted = "choices" if status == 200 else "error"
        if not told.get(wanted):
            self._heard.complain(f"request {number}: status {status} without {wanted}: {body[:200]!r}")

    def _judge_stream(self, number: int, body: bytes) -> None:
        lines = [line.removeprefix(b"data: ") for line in body.split(b"\n") if line.startswith(b"data: ")]
        chunks: list[Any] = [json.loads(line) for line in lines if line != b"[DONE]"]
        done, failed = lines[-1:] == [b"[DONE]"], bool(chunks) and "error" in chunks[-1]
        finished = any(choice.get("finish_reason") for chunk in chunks for choice in chunk.get("choices") or ())
        if done == failed or lines.count(b"[DONE]") > 1 or not finished:
            self._heard.complain(f"request {number}: a stream ended badly: {body[-300:]!r}")
        self._heard.streams["done" if done else "error"] += 1

    def _request(self, number: int, streamed: bool) -> bytes:
        rng = self._rng
        task = rng.choice(TASKS)
        text = f"Order {number}: " + "the parcel is late. " * rng.randrange(1, 30)
        body: dict[str, Any] = {
            "model": task,
            "messages": [{"role": "user", "content": text}],
            "metadata": {"session": f"s{number}", "tenant": f"t{number % 7}"},
        }
        if streamed:
            body |= {"stream": True, "stream_options": {"include_usage": rng.random() < 0.5}}
        if task == "extract":
            body["response_format"] = SCHEMA
        data = json.dumps(body).encode()
        return b"POST /v1/chat/completions HTTP/1.1\r\nhost: soak\r\ncontent-length: %d\r\n\r\n" % len(data) + data
