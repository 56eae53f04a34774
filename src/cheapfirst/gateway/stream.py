"""Sends one streamed answer: events as they come, comments while nothing comes, and an end that nobody can mistake."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing

from cheapfirst import cascade
from cheapfirst.errors import AnswerCutOff, CheapfirstError
from cheapfirst.gateway import chat, failure, trail
from cheapfirst.gateway.asgi import EVENTS, Send
from cheapfirst.gateway.faces.face import Events, Face
from cheapfirst.gateway.problem import Problem, Refused
from cheapfirst.job import Job
from cheapfirst.messages import Answer
from cheapfirst.policy.table import GatewayOptions

LOG = logging.getLogger("cheapfirst.gateway")

SLOW_READER = 60.0
"""Seconds beyond the request's deadline that a client may take to read its stream."""


class Stream:
    """One stream on its way to the client."""

    def __init__(self, job: Job, face: Face, events: Events, send: Send, options: GatewayOptions) -> None:
        self._job = job
        self._face = face
        self._events = events
        self._send = send
        self._pause = options.keep_alive
        self._begun = False
        self._sent = False  # since the last look of the comments' clock
        self._beat: asyncio.TimerHandle | None = None
        self._beating: asyncio.Task[None] | None = None

    async def run(self) -> None:
        """Send it all. Raises Refused for what goes wrong before the first byte; afterwards the stream says it."""
        self._wind()
        try:
            async with asyncio.timeout(self._job.plan.deadline + SLOW_READER):
                await self._all()
        except TimeoutError:
            raise Refused(Problem(status=504, code="deadline_exceeded", message="The stream took too long.")) from None
        finally:
            self._stop()

    async def _all(self) -> None:
        try:
            answer = await self._items()
            if answer is not None:
                await self._emit(b"".join(self._events.feed(chunk) for chunk in chat.chunks(chat.whole(answer))))
            await self._emit(self._events.end(), last=True)
        except CheapfirstError as error:
            if not self._begun:
                raise
            await self._fail(failure.of(error, task=self._job.request.task))
        except Exception:
            LOG.exception("request %s failed inside the gateway", self._job.request.id)
            if not self._begun:
                raise
            await self._fail(failure.unexpected(self._job.request.id))

    async def _items(self) -> Answer | None:
        """Send the chunks that flow at once; return the answer when none did."""
        tail = chat.Tail()
        flowed = False
        try:
            async with aclosing(cascade.stream(self._job)) as items:
                async for item in items:
                    if not isinstance(item, Answer):
                        flowed = True
                        pieces = [self._events.feed(chunk) for came in item for chunk in tail.take(came)]
                        if any(pieces):
                            await self._emit(b"".join(pieces))
                    elif not flowed:
                        return item
                    else:
                        told = trail.of_answer(item)
                        ends = tail.end(told, chat.finish_of(item))
                        await self._emit(b"".join(self._events.feed(chunk) for chunk in ends))
        except AnswerCutOff as error:
            if flowed or error.answer is None:
                raise
            return error.answer
        return None

    async def _fail(self, problem: Problem) -> None:
        await self._emit(self._events.fail(problem), last=True)

    async def _emit(self, content: bytes, *, last: bool = False) -> None:
        if not self._begun:
            await self._begin()
        self._sent = True
        await self._send({"type": "http.response.body", "body": content, "more_body": not last})

    async def _begin(self) -> None:
        self._begun = True
        headers = [EVENTS, (b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
        headers += trail.headers_before(self._job.request)
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})

    def _wind(self) -> None:
        self._beat = asyncio.get_running_loop().call_later(self._pause, self._tick)

    def _tick(self) -> None:
        """Send a comment if nothing was sent for a while: it keeps clients and proxies from giving up."""
        if not self._sent and (self._beating is None or self._beating.done()):
            self._beating = asyncio.ensure_future(self._comment())
        self._sent = False
        self._wind()

    async def _comment(self) -> None:
        if not self._begun:
            await self._begin()
        await self._send({"type": "http.response.body", "body": self._face.KEEP_ALIVE, "more_body": True})

    def _stop(self) -> None:
        if self._beat is not None:
            self._beat.cancel()
        if self._beating is not None:
            self._beating.cancel()
