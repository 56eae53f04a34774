"""Notices that a client has left, and stops the work that was done for it."""

from __future__ import annotations

import asyncio
from types import TracebackType
from typing import Self

from cheapfirst.gateway.asgi import Receive
from cheapfirst.gateway.body import Left


class Leaving:
    """While the block runs, the client's leaving cancels it and ends it with `Left`.

    The body must have been read. Cancelling the upstream call and recording what it cost is the cascade's part.
    """

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._left = False

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._watch = asyncio.ensure_future(self._look())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._watch.cancel()
        if self._left and isinstance(error, asyncio.CancelledError):
            assert self._task is not None
            if self._task.uncancel() == 0:
                raise Left from None

    async def _look(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._left = True
        if self._task is not None:
            self._task.cancel()
