"""A simulator on a thread of its own, for synchronous programs and tests."""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from cheapfirst.simulator.answerer import Answerer
from cheapfirst.simulator.options import Options
from cheapfirst.simulator.server import Simulator
from cheapfirst.simulator.switchboard import EVERY

T = TypeVar("T")


class Handle:
    """A running simulator, spoken to from another thread."""

    def __init__(self, simulator: Simulator, base_url: str, loop: asyncio.AbstractEventLoop) -> None:
        self.base_url = base_url
        self._simulator = simulator
        self._loop = loop

    def books(self) -> dict[str, Any]:
        """What was billed so far, as `GET /_simulator/books` shows it."""
        return self._call(self._simulator.books)

    def reset(self) -> None:
        """Forget everything: books, caches, scripts, repeats; rates are those of the options again."""
        self._call(self._simulator.reset)

    def script(self, *faults: str, model: str = EVERY) -> None:
        """Give the next requests (to a model) these faults, one each. Raises SimulatorError for an unknown one."""

        def add() -> None:
            for fault in faults:
                self._simulator.script(fault, model=model)

        self._call(add)

    def rates(self, faults: dict[str, float], *, model: str = EVERY) -> None:
        """Set the share of requests (to a model) that meet each fault. Raises SimulatorError for a wrong one."""
        self._call(lambda: self._simulator.rates(faults, model=model))

    def _call(self, function: Callable[[], T]) -> T:
        done: concurrent.futures.Future[T] = concurrent.futures.Future()

        def run() -> None:
            try:
                done.set_result(function())
            except Exception as error:  # noqa: BLE001 - it belongs to the caller's thread
                done.set_exception(error)

        self._loop.call_soon_threadsafe(run)
        return done.result()


@contextmanager
def serve_in_thread(
    options: Options | None = None, *, answerer: Answerer | None = None, host: str = "127.0.0.1", port: int = 0
) -> Iterator[Handle]:
    """Run a simulator for the length of a `with` block.

    Raises SimulatorError for options it cannot serve, OSError when it cannot listen.
    """
    simulator = Simulator(options, answerer=answerer)
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="cheapfirst-simulator", daemon=True)
    thread.start()
    try:
        base_url = asyncio.run_coroutine_threadsafe(simulator.start(host, port), loop).result()
        try:
            yield Handle(simulator, base_url, loop)
        finally:
            asyncio.run_coroutine_threadsafe(simulator.stop(), loop).result()
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
