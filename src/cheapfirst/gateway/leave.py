"""Notices that a client has left, and stops the work that was done for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import TracebackType
from typing import Self

from cheapfirst.gateway.asgi import Receive, Scope
from cheapfirst.gateway.body import Left

LEAVERS = "cheapfirst.leavers"
"""In the scope of our own server: functions it calls when the client leaves. Other servers tell it to who asks."""


class Leaving:
    """While the block runs, the client's leaving cancels it and ends it with `Left`.

    The body must have been read. Cancelling the upstream call and recording what it cost is the cascade's part.
    """

    def __init__(self, scope: Scope, receive: Receive) -> None:
        self._leavers: set[Callable[[], None]] | None = scope.get(LEAVERS)
        self._receive = receive
        self._watch: asyncio.Future[None] | None = None
        self._left = False

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        if self._leavers is not None:
            self._leavers.add(self._leave)
        else:
            self._watch = asyncio.ensure_future(self._look())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._leavers is not None:
            self._leavers.discard(self._leave)
        if self._watch is not None:
            self._watch.cancel()
        if self._left and isinstance(error, asyncio.CancelledError):
            assert self._task is not None
            if self._task.uncancel() == 0:
                raise Left from None

    async def _look(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self._leave()

    def _leave(self) -> None:
        self._left = True
        if self._task is not None:
            self._task.cancel()
