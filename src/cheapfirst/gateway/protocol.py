"""uvicorn's HTTP protocol with bounds of our own: how long and how slow a request's head may be.

uvicorn bounds neither with httptools. Errors on this level have the chat-completions shape like all others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from cheapfirst.gateway.asgi import WHOLE
from cheapfirst.gateway.faces import chat
from cheapfirst.gateway.leave import LEAVERS
from cheapfirst.gateway.problem import Problem

LONGEST_HEAD = 64 * 1024
"""Bytes of request line and headers."""

HEAD_WAIT = 15.0
"""Seconds that a request's head may take, from its first byte (from the connection's beginning for the first)."""


def _whole(cycle: RequestResponseCycle, status: int, body: bytes, headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Write a whole answer at once: what the cycle does with two messages, in a third of the time."""
    if cycle.response_started or cycle.flow.write_paused or cycle.scope["method"] == "HEAD":
        return False
    if cycle.disconnected:
        return True
    lines = [b"%b: %b\r\n" % header for header in (*cycle.default_headers, *headers)]
    head = b"".join(lines)
    if head.count(b"\n") != len(lines) or head.count(b"\r") != len(lines):
        return False  # a value breaks its line, which uvicorn refuses
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    close = b"" if cycle.keep_alive else b"connection: close\r\n"
    cycle.transport.write(b"%b%b%bcontent-length: %d\r\n\r\n%b" % (STATUS_LINE[status], head, close, len(body), body))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True


class Protocol(HttpToolsProtocol):
    """One connection."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._leavers: set[Callable[[], None]] = set()
        self._head = 0  # bytes received since the last head was complete
        self._late: asyncio.TimerHandle | None = self.loop.call_later(HEAD_WAIT, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._in_time()
        super().connection_lost(exc)
        for leave in tuple(self._leavers):
            leave()

    def data_received(self, data: bytes) -> None:
        self._head += len(data)
        super().data_received(data)
        if self._head > LONGEST_HEAD:
            self._too_big()
        elif self._head and self._late is None and not self._busy():
            self._late = self.loop.call_later(HEAD_WAIT, self._too_slow)

    def on_headers_complete(self) -> None:
        self._in_time()
        if self._head > LONGEST_HEAD and self._length() > LONGEST_HEAD:  # all of it came at once
            self._too_big()
            raise ValueError("the head is too big")  # ends the parsing
        self._head = -(1 << 62)  # what follows is the body, which has a bound of its own
        self.scope[LEAVERS] = self._leavers  # type: ignore[literal-required]
        scope: Any = self.scope
        super().on_headers_complete()
        if self.cycle is not None:
            scope[WHOLE] = partial(_whole, self.cycle)

    def on_message_complete(self) -> None:
        self._head = 0
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400, "invalid_http", "This is not an HTTP/1.1 request that the gateway understands.")

    def _length(self) -> int:
        return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

    def _busy(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _answerable(self) -> bool:
        """Whether an error can be told: nobody else's answer is under way, nor one to the request that is wrong."""
        cycle = self.cycle
        return not self._busy() or (cycle.more_body and not cycle.response_started and not self.pipeline)

    def _too_big(self) -> None:
        self._refuse(431, "head_too_big", f"The request's head is larger than {LONGEST_HEAD:,} bytes; send less.")

    def _in_time(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None

    def _too_slow(self) -> None:
        self._late = None
        self._refuse(408, "head_too_slow", f"The request's head did not arrive within {HEAD_WAIT:g} seconds.")

    def _refuse(self, status: int, code: str, message: str) -> None:
        transport: Any = self.transport
        if transport.is_closing():
            return
        if self._answerable():
            content = msgspec.json.encode(chat.error(Problem(status=status, code=code, message=message)))
            transport.write(
                STATUS_LINE[status]
                + b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(content)
                + content
            )
        transport.close()
