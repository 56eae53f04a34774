"""The simulator itself: start it, stop it, read its books, switch its faults."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from cheapfirst.errors import SimulatorError
from cheapfirst.simulator import exchange
from cheapfirst.simulator.answerer import Answerer
from cheapfirst.simulator.answers import answer
from cheapfirst.simulator.options import Options, check_rates
from cheapfirst.simulator.switchboard import EVERY

if TYPE_CHECKING:
    from aiohttp import web


class Simulator:
    """A local upstream that speaks OpenRouter's wire. One instance listens on one address."""

    def __init__(self, options: Options | None = None, *, answerer: Answerer | None = None) -> None:
        """Prepare it; nothing listens yet. `answerer` makes the answers up (default: the shipped one).

        Raises SimulatorError when the options' replay file cannot be read.
        """
        self.options = options or Options()
        self._answerer = answerer or answer
        self.world = exchange.begin(self.options, self._answerer)
        self._runner: web.AppRunner | None = None

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Listen, and return the base URL for clients (it ends in `/api/v1`). Port 0 takes a free one.

        Raises OSError when the address is taken, SimulatorError when it listens already.
        """
        from cheapfirst.simulator import routes

        if self._runner is not None:
            raise SimulatorError("this simulator listens already; stop it first, or make another")
        self._runner = await routes.listen(self, host, port)
        bound = self._runner.addresses[0]
        name = f"[{host}]" if ":" in host else host
        return f"http://{name}:{bound[1]}/api/v1"

    async def stop(self) -> None:
        """Stop listening; requests still held are let go. Harmless when it does not listen."""
        runner, self._runner = self._runner, None
        if runner is not None:
            await runner.cleanup()
            await asyncio.sleep(0)

    def books(self) -> dict[str, Any]:
        """Everything billed since the last reset, as `GET /_simulator/books` shows it."""
        return self.world.books.page()

    def reset(self) -> None:
        """Forget books, caches, scripts and repeats; fault rates are those of the options again."""
        self.world = exchange.begin(self.options, self._answerer)

    def script(self, fault: str, *, model: str = EVERY, times: int = 1) -> None:
        """Give the next `times` requests (to a model) this fault. Raises SimulatorError for an unknown one."""
        self._known(model)
        self.world.switches.script(fault, model=model, times=times)

    def rates(self, faults: dict[str, float], *, model: str = EVERY) -> None:
        """Set the share of requests (to a model) that meet each fault; it replaces the shares set before.

        Raises SimulatorError for an unknown fault or model, or a share outside 0 to 1.
        """
        self._known(model)
        check_rates(faults, f"faults for {model}")
        self.world.switches.rates[model] = dict(faults)

    def _known(self, model: str) -> None:
        if model != EVERY and model not in self.world.models:
            raise SimulatorError(f"no simulated model {model!r}; there are {', '.join(self.world.models)}")
