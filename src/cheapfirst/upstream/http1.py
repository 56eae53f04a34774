"""One HTTP/1.1 connection to the upstream: a request out, a response in as it comes, and again.

The parser is httptools (llhttp). What this module adds is what a caller of models needs: the time limits of the call,
bounds on memory, and an end that is told apart from a break.
"""

from __future__ import annotations

import asyncio
import socket
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import httptools

from cheapfirst.upstream.clock import Clock
from cheapfirst.upstream.trouble import Broken, Garbled, Late

LONGEST_HEAD = 64 * 1024
"""Bytes of a response's head, and of anything after it that is no body: trailers, what chunks are announced with."""

MOST_WAITING = 256 * 1024
"""Bytes of a response that nobody has read yet; beyond them the upstream is made to wait."""

UNPACKED_AT_ONCE = 1 << 20
"""Bytes that packed data may grow to in one piece."""


class Headers(dict[str, str]):
    """A response's headers, by names in lower case; `get` takes any case."""

    def get(self, name: str, default: Any = None) -> Any:
        """The header of that name."""
        return super().get(name.lower(), default)


class Connection(asyncio.Protocol):
    """A connection with at most one request under way. Made by the pool."""

    def __init__(self, loop: asyncio.AbstractEventLoop, give: Callable[[Connection], None]) -> None:
        self._loop = loop
        self._give = give
        self._parser = httptools.HttpResponseParser(self)
        self._transport: Any = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._clock: Clock | None = None
        self.plain: socket.socket | None = None  # what the connection runs over, once it is made
        self.open = False
        self.idle_since = 0.0  # the loop's seconds
        self._reset()

    def _reset(self) -> None:
        self.status = 0
        self.headers = Headers()
        self._pieces: list[bytes] = []
        self._size = 0  # bytes in the pieces
        self._head = 0  # bytes since the response began, or since its last piece of body
        self._begun = False  # the head is complete
        self._done = False
        self._framed = True  # the response itself says where it ends
        self._reusable = False
        self._paused = False
        self._error: Exception | None = None
        self._left = False  # the upstream has closed its side
        self._unpacker: _Unpacker | None = None

    def request(self, head: bytes, body: bytes, clock: Clock) -> None:
        """Send a request. Raises Broken."""
        self._reset()
        if not self.open:  # it broke before anything was asked
            raise Broken
        self._clock = clock
        self._transport.write(head + body if len(body) < 65536 else head)
        if len(body) >= 65536:
            self._transport.write(body)

    async def answered(self) -> None:
        """Wait for the response's head. Raises Broken, Garbled, Late."""
        while not self._begun:
            await self._wait()
        packing = self.headers.get("content-encoding", "").strip().lower()
        if packing in ("gzip", "x-gzip", "deflate") and self._unpacker is None:
            self._unpacker = _Unpacker(packing)

    async def read(self) -> bytes:
        """The next piece of the body as it comes; empty at its end. Raises Broken, Garbled, Late."""
        while True:
            if self._unpacker is not None and self._unpacker.more:
                data = self._unpacker.unpack(b"")
                if data:
                    return data
            elif self._pieces:
                data = self._pieces[0] if len(self._pieces) == 1 else b"".join(self._pieces)
                self._pieces.clear()
                self._size = 0
                if self._paused:
                    self._paused = False
                    self._transport.resume_reading()
                if self._unpacker is not None:
                    data = self._unpacker.unpack(data)
                if data:
                    return data
            elif self._done:
                if self._unpacker is not None and not self._unpacker.whole:
                    raise Broken
                return b""
            else:
                await self._wait()

    def end(self) -> None:
        """Let go of the response: the connection goes back to its pool, or is closed when the response is not over."""
        self._give(self)

    def release(self) -> bool:
        """Forget the response. Returns whether the connection can take another request; else it is closed."""
        self._clock = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # The upstream may have answered before it had the whole request: what is left of it would go before the next.
        if self.open and self._done and self._reusable and not self._transport.get_write_buffer_size():
            self.idle_since = self._loop.time()
            return True
        self.close()
        return False

    def close(self) -> None:
        """Close the connection at once."""
        self.open = False
        if self._transport is not None:
            self._transport.abort()

    # What the event loop calls.

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self.open = True

    def eof_received(self) -> None:
        self.open = False
        self._left = True

    def data_received(self, data: bytes) -> None:
        if self._clock is None:  # nobody has asked for anything
            self.close()
            return
        size = self._size
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade, UnicodeDecodeError):
            self._fail(Garbled())
            return
        self._head = self._head + len(data) if self._size == size else 0
        if self._head > LONGEST_HEAD and not self._done:
            self._fail(Garbled())
        elif self._size > MOST_WAITING and not self._paused and not self._done:
            self._paused = True
            self._transport.pause_reading()
        self._wake()

    def connection_lost(self, exc: Exception | None) -> None:
        self.open = False
        if self._begun and not self._framed and self._left and exc is None:
            self._done = True
        elif not self._done and self._error is None:
            self._error = Broken()
        self._wake()

    # What the parser calls.

    def on_status(self, status: bytes) -> None:
        """The reason phrase says nothing that the status does not."""

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._begun:  # a trailer, which must not pass for a header, or another response
            return
        key, text = name.decode("latin-1").lower(), value.decode("latin-1")
        self.headers[key] = f"{self.headers[key]}, {text}" if key in self.headers else text

    def on_headers_complete(self) -> None:
        if self._done:
            return
        status = self._parser.get_status_code()
        if 100 <= status < 200:
            self.headers = Headers()
            return
        self.status = status
        self._begun = True
        self._reusable = self._parser.should_keep_alive()
        coding = self.headers.get("transfer-encoding", "")
        bare = status in (204, 304)
        self._framed = bare or "content-length" in self.headers or "chunked" in coding.lower()

    def on_body(self, data: bytes) -> None:
        if not self._done:
            self._pieces.append(data)
            self._size += len(data)

    def on_message_complete(self) -> None:
        if self._begun:
            self._done = True

    def on_message_begin(self) -> None:
        if self._done:  # more than was asked for
            self._reusable = False

    def _fail(self, error: Exception) -> None:
        self._error = error
        self.close()
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def _wait(self) -> None:
        """Wait until something happens on the connection, or the call's next time limit runs out."""
        if self._error is not None:
            raise self._error
        assert self._clock is not None, "the response was let go of"
        seconds, limit = self._clock.next()
        if seconds <= 0:
            raise Late(limit)
        due = self._loop.time() + seconds
        if self._timer is None or self._timer.when() > due:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = self._loop.call_at(due, self._ring)
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _ring(self) -> None:
        """The timer, which is set once for many waits, went off: say so, or set it anew."""
        self._timer = None
        if self._clock is None or self._waiter is None or self._waiter.done():
            return
        seconds, limit = self._clock.next()
        if seconds <= 0:
            self._waiter.set_exception(Late(limit))
        else:
            self._timer = self._loop.call_at(self._loop.time() + seconds, self._ring)


