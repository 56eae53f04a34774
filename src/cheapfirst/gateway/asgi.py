"""The few words of ASGI that the gateway uses, and how an answer is sent in them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from typing import Any, TypeAlias

Message: TypeAlias = MutableMapping[str, Any]
Scope: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Headers: TypeAlias = list[tuple[bytes, bytes]]

JSON = (b"content-type", b"application/json")
WHOLE = "cheapfirst.whole"
"""In a scope of our own server: takes status, body and headers of a whole answer, and says whether it was taken."""

EVENTS = (b"content-type", b"text/event-stream; charset=utf-8")


async def respond(scope: Scope, send: Send, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]]) -> None:
    """Send a whole answer: by the server's own way of writing one at once where it has one, else as ASGI has it."""
    whole = scope.get(WHOLE)
    if whole is not None and whole(status, body, headers):
        return
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [*headers, (b"content-length", str(len(body)).encode())],
        }
    )
    await send({"type": "http.response.body", "body": body})
