"""Keeps connections to one upstream and lends them out, one call at a time."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import deque
from urllib.parse import urlsplit

from cheapfirst.upstream.clock import Clock
from cheapfirst.upstream.http1 import Connection
from cheapfirst.upstream.trouble import Late

KEPT = 15.0
"""Seconds that a connection without work is kept: servers and what lies between forget them silently."""


STAGGER = 0.25
"""Seconds after which the next address of the host is tried beside the first (RFC 8305)."""


class Pool:
    """The connections of one upstream in one event loop.

    Args:
        base_url: http or https; only its host and port count here.

    Raises ValueError for an address that is none.
    """

    def __init__(self, base_url: str, loop: asyncio.AbstractEventLoop) -> None:
        parts = urlsplit(base_url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("not an http or https address with a host")
        self.loop = loop
        self._host = parts.hostname
        self._port = parts.port or (443 if parts.scheme == "https" else 80)
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._idle: deque[Connection] = deque()
        self._lent: set[Connection] = set()
        self._sweep: asyncio.TimerHandle | None = None
        self._closed = False

    async def take(self, clock: Clock, connect: float) -> Connection:
        """A connection that is open: the one that was used last, else a new one within `connect` seconds.

        Raises OSError (TimeoutError when `connect` ran out, ssl.SSLError) and Late.
        """
        while self._idle:
            kept = self._idle.pop()
            if kept.open and self.loop.time() - kept.idle_since < KEPT:
                self._lent.add(kept)
                return kept
            kept.close()
        left, limit = clock.next()
        if left <= 0:
            raise Late(limit)
        try:
            async with asyncio.timeout(min(connect, left)):
                made = await self._connect()
        except TimeoutError:
            if left <= connect:
                raise Late(limit) from None
            raise
        if self._closed:
            made.close()
        self._lent.add(made)
        return made

    async def _connect(self) -> Connection:
        from aiohappyeyeballs import start_connection

        found = await self.loop.getaddrinfo(self._host, self._port, type=socket.SOCK_STREAM)
        plain = await start_connection(found, happy_eyeballs_delay=STAGGER, interleave=1, loop=self.loop)
        try:
            _, made = await self.loop.create_connection(
                lambda: Connection(self.loop, self.give),
                sock=plain,
                ssl=self._tls,
                server_hostname=self._host if self._tls is not None else None,
            )
        except BaseException:
            plain.close()
            raise
        made.plain = plain
        return made

    def give(self, connection: Connection) -> None:
        """Take a connection back, to lend it again if it can still be used."""
        self._lent.discard(connection)
        if connection.release():
            self._idle.append(connection)
            if self._sweep is None:
                self._sweep = self.loop.call_later(KEPT, self._clean)

    def close(self) -> None:
        """Close every connection, also those that are lent out and those that are being made."""
        self._closed = True
        if self._sweep is not None:
            self._sweep.cancel()
            self._sweep = None
        for connection in (*self._idle, *self._lent):
            connection.close()
        self._idle.clear()

    def forget(self) -> None:
        """Free the sockets of a loop that was closed before this pool was."""
        for connection in (*self._idle, *self._lent):
            if connection.plain is not None:
                connection.plain.close()

    def _clean(self) -> None:
        """Close what was not used for a while, so that a burst leaves no connections behind."""
        self._sweep = None
        while self._idle and (not self._idle[0].open or self.loop.time() - self._idle[0].idle_since >= KEPT):
            self._idle.popleft().close()
        if self._idle:
            self._sweep = self.loop.call_later(KEPT, self._clean)
