"""Bounds how many requests are served at once and how many wait; the next is turned away before memory grows."""

from __future__ import annotations

import asyncio
from collections import deque

from cheapfirst.gateway.problem import Problem, Refused
from cheapfirst.policy.table import GatewayOptions


class Gate:
    """A semaphore with a bounded queue. Belongs to one event loop. `parts`: how many processes share the options'
    bounds; this one's is an equal part, rounded up."""

    def __init__(self, options: GatewayOptions, parts: int = 1) -> None:
        self._parts = parts
        self.use(options)
        self.running = 0
        self.shed = 0  # requests turned away since the start
        self.closing = False
        self._waiting: deque[asyncio.Future[None]] = deque()

    def use(self, options: GatewayOptions) -> None:
        """Take other bounds from now on."""
        self._requests = -(-options.requests // self._parts)
        self._queue = -(-options.queue // self._parts)
        self._queue_wait = options.queue_wait

    @property
    def waiting(self) -> int:
        """How many requests wait for their turn."""
        return len(self._waiting)

    async def enter(self) -> None:
        """Take a place. Raises Refused (503) when the queue is full or the wait too long."""
        if self.closing:
            raise self._away("draining", "The gateway is stopping; send the request to another one, or again soon.")
        if self.running < self._requests and not self._waiting:
            self.running += 1
            return
        if len(self._waiting) >= self._queue:
            raise self._away("overloaded", "The gateway serves as many requests as it can; wait, then send it again.")
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(turn)
        try:
            async with asyncio.timeout(self._queue_wait):
                await turn
        except TimeoutError:
            if turn.done() and not turn.cancelled():
                return  # the place came at the last moment
            self._forget(turn)
            raise self._away(
                "overloaded",
                f"No place came free within gateway.queue_wait = {self._queue_wait:g} seconds; wait, then send "
                "the request again.",
            ) from None
        except BaseException:
            if turn.done() and not turn.cancelled():
                self.leave()
            self._forget(turn)
            raise

    def leave(self) -> None:
        """Give the place to the next who waits, or back."""
        while self._waiting:
            turn = self._waiting.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.running -= 1

    def _forget(self, turn: asyncio.Future[None]) -> None:
        try:
            self._waiting.remove(turn)
        except ValueError:
            pass

    def _away(self, code: str, message: str) -> Refused:
        self.shed += 1
        return Refused(Problem(status=503, code=code, message=message, retry_after=1.0))
