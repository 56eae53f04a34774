"""Finds out what calls cost that ended without saying so: their caller left, or they broke off.

Closing a stream stops the bill with some providers. With the others, and for whole answers always, the answer is made
and billed to its end, so it is read to its end in the background. What the answer itself does not tell is asked of
the upstream's page about it. What is learnt is entered in the ledger, where the cost stands as unknown until then.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING
from urllib.parse import quote

from msgspec import Struct

from cheapfirst.catalog import Catalog
from cheapfirst.messages import Outcome, Settled, Story, Usage
from cheapfirst.policy.table import Upstream as Options
from cheapfirst.upstream.generation import charged, counted
from cheapfirst.upstream.providers import bills_on

if TYPE_CHECKING:
    import asyncio

    from cheapfirst.upstream import Upstream
    from cheapfirst.upstream.unfinished import Unfinished

PAUSES = (0.5, 2.0, 8.0)
"""Seconds before each time that an upstream is asked about an answer: its page appears some time after the answer."""

AT_ONCE = 64
"""Costs that are being found out at the same time."""

WAITING = 1000
"""Costs that wait for one of them to be found; beyond them a cost stays unknown, and a call is closed."""

AT_END = 2.0
"""Seconds that closing may take: what is still open is asked for once more, and then stays unknown."""


class About(Struct, frozen=True):
    """An attempt whose cost is to be found out."""

    request_id: str
    attempt: int  # its number
    asked: str  # the model that was asked for
    alone: bool  # no other one was allowed to step in
    time: float  # Unix seconds whose prices count
    generation_id: str | None  # None: not known
    rest: Unfinished | None = None  # what is left of its call; None: nothing


class Aftermath:
    """What follows the requests of one router. Costs nothing while every call says what it cost.

    Args:
        asks: whether the upstream has a page about each answer, as OpenRouter does.
        native: whether the upstream may answer with another model of the tier.
        settle: takes each cost that was found.
    """

    def __init__(
        self,
        upstream: Upstream,
        options: Options,
        catalog: Catalog,
        *,
        asks: bool,
        native: bool,
        settle: Callable[[Settled], None],
    ) -> None:
        self._upstream = upstream
        self._cancel = options.cancel
        self._catalog = catalog
        self._asks = asks
        self._native = native
        self._settle = settle
        self._open: dict[asyncio.Task[None], tuple[About, asyncio.Event]] = {}  # the event: no more pauses
        self._waiting: deque[About] = deque()
        self._closed = False

    def wants(self, unfinished: Unfinished, outcome: Outcome) -> bool:
        """Whether a call whose caller left should be read to its end: where closing it does not stop its bill."""
        if self._cancel == "close" or self._closed or len(self._open) >= AT_ONCE or outcome.usage is not None:
            return False
        if self._cancel == "drain":
            return True
        if not unfinished.call.streamed:
            return self._asks
        return self._asks and outcome.provider is not None and bills_on(outcome.provider)

    def follow(self, story: Story, rests: Mapping[int, Unfinished]) -> None:
        """Find out what those of the story's attempts cost that do not say it.

        `rests` are, by attempt, the calls that `wants` wanted.
        """
        for attempt in story.attempts:
            rest = rests.get(attempt.number)
            if attempt.cost is None and (rest is not None or (self._asks and attempt.outcome.generation_id)):
                about = About(
                    request_id=story.request.id,
                    attempt=attempt.number,
                    asked=attempt.planned.model,
                    alone=not (attempt.planned.fallbacks and self._native),
                    time=story.time,
                    generation_id=attempt.outcome.generation_id,
                    rest=rest,
                )
                self._start(about)

    async def close(self) -> None:
        """Ask for what is still open once more, without pauses, and give up on it after two seconds."""
        import asyncio

        self._closed = True
        self._waiting.clear()
        loop = asyncio.get_running_loop()
        own = {task: hurry for task, (_, hurry) in self._open.items() if task.get_loop() is loop}
        for hurry in own.values():
            hurry.set()
        if own:
            _, left = await asyncio.wait(own, timeout=AT_END)
            for task in left:
                task.cancel()
            if left:
                await asyncio.wait(left)

    def _start(self, about: About) -> None:
        import asyncio

        if len(self._open) >= AT_ONCE and about.rest is None:
            if len(self._waiting) < WAITING:
                self._waiting.append(about)
            return
        hurry = asyncio.Event()
        if self._closed:
            hurry.set()
        try:
            task = asyncio.get_running_loop().create_task(self._find(about, hurry))
        except RuntimeError:  # the loop is gone, and with it the call
            return
        self._open[task] = about, hurry
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        about, _ = self._open.pop(task)
        if about.rest is not None:
            about.rest.close()
        if self._waiting and not task.cancelled():
            self._start(self._waiting.popleft())

    async def _find(self, about: About, hurry: asyncio.Event) -> None:
        """Find out one cost and enter it; else it stays unknown."""
        id = about.generation_id
        if about.rest is not None:
            outcome = await about.rest.rest()
            id = outcome.generation_id or id
            cost = outcome.reported_cost
            if cost is None and outcome.usage is not None and outcome.fee is None:
                cost = self._catalog.cost(self._served(about, outcome.model), outcome.usage, about.time)
            if cost is not None:
                self._enter(about, cost, outcome.usage, outcome.reported_cost, id, outcome.model, outcome.provider)
                return
        if not self._asks or id is None:
            return
        for pause in PAUSES:
            await _pause(pause, hurry)
            page = await self._upstream.get(f"/generation?id={quote(id, safe='')}")
            data = page.get("data") if isinstance(page, dict) else None
            if isinstance(data, dict) and (cost := charged(data)) is not None:
                self._enter(about, cost, counted(data), cost, id, data.get("model"), data.get("provider_name"))
                return
            if hurry.is_set():
                return

    def _enter(
        self,
        about: About,
        cost: Decimal,
        usage: Usage | None,
        said: Decimal | None,
        id: str | None,
        model: object,
        provider: object,
    ) -> None:
        self._settle(
            Settled(
                request_id=about.request_id,
                attempt=about.attempt,
                cost=cost,
                usage=usage,
                reported_cost=said,
                generation_id=id,
                model=self._served(about, model) if isinstance(model, str) else None,
                provider=provider if isinstance(provider, str) else None,
            )
        )

    def _served(self, about: About, model: str | None) -> str:
        return self._catalog.served(model, asked=about.asked, alone=about.alone)


async def _pause(seconds: float, hurry: asyncio.Event) -> None:
    """Wait so long, or until there is a hurry."""
    import asyncio

    try:
        async with asyncio.timeout(seconds):
            await hurry.wait()
    except TimeoutError:
        pass
