"""Bounds how many calls one upstream has at once; the next ones wait in order, and only so many of them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import asyncio


class Slots:
    """`most` calls at once, `queue` waiting. For one event loop at a time."""

    def __init__(self, most: int, queue: int) -> None:
        self._most = most
        self._queue = queue
        self._waiting: deque[asyncio.Future[None]] = deque()
        self.taken = 0

    def divide(self, by: int) -> None:
        """Keep one of so many equal parts of both bounds, rounded up."""
        self._most = -(-self._most // by)
        self._queue = -(-self._queue // by)

    def take(self) -> bool:
        """Take a slot if one is free at once and nobody waits for it."""
        if self.taken >= self._most or self._waiting:
            return False
        self.taken += 1
        return True

    async def wait(self, seconds: float) -> bool:
        """Wait for a slot; False when the queue is full or the time is over. Cancelling leaves the queue."""
        import asyncio

        if len(self._waiting) >= self._queue or seconds <= 0:
            return False
        mine: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(mine)
        try:
            async with asyncio.timeout(seconds):
                await mine
        except TimeoutError:
            if not self._handed(mine):
                return False
        except asyncio.CancelledError:
            if self._handed(mine):
                self.give()
            raise
        return True

    def give(self) -> None:
        """Give a slot back: the next in the queue has it at once."""
        while self._waiting:
            following = self._waiting.popleft()
            if not following.done():
                following.set_result(None)
                return
        self.taken -= 1

    def _handed(self, mine: asyncio.Future[None]) -> bool:
        """Whether the slot came although the waiting was over; else leave the queue."""
        if mine.done() and not mine.cancelled():
            return True
        try:
            self._waiting.remove(mine)
        except ValueError:
            pass
        return False
