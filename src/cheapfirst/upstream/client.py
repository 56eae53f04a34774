"""Makes chat-completions calls over HTTP: one session, kept connections, every failure a named fault."""

from __future__ import annotations

import os
import weakref
from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import aclosing
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
from msgspec import structs

from cheapfirst.messages import Fault, Outcome, Wire
from cheapfirst.policy import table
from cheapfirst.upstream import faults, refusals, sse
from cheapfirst.upstream.breaker import LEFT, Breakers, Pass
from cheapfirst.upstream.call import Call
from cheapfirst.upstream.clock import Clock
from cheapfirst.upstream.faults import Failed
from cheapfirst.upstream.incoming import Incoming, decode
from cheapfirst.upstream.slots import Slots
from cheapfirst.upstream.waiting import within

if TYPE_CHECKING:
    import asyncio

    import aiohttp

LARGEST_ANSWER = 64 * 1024 * 1024
"""Bytes. A longer answer is the fault `answer_too_big`."""

_LARGEST_ERROR = 1024 * 1024
_PAGE_BUDGET = 60.0  # seconds for `get`


class Upstream:
    """A chat-completions server. Safe for concurrent use within one event loop.

    Args:
        options: where it is, and how we present ourselves.
        api_key: sent in the Authorization header and nowhere else; absent: no such header.
        largest_answer: bytes.
    """

    def __init__(
        self, options: table.Upstream, *, api_key: str | None = None, largest_answer: int = LARGEST_ANSWER
    ) -> None:
        self._base = options.base_url.rstrip("/")
        self._host = urlsplit(self._base).netloc.rpartition("@")[2]
        self._secrets = (api_key,) if api_key else ()
        self._largest = largest_answer
        self._breakers = Breakers(options.breaker) if options.breaker.enabled else None
        self._slots = Slots(options.concurrency, options.queue)
        self._headers = {"X-OpenRouter-Title": options.title} if options.title else {}
        if options.referer:
            self._headers["HTTP-Referer"] = options.referer
        self._session: aiohttp.ClientSession | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closed = False

    async def send(self, call: Call) -> Outcome:
        """Make one call and return what came back, as an Outcome of kind `fault` when it failed.

        Raises nothing but CancelledError; cancelling closes the call's connection.
        """
        async with aclosing(self.stream(call)) as items:
            async for item in items:
                if isinstance(item, Outcome):
                    return item
        raise AssertionError("a call ended without an outcome")

    async def stream(self, call: Call) -> AsyncGenerator[Wire | Outcome, None]:
        """Make one call; yield the wire's chunks as they come, and last the Outcome assembled from them.

        An upstream that answers as a whole although a stream was asked for yields only the Outcome. Closing
        the generator cancels the call and closes its connection at once.
        """
        model = str(call.body.get("model"))
        breaker = None if self._breakers is None else self._breakers.of(model)
        passed: Pass | None = "call" if breaker is None else breaker.admit(monotonic())
        if breaker is not None and passed is None:
            yield _never_sent("breaker_open", model)
            return
        fault: Fault | None = LEFT
        try:
            if not self._slots.take():
                began = monotonic()
                if not await self._slots.wait(call.budget):
                    yield _never_sent("upstream_busy", self._host)
                    return
                call = structs.replace(call, budget=call.budget - (monotonic() - began))
            answer = Incoming(call)
            failure: Fault | None = None
            try:
                async with aclosing(self._chunks(call, answer)) as chunks:
                    async for chunk in chunks:
                        yield chunk
            except Failed as failed:
                failure = failed.fault
            finally:
                self._slots.give()
            outcome = answer.outcome(failure, self._secrets)
            fault = outcome.fault
        finally:
            if breaker is not None and passed is not None:
                breaker.report(passed, fault, monotonic())
        yield outcome

    async def get(self, path: str) -> Wire | Fault:
        """Read one of the upstream's pages, e.g. `/models`, `/key`, `/generation?id=...`, or say how it failed."""
        call = Call(body={}, budget=_PAGE_BUDGET)
        answer = Incoming(call)
        try:
            response = await self._open("GET", path, None, call, answer.clock)
            try:
                return await self._whole(response, call, answer)
            finally:
                response.close()
        except Failed as failed:
            return failed.fault

    def breakers(self) -> dict[str, str]:
        """Each model that was called, with its breaker's state: closed, open or half-open. Empty: breakers are off."""
        return {} if self._breakers is None else self._breakers.states(monotonic())

    def in_flight(self) -> int:
        """How many calls are under way."""
        return self._slots.taken

    async def close(self) -> None:
        """Close every connection. Calls made afterwards are the fault `closed`."""
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def __repr__(self) -> str:
        return f"Upstream({self._host!r})"

    async def _chunks(self, call: Call, answer: Incoming) -> AsyncGenerator[Wire, None]:
        """Yield the chunks of a streamed answer, or none of a whole one; fill `answer`. Raises Failed."""
        try:
            content = msgspec.json.encode(call.body)
        except (TypeError, ValueError, RecursionError):
            raise Failed(faults.make("unsendable")) from None
        response = await self._open("POST", "/chat/completions", content, call, answer.clock)
        try:
            if response.status >= 300 or not _is_stream(response, call):
                await self._whole(response, call, answer)
                return
            answer.headers = response.headers
            parser = sse.Parser(self._largest)
            received = 0
            ended = False
            while not ended:
                answer.clock.listen()
                try:
                    data = await self._read(response, answer.clock)
                except Failed:
                    if answer.complete:
                        return
                    raise
                received += len(data)
                ended = not data
                try:
                    events = parser.end() if ended else parser.feed(data)
                except sse.Oversize:
                    raise Failed(faults.make("answer_too_big")) from None
                if received > self._largest:
                    raise Failed(faults.make("answer_too_big"))
                for event in events:
                    chunk = answer.take(event, last=ended)
                    if chunk is not None:
                        yield chunk
        finally:
            response.close()

    async def _open(
        self, method: str, path: str, content: bytes | None, call: Call, clock: Clock
    ) -> aiohttp.ClientResponse:
        """Send a request and return its response as soon as the headers are there. Raises Failed."""
        import aiohttp

        seconds, limit = clock.next()
        if self._closed or seconds <= 0:
            raise Failed(faults.make("closed" if self._closed else limit))
        try:
            request = self._ready().request(
                method,
                self._base + path,
                data=content,
                headers=self._merged(call.headers),
                allow_redirects=False,
                timeout=aiohttp.ClientTimeout(total=None, connect=call.timeouts.connect),
            )
        except (TypeError, ValueError):
            raise Failed(faults.make("unsendable")) from None
        return await within(clock, request, host=self._host, answering=False)

    async def _whole(self, response: aiohttp.ClientResponse, call: Call, answer: Incoming) -> Wire:
        """Read a whole answer into `answer.body` and return it. Raises Failed, for an error status always."""
        answer.headers = response.headers
        answer.whole = True
        status = response.status
        if status < 300:
            answer.body = decode(await self._bytes(response, answer.clock, self._largest))
            return answer.body
        if status < 400:
            raise Failed(faults.make("redirect", status=status))
        try:
            answer.body = decode(await self._bytes(response, answer.clock, _LARGEST_ERROR))
        except Failed:
            pass  # a page, or nothing: the status alone speaks
        raise Failed(
            refusals.read(
                answer.body.get("error") or answer.body,
                call.body,
                http_status=status,
                headers=answer.headers,
                secrets=self._secrets,
            )
        )

    async def _bytes(self, response: aiohttp.ClientResponse, clock: Clock, limit: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        begun = False  # whitespace before the answer only keeps the connection alive
        while True:
            clock.listen(begun=begun)
            data = await self._read(response, clock)
            if not data:
                return b"".join(pieces)
            if not begun and data.strip():
                begun = True
                clock.token()
            pieces.append(data)
            size += len(data)
            if size > limit:
                raise Failed(faults.make("answer_too_big"))

    async def _read(self, response: aiohttp.ClientResponse, clock: Clock) -> bytes:
        return await within(clock, response.content.readany(), host=self._host, answering=True)

    def _ready(self) -> aiohttp.ClientSession:
        """The session of the running loop, made on first use."""
        import asyncio

        import aiohttp

        loop = asyncio.get_running_loop()
        if self._session is None or self._loop is not loop:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),  # the caller bounds its concurrency
                cookie_jar=aiohttp.DummyCookieJar(),
            )
            self._loop = loop
            os.register_at_fork(after_in_child=_letting_go(self._session))
        return self._session

    def _merged(self, more: Mapping[str, str]) -> dict[str, str]:
        """Our headers with the call's own, which win, except over the key."""
        fixed = {"Content-Type": "application/json"}
        if self._secrets:
            fixed["Authorization"] = f"Bearer {self._secrets[0]}"
        merged: dict[str, str] = {}
        taken: set[str] = set()
        for headers in (fixed, more, {"User-Agent": "cheapfirst"}, self._headers):
            merged |= {name: value for name, value in headers.items() if name.lower() not in taken}
            taken |= {name.lower() for name in headers}
        return merged


def _never_sent(name: str, note: str) -> Outcome:
    """The outcome of a call that was not made."""
    return Outcome(kind="fault", fault=faults.make(name, note=note))


def _is_stream(response: aiohttp.ClientResponse, call: Call) -> bool:
    kind = response.content_type
    return kind == "text/event-stream" or (call.streamed and "json" not in kind and "html" not in kind)


def _letting_go(session: aiohttp.ClientSession) -> Callable[[], None]:
    """What a forked child does with its parent's connections: drop them without closing them.

    Closing would take them, and what wakes the parent's loop, out of the epoll set that both processes share: the
    parent would never hear from them again. aiohttp has no public way to drop a connection.
    """
    alive = weakref.ref(session)

    def let_go() -> None:
        inherited = alive()
        if inherited is not None and inherited.connector is not None:
            inherited.connector._conns.clear()
            inherited.detach()

    return let_go
