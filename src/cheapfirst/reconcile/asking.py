"""Asks the upstream's pages about answers, a few at a time, and waits where it says that it is asked too often."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from cheapfirst.messages import Fault, Wire
from cheapfirst.reconcile.differences import Said
from cheapfirst.upstream.generation import charged, counted

if TYPE_CHECKING:
    from cheapfirst.upstream import Upstream

TRIES = 6
"""Times that a page is asked for which does not come, or not yet."""

PAUSE = 0.5
"""Seconds before the second time, doubled for each further one, unless the upstream says how long to wait."""

LONGEST = 60.0
"""Seconds waited at once."""

YOUNG = 600.0
"""Seconds after which an answer that the upstream does not know is missing: its page appears some time after it."""

REFUSED = ("unauthorized", "forbidden", "account_dry", "unsendable", "redirect", "tls")
"""Faults that will not pass: no further page needs to be asked for."""


class Asker:
    """Asks for pages. When the upstream says that it is too much, everybody waits."""

    def __init__(self, upstream: Upstream, *, pause: float = PAUSE) -> None:
        self._upstream = upstream
        self._pause = pause
        self._quiet_until = 0.0  # monotonic seconds

    async def generation(self, id: str, *, age: float) -> Said | Fault | None:
        """What the page about an answer says; None: there is none. `age` is that of the answer, in seconds."""
        page = await self._page(f"/generation?id={quote(id, safe='')}", patient=age < YOUNG)
        if isinstance(page, Fault):
            return None if page.status == 404 else page
        data = page.get("data")
        if not isinstance(data, dict):
            return None
        model, provider = data.get("model"), data.get("provider_name")
        return Said(
            id=id,
            model=model if isinstance(model, str) else None,
            provider=provider if isinstance(provider, str) else None,
            cost=charged(data),
            usage=counted(data),
        )

    async def activity(self, key_hash: str | None) -> list[object] | Fault:
        """The rows of what the account did in the last 30 days."""
        page = await self._page("/activity" + (f"?api_key_hash={quote(key_hash, safe='')}" if key_hash else ""))
        if isinstance(page, Fault):
            return page
        rows = page.get("data")
        return rows if isinstance(rows, list) else []

    async def _page(self, path: str, *, patient: bool = False) -> Wire | Fault:
        """The page, asked for again while that may help. `patient`: also while the upstream does not know it."""
        pause = self._pause
        for turn in range(1, TRIES + 1):
            await asyncio.sleep(max(self._quiet_until - time.monotonic(), 0.0))
            page = await self._upstream.get(path)
            if not isinstance(page, Fault):
                return page
            again = page.retry or (page.status == 404 and patient)
            if not again or turn == TRIES:
                return page
            wait = min(pause if page.retry_after is None else page.retry_after, LONGEST)
            if page.status == 429:
                self._quiet_until = max(self._quiet_until, time.monotonic() + wait)
            else:
                await asyncio.sleep(wait)
            pause *= 2
        raise AssertionError("the last turn returns")
