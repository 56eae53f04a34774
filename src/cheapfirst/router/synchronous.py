"""`Router`: the asynchronous router for synchronous programs, run on a loop thread of its own."""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from cheapfirst.errors import CheapfirstError
from cheapfirst.ledger import Recorder
from cheapfirst.messages import Answer, Plan
from cheapfirst.policy import Policy
from cheapfirst.router.asynchronous import AsyncRouter, AsyncStream
from cheapfirst.router.request import Input

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")


class Router:
    """`AsyncRouter` for synchronous programs: same arguments, same methods, run on a private loop thread.

    Works inside a running event loop too (notebooks) and may be shared by threads.
    """

    def __init__(
        self,
        policy: str | Path | Policy | None = None,
        *,
        base_url: str | None = None,
        api_key: str | None = None,
        ledger: str | Path | bool | None = None,
        checks: Mapping[str, Callable[..., Any]] | None = None,
    ) -> None:
        self._router = AsyncRouter(policy, base_url=base_url, api_key=api_key, ledger=ledger, checks=checks)
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._owner = os.getpid()

    @property
    def policy(self) -> Policy:
        """The policy in force."""
        return self._router.policy

    @property
    def ledger(self) -> Recorder:
        """Where requests are recorded."""
        return self._router.ledger

    def run(self, task: str, input: Input, **options: Any) -> Answer:
        """Run one request and return its answer; see `AsyncRouter.run`."""
        return self._wait(self._router.run(task, input, **options))

    def stream(self, task: str, input: Input, **options: Any) -> Stream:
        """Run one request and iterate over its text; see `AsyncRouter.stream`."""
        return Stream(self._router.stream(task, input, **options), self._wait)

    def batch(
        self,
        task: str,
        inputs: Iterable[Input | Mapping[str, Any]],
        *,
        concurrency: int | None = None,
        **options: Any,
    ) -> list[Answer | CheapfirstError]:
        """Run many requests; see `AsyncRouter.batch`."""
        return self._wait(self._router.batch(task, inputs, concurrency=concurrency, **options))

    def explain(self, task: str, input: Input, **options: Any) -> Plan:
        """Return the plan of a request without calling anyone; see `AsyncRouter.explain`."""
        return self._router.explain(task, input, **options)

    def close(self) -> None:
        """Close connections, bring the ledger's journal into its database, and end the loop thread."""
        with self._lock:
            loop, self._loop = self._loop, None
        if loop is None or self._owner != os.getpid():
            self._router.ledger.close()
            return

        self._end()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        import asyncio

        future = asyncio.run_coroutine_threadsafe(work, self._running())
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _running(self) -> asyncio.AbstractEventLoop:
        import asyncio

        with self._lock:
            if self._loop is None or self._owner != os.getpid():  # a forked child has the loop but not its thread
                self._owner = os.getpid()
                self._loop = asyncio.new_event_loop()
                # A router that nobody closes is closed when it is collected, at the latest when the program ends.
                self._end = weakref.finalize(self, _end, self._router, self._loop, self._owner)
                threading.Thread(target=_serve, args=(self._loop,), name="cheapfirst", daemon=True).start()
            return self._loop


class Stream:
    """The text of one answer, piece by piece, for synchronous programs. `answer` is set once it has ended."""

    def __init__(self, stream: AsyncStream, wait: Callable[[Coroutine[Any, Any, Any]], Any]) -> None:
        self._stream = stream
        self._wait = wait

    @property
    def answer(self) -> Answer | None:
        """The whole answer; None until the text has ended."""
        return self._stream.answer

    def __iter__(self) -> Iterator[str]:
        pieces = self._stream.__aiter__()
        try:
            while True:
                piece = self._wait(_next(pieces))
                if piece is None:
                    return
                yield piece
        finally:
            self.close()

    def close(self) -> None:
        """Stop early: the upstream call is cancelled and the request recorded as cancelled."""
        self._wait(self._stream.aclose())


def _end(router: AsyncRouter, loop: asyncio.AbstractEventLoop, owner: int) -> None:
    """Close the router on its loop, and the loop; not in a forked child, which has the loop without its thread."""
    if owner != os.getpid() or not loop.is_running():
        return
    import asyncio

    asyncio.run_coroutine_threadsafe(router.disconnect(), loop).result()
    router.ledger.close()  # in this thread: when the interpreter ends, the loop can start no other
    loop.call_soon_threadsafe(loop.stop)


async def _next(pieces: AsyncIterator[str]) -> str | None:
    return await anext(pieces, None)


def _serve(loop: asyncio.AbstractEventLoop) -> None:
    import asyncio

    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
    finally:
        loop.close()
