"""One request's reservation: what it may cost, and how it is settled."""

from __future__ import annotations

import asyncio
from decimal import Decimal

from cheapfirst.access.books import Settle
from cheapfirst.access.desk import Desk
from cheapfirst.money import to_pico


class Lease:
    """A request that was let in. Settle it once it has ended, whatever became of it."""

    def __init__(self, desk: Desk, id: str, max_cost: Decimal | None, step_down: bool) -> None:
        self.id = id
        self.max_cost = max_cost  # USD that is reserved, and that the request may not exceed; None: no budget binds it
        self.step_down = step_down  # a budget nears its end: start on the cheapest tier
        self._desk = desk
        self._settled: asyncio.Future[None] | None = None

    @property
    def settled(self) -> bool:
        """Whether it has been settled."""
        return self._settled is not None

    def settle(self, cost: Decimal | None, tokens: int | None = None) -> asyncio.Future[None]:
        """Say what the request cost (USD) and how many tokens it took; None: unknown, so what was reserved counts.

        Only the first call counts. It returns at once; what it returns may be awaited to know that it is kept.
        """
        if self._settled is None:
            self._settled = self._desk.settle(Settle(self.id, to_pico(cost), tokens))
        return self._settled