class _Unpacker:
    """Unpacks gzip and deflate as they come, a bounded piece at a time."""

    def __init__(self, packing: str) -> None:
        self._wbits = 15 if packing == "deflate" else 31
        self._object = zlib.decompressobj(self._wbits)
        self._first = True
        self._rest = b""  # packed bytes that wait for the next call
        self.more = False  # the next call has something to give without new data

    @property
    def whole(self) -> bool:
        """Whether nothing is missing at the end (nothing at all may have come)."""
        return self._object.eof or (self._first and not self._rest)

    def unpack(self, data: bytes) -> bytes:
        """What the data unpacks to, as far as it fits in one piece. Raises Garbled."""
        data = self._rest + data
        if self._object.eof:
            if self._wbits != 31 or not data.strip(b"\0"):  # gzip may be padded with zeros
                self._rest, self.more = b"", False
                return b""
            self._object = zlib.decompressobj(self._wbits)  # gzip may come in several members
        if self._first and len(data) < 2:  # too little to tell the formats apart
            self._rest = data
            return b""
        try:
            made = self._object.decompress(data, UNPACKED_AT_ONCE)
        except zlib.error:
            if not self._first or self._wbits != 15:
                raise Garbled from None
            self._wbits = -15  # many servers mean the bare format by "deflate"
            self._object = zlib.decompressobj(self._wbits)
            try:
                made = self._object.decompress(data, UNPACKED_AT_ONCE)
            except zlib.error:
                raise Garbled from None
        self._first = False
        self._rest = self._object.unused_data if self._object.eof else self._object.unconsumed_tail
        self.more = bool(self._rest) or len(made) >= UNPACKED_AT_ONCE
        return made


def head(method: str, target: str, host: str, headers: Mapping[str, str]) -> bytes:
    """A request's head without its end. Raises ValueError for what cannot stand in one."""
    if not target.isascii() or any(mark <= " " for mark in target):
        raise ValueError("a path holds a character that must be escaped")
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    for name, value in headers.items():
        if not name or any(mark in name for mark in "\r\n: \0") or any(mark in value for mark in "\r\n\0"):
            raise ValueError("a header holds a line break or a character that no header can hold")
        lines.append(f"{name}: {value}")
    return ("\r\n".join(lines) + "\r\n").encode("latin-1")
