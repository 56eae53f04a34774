"""The floor, a bare uvicorn + aiohttp forwarder: `python -m benchmarks.gateway.forwarder UPSTREAM PORT`.

It parses nothing: it sends the body's bytes on as they are and hands each piece of the answer through as it comes.
"""

from __future__ import annotations

import sys
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias

import aiohttp
import uvicorn

Receive: TypeAlias = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send: TypeAlias = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class Forwarder:
    def __init__(self, upstream: str) -> None:
        self.upstream = upstream
        self.session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await self.live(receive, send)
        body = b""
        more = True
        while more:
            message = await receive()
            body += message.get("body", b"")
            more = message.get("more_body", False)
        assert self.session is not None
        kind = {"content-type": "application/json"}
        async with self.session.post(self.upstream + scope["path"], data=body, headers=kind) as answer:
            sent = [(b"content-type", answer.headers["content-type"].encode())]
            if answer.content_length is not None:
                sent.append((b"content-length", str(answer.content_length).encode()))
                await send({"type": "http.response.start", "status": answer.status, "headers": sent})
                await send({"type": "http.response.body", "body": await answer.read()})
                return None
            await send({"type": "http.response.start", "status": answer.status, "headers": sent})
            async for piece in answer.content.iter_any():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b""})
            return None

    async def live(self, receive: Receive, send: Send) -> None:
        await receive()
        self.session = aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await self.session.close()
        await send({"type": "lifespan.shutdown.complete"})


if __name__ == "__main__":
    uvicorn.run(
        Forwarder(sys.argv[1]),
        port=int(sys.argv[2]),
        loop="uvloop",
        http="httptools",
        log_level="warning",
        access_log=False,
        timeout_keep_alive=75,
    )
