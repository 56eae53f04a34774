"""Makes chat-completions calls over HTTP: one session, kept connections, every failure a named fault."""

from __future__ import annotations

import os
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from time import monotonic
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import msgspec
from msgspec import structs

from cheapfirst.messages import Fault, Outcome, Wire
from cheapfirst.policy import table
from cheapfirst.upstream import faults, refusals, sse, trouble
from cheapfirst.upstream.breaker import LEFT, Breaker, Breakers, Pass
from cheapfirst.upstream.call import Call
from cheapfirst.upstream.clock import Clock
from cheapfirst.upstream.faults import Failed
from cheapfirst.upstream.incoming import Incoming, decode
from cheapfirst.upstream.slots import Slots
from cheapfirst.upstream.unfinished import Unfinished

if TYPE_CHECKING:
    from cheapfirst.upstream.http1 import Connection
    from cheapfirst.upstream.pool import Pool

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
        parts = urlsplit(self._base)
        self._host = parts.netloc.rpartition("@")[2]
        self._path = parts.path
        self._secrets = (api_key,) if api_key else ()
        self._largest = largest_answer
        self._breakers = Breakers(options.breaker) if options.breaker.enabled else None
        self._slots = Slots(options.concurrency, options.queue)
        self._headers = {"X-OpenRouter-Title": options.title} if options.title else {}
        if options.referer:
            self._headers["HTTP-Referer"] = options.referer
        self._pool: Pool | None = None
        self._heads: dict[tuple[str, str], bytes] = {}
        self._process = 0
        self._inherited: list[Pool] = []  # of other loops, and of the process that forked this one: never touched
        self._closed = False

    async def send(self, call: Call) -> Outcome:
        """Make one call and return what came back, as an Outcome of kind `fault` when it failed.

        Raises nothing but CancelledError; cancelling closes the call's connection.
        """
        if call.streamed:
            async with aclosing(self.stream(call)) as items:
                async for item in items:
                    if isinstance(item, Outcome):
                        return item
        breaker, passed = self._breaker(call)
        if passed is None:
            return _never_sent("breaker_open", str(call.body.get("model")))
        fault: Fault | None = LEFT
        try:
            turn = await self._turn(call)
            if turn is None:
                return _never_sent("upstream_busy", self._host)
            answer, failure = Incoming(turn), None
            try:
                response = await self._begin("POST", "/chat/completions", _content(turn), turn, answer.clock)
                kept = False
                try:
                    await self._rest(response, turn, answer)
                except BaseException as error:
                    kept = self._left(error, turn, answer, response)
                    raise
                finally:
                    if not kept:
                        response.end()
            except Failed as failed:
                failure = failed.fault
            finally:
                self._slots.give()
            outcome = answer.outcome(failure, self._secrets)
            fault = outcome.fault
            return outcome
        finally:
            if breaker is not None:
                breaker.report(passed, fault, monotonic())

    async def stream(self, call: Call) -> AsyncGenerator[list[Wire] | Outcome, None]:
        """Make one call; yield the wire's chunks, those that came together as one list, and last the Outcome
        assembled from them.

        An upstream that answers as a whole although a stream was asked for yields only the Outcome. Closing
        the generator cancels the call and closes its connection at once.
        """
        breaker, passed = self._breaker(call)
        if passed is None:
            yield _never_sent("breaker_open", str(call.body.get("model")))
            return
        fault: Fault | None = LEFT
        try:
            turn = await self._turn(call)
            if turn is None:
                yield _never_sent("upstream_busy", self._host)
                return
            answer, failure = Incoming(turn), None
            try:
                response = await self._begin("POST", "/chat/completions", _content(turn), turn, answer.clock)
                kept = False
                try:
                    await self._answered(response)
                    if response.status >= 300 or not _is_stream(response, turn):
                        await self._whole(response, turn, answer)
                    else:
                        async with aclosing(self._chunks(response, answer)) as batches:
                            async for chunks in batches:
                                yield chunks
                except BaseException as error:
                    kept = self._left(error, turn, answer, response)
                    raise
                finally:
                    if not kept:
                        response.end()
            except Failed as failed:
                failure = failed.fault
            finally:
                self._slots.give()
            outcome = answer.outcome(failure, self._secrets)
            fault = outcome.fault
        finally:
            if breaker is not None:
                breaker.report(passed, fault, monotonic())
        yield outcome

    def _left(self, error: BaseException, call: Call, answer: Incoming, response: Connection) -> bool:
        """Tell the caller, where it has left, how far its call has come. Returns whether it takes the rest over."""
        if isinstance(error, Exception) or call.left is None:
            return False
        return call.left(Unfinished(self, call, answer, response))

    async def _rest(self, response: Connection, call: Call, answer: Incoming) -> None:
        """Read what has not come yet of an answer whose chunks nobody waits for. Raises Failed."""
        await self._answered(response)
        if response.status < 300 and _is_stream(response, call):
            async for _ in self._chunks(response, answer):
                pass
        else:
            await self._whole(response, call, answer)

    def _breaker(self, call: Call) -> tuple[Breaker | None, Pass | None]:
        """The breaker of the call's model, if there are any, and whether it lets the call pass (None: it does not)."""
        if self._breakers is None:
            return None, "call"
        breaker = self._breakers.of(str(call.body.get("model")))
        return breaker, breaker.admit(monotonic())

    async def _turn(self, call: Call) -> Call | None:
        """Wait for a free slot. Returns the call with what is left of its time, or None when no slot came free."""
        if self._slots.take():
            return call
        began = monotonic()
        if not await self._slots.wait(call.budget):
            return None
        return structs.replace(call, budget=call.budget - (monotonic() - began))

    async def get(self, path: str) -> Wire | Fault:
        """Read one of the upstream's pages, e.g. `/models`, `/key`, `/generation?id=...`, or say how it failed."""
        call = Call(body={}, budget=_PAGE_BUDGET)
        answer = Incoming(call)
        try:
            response = await self._begin("GET", path, b"", call, answer.clock)
            try:
                await self._answered(response)
                return await self._whole(response, call, answer)
            finally:
                response.end()
        except Failed as failed:
            return failed.fault

    def breakers(self) -> dict[str, str]:
        """Each model that was called, with its breaker's state: closed, open or half-open. Empty: breakers are off."""
        return {} if self._breakers is None else self._breakers.states(monotonic())

    def in_flight(self) -> int:
        """How many calls are under way."""
        return self._slots.taken

    def divide(self, by: int) -> None:
        """Take on one of so many equal parts of the calls that the options allow: the others are other processes'."""
        self._slots.divide(by)

    async def close(self) -> None:
        """Close every connection. Calls made afterwards are the fault `closed`."""
        self._closed = True
        pool, self._pool = self._pool, None
        if pool is not None and self._process == os.getpid():
            pool.close()

    def __repr__(self) -> str:
        return f"Upstream({self._host!r})"

    async def _chunks(self, response: Connection, answer: Incoming) -> AsyncGenerator[list[Wire], None]:
        """Yield the chunks of a streamed answer as they come; fill `answer`. Raises Failed."""
        answer.headers = response.headers
        parser = answer.parser = answer.parser or sse.Parser(self._largest)
        received = 0
        ended = False
        while not ended:
            answer.clock.listen()
            try:
                data = await self._read(response)
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
            chunks: list[Wire] = []
            try:
                for event in events:
                    chunk = answer.take(event, last=ended)
                    if chunk is not None:
                        chunks.append(chunk)
            except Failed:
                if chunks:
                    yield chunks
                raise
            if chunks:
                yield chunks

    async def _begin(self, method: str, path: str, content: bytes, call: Call, clock: Clock) -> Connection:
        """Send one of our own requests; the connection's next word is its response. Raises Failed."""
        head = self._heads.get((method, path)) if not call.headers else None
        if head is None:
            head = self._head(method, path, self._merged(call.headers))
            if not call.headers and len(self._heads) < 100:
                self._heads[method, path] = head
        return await self._send(head, content, call.timeouts.connect, clock)

    async def _exchange(
        self, method: str, target: str, content: bytes, headers: Mapping[str, str], connect: float, clock: Clock
    ) -> Connection:
        """Send a request with just these headers, as `_begin` does. Raises Failed."""
        return await self._send(self._head(method, target, headers), content, connect, clock)

    def _head(self, method: str, target: str, headers: Mapping[str, str]) -> bytes:
        """A request's head up to its length. Raises Failed for what cannot stand in one."""
        from cheapfirst.upstream import http1

        try:
            return http1.head(method, self._path + target, self._host, headers)
        except ValueError:
            raise Failed(faults.make("unsendable")) from None

    async def _send(self, head: bytes, content: bytes, connect: float, clock: Clock) -> Connection:
        seconds, limit = clock.next()
        if self._closed or seconds <= 0:
            raise Failed(faults.make("closed" if self._closed else limit))
        length = b"Content-Length: %d\r\n\r\n" % len(content) if content or head.startswith(b"P") else b"\r\n"
        try:
            connection = await self._ready().take(clock, connect)
        except trouble.Late as late:
            raise Failed(faults.make(late.limit)) from None
        except (OSError, RuntimeError, ValueError) as error:  # no connection; the last two: of a host that is no host
            raise Failed(trouble.connecting(error, self._host)) from None
        try:
            connection.request(head + length, content, clock)
        except trouble.Broken:
            connection.end()
            raise Failed(faults.make("closed" if self._closed else "no_response", note=self._host)) from None
        return connection

    async def _answered(self, connection: Connection) -> None:
        """Wait for the headers of the answer. Raises Failed."""
        try:
            await connection.answered()
        except Exception as error:  # noqa: BLE001 - named there
            if self._closed:
                raise Failed(faults.make("closed")) from None
            raise trouble.failed(error, self._host, answering=False) from None

    async def _whole(self, response: Connection, call: Call, answer: Incoming) -> Wire:
        """Read a whole answer into `answer.body` and return it. Raises Failed, for an error status always."""
        answer.headers = response.headers
        answer.whole = True
        status = response.status
        if status < 300:
            answer.body = decode(await self._bytes(response, answer, self._largest))
            return answer.body
        if status < 400:
            raise Failed(faults.make("redirect", status=status))
        try:
            answer.body = decode(await self._bytes(response, answer, _LARGEST_ERROR))
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

    async def _bytes(self, response: Connection, answer: Incoming, limit: int) -> bytes:
        clock, pieces = answer.clock, answer.pieces
        size = 0
        begun = False  # whitespace before the answer only keeps the connection alive
        while True:
            clock.listen(begun=begun)
            data = await self._read(response)
            if not data:
                return b"".join(pieces)
            if not begun and data.strip():
                begun = True
                clock.token()
            pieces.append(data)
            size += len(data)
            if size > limit:
                raise Failed(faults.make("answer_too_big"))

    async def _read(self, response: Connection) -> bytes:
        try:
            return await response.read()
        except Exception as error:  # noqa: BLE001 - named there, or raised again
            raise trouble.failed(error, self._host, answering=True) from None

    def _ready(self) -> Pool:
        """The connections of the running loop."""
        import asyncio

        from cheapfirst.upstream.pool import Pool

        loop, process = asyncio.get_running_loop(), os.getpid()
        if self._pool is None or self._pool.loop is not loop or self._process != process:
            if self._pool is not None:
                # A running loop's connections cannot be closed from here. A parent process's must not be: closing
                # takes them out of the epoll set that both share, and the parent would never hear from them again.
                if self._process == process and self._pool.loop.is_closed():
                    self._pool.forget()
                else:
                    self._inherited.append(self._pool)
            self._pool, self._process = Pool(self._base, loop), process
        return self._pool

    def _merged(self, more: Mapping[str, str]) -> dict[str, str]:
        """Our headers with the call's own, which win, except over the key."""
        fixed = {"Content-Type": "application/json", "Accept-Encoding": "gzip, deflate"}
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


def _content(call: Call) -> bytes:
    """The body's bytes. Raises Failed."""
    try:
        return msgspec.json.encode(call.body)
    except (TypeError, ValueError, RecursionError):
        raise Failed(faults.make("unsendable")) from None


def _is_stream(response: Connection, call: Call) -> bool:
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == "text/event-stream" or (call.streamed and "json" not in kind and "html" not in kind)
