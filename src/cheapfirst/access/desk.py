"""Lets requests in one batch at a time: all that wait are decided in one transaction of the store, oldest first."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable
from typing import TypeAlias

from msgspec import Struct

from cheapfirst.access.books import Ask, Exhausted, Full, Grant, Settle, Slow
from cheapfirst.access.store import Store
from cheapfirst.errors import StoreUnavailable

LOG = logging.getLogger("cheapfirst.access")

SHORTEST, LONGEST = 0.02, 0.3
"""Seconds between looks for what other processes have settled, while requests wait here."""

TIDY = 3600.0
"""Seconds between two clearings of counters that nothing counts on any more."""

AGAIN = 0.5
"""Seconds until what could not be settled is tried again."""

Refusal: TypeAlias = Full | Exhausted | Slow


class Waiter(Struct, eq=False):
    """A request at the desk."""

    ask: Callable[[float, bool], Ask]
    until: float  # the loop's time
    future: asyncio.Future[Grant | Refusal]


class Desk:
    """One process's way to the store. Belongs to one event loop."""

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock
        self._waiters: list[Waiter] = []
        self._settles: list[tuple[Settle, asyncio.Future[None]]] = []
        self._wake: asyncio.Event | None = None
        self._task: asyncio.Task[None] | None = None
        self._pause = SHORTEST
        self._closing = False
        self._tidied = float("-inf")  # Unix seconds

    async def admit(self, ask: Callable[[float, bool], Ask], wait: float) -> Grant | Refusal:
        """Decide a request. `ask` makes it for a moment (Unix seconds), and for its last try or not. Where only
        reservations are in its way it waits up to `wait` seconds for them to be settled, here or by another process.
        Raises StoreUnavailable."""
        loop = asyncio.get_running_loop()
        waiter = Waiter(ask, loop.time() + wait, loop.create_future())
        self._waiters.append(waiter)
        self._begin()
        try:
            return await waiter.future
        except asyncio.CancelledError:
            self._give_back(waiter)
            raise

    def settle(self, ended: Settle) -> asyncio.Future[None]:
        """Settle a request soon; nobody needs to wait for what is returned. While the store is away it is tried again;
        what is never settled counts as spent when its time is over."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._settles.append((ended, future))
        self._begin()
        return future

    async def close(self) -> None:
        """Settle what is left, as far as the store takes it, and stop."""
        self._closing = True
        if self._task is not None and self._wake is not None:
            self._wake.set()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        if self._settles:
            try:
                await self._store.work((), [ended for ended, _ in self._settles], self._clock())
            except StoreUnavailable as error:
                LOG.error("%s request(s) could not be settled and count as wholly spent: %s", len(self._settles), error)
        for _, future in self._settles:
            future.cancel()
        for waiter in self._waiters:
            waiter.future.cancel()

    def _give_back(self, waiter: Waiter) -> None:
        """Settle what was granted to somebody who left at the same moment."""
        future = waiter.future
        if future.done() and not future.cancelled() and future.exception() is None:
            decision = future.result()
            if isinstance(decision, Grant):
                self.settle(Settle(decision.held.id, 0, 0))

    def _begin(self) -> None:
        if self._wake is None or self._task is None or self._task.done():
            self._wake = asyncio.Event()
            self._task = asyncio.ensure_future(self._work(self._wake))
        self._wake.set()

    async def _work(self, wake: asyncio.Event) -> None:
        while not self._closing:
            wake.clear()
            try:
                changed = await self._batch()
            except StoreUnavailable as error:
                await self._away(error)
                continue
            except Exception as error:  # whatever it is, requests must not hang on it
                LOG.exception("the store of keys and budgets failed")
                await self._away(StoreUnavailable(f"the store of keys and budgets failed: {type(error).__name__}"))
                continue
            self._pause = SHORTEST if changed else min(self._pause * 1.5, LONGEST)
            try:
                async with asyncio.timeout(self._sleep()):
                    await wake.wait()
            except TimeoutError:
                pass

    async def _batch(self) -> bool:
        """Decide all that is there; returns whether any of it came to an end."""
        waiters = [waiter for waiter in self._waiters if not waiter.future.done()]
        settles = list(self._settles)
        if not waiters and not settles:
            self._waiters = []
            return False
        now = self._clock()
        tick = asyncio.get_running_loop().time()
        asks = [waiter.ask(now, waiter.until <= tick) for waiter in waiters]
        if now - self._tidied > TIDY:
            self._tidied = now
            await self._store.tidy(now)
        decisions = await self._store.work(asks, [ended for ended, _ in settles], now)
        del self._settles[: len(settles)]
        for _, future in settles:
            if not future.done():
                future.set_result(None)
        waiting: list[Waiter] = []
        for waiter, ask, decision in zip(waiters, asks, decisions, strict=True):
            if waiter.future.done():  # nobody waits for it any more
                if isinstance(decision, Grant):
                    self.settle(Settle(decision.held.id, 0, 0))
            elif isinstance(decision, Full) and not ask.last:
                waiting.append(waiter)
            else:
                waiter.future.set_result(decision)
        begun = set(map(id, waiters))
        came = [waiter for waiter in self._waiters if id(waiter) not in begun]
        self._waiters = waiting + came
        return bool(settles) or len(waiting) < len(waiters)

    async def _away(self, error: StoreUnavailable) -> None:
        """The store failed: nobody gets in; what has ended is kept, to be settled when the store is back."""
        LOG.error("%s", error)
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.future.done():
                waiter.future.set_exception(StoreUnavailable(str(error), retry_after=error.retry_after))
        if self._settles and not self._closing:
            await asyncio.sleep(AGAIN)
        elif self._wake is not None and not self._waiters:
            await self._wake.wait()

    def _sleep(self) -> float | None:
        """Seconds until the next look; None: until somebody comes."""
        if not self._waiters:
            return None
        soonest = min(waiter.until for waiter in self._waiters) - asyncio.get_running_loop().time()
        return max(0.0, min(soonest, random.uniform(0.5, 1.0) * self._pause))
