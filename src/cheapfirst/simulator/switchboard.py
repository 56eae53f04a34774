"""Decides which faults a request meets: named by the request itself, next in a script, or drawn by its seed."""

from __future__ import annotations

import random
from collections import deque
from typing import Any

from msgspec import Struct, field

from cheapfirst.errors import SimulatorError, nearest
from cheapfirst.messages import Wire
from cheapfirst.simulator.faults import FAULTS, applies
from cheapfirst.simulator.models import SimModel

HEADER = "X-Cheapfirst-Simulate"
EVERY = "*"


class Switchboard(Struct, kw_only=True):
    """Rates by model (`*` for every model) and scripts that are used up request by request."""

    rates: dict[str, dict[str, float]]
    scripts: dict[str, deque[str]] = field(default_factory=dict)

    def choose(
        self, model: SimModel, asked: tuple[str, ...] | None, rng: random.Random, *, stream: bool
    ) -> tuple[str, ...]:
        """Name the faults of one request to one model.

        What the request asks for (`asked`, also when empty) is all it gets; else the next of the model's
        script, then of the script for every model; else each rate is drawn from `rng`.
        """
        if asked is not None:
            return asked
        for key in (model.id, EVERY):
            script = self.scripts.get(key)
            if script and applies(script[0], stream=stream):
                return (script.popleft(),)
        return self._draw(model, rng, stream=stream)

    def _draw(self, model: SimModel, rng: random.Random, *, stream: bool) -> tuple[str, ...]:
        rates = {**self.rates.get(EVERY, {}), **self.rates.get(model.id, {})}
        if not any(rates.values()):
            return ()
        found: list[str] = []
        taken: set[str] = set()
        for name, kind in FAULTS.items():
            # One draw per fault whatever the rates are: switching one on does not move the others.
            hit = rng.random() < rates.get(name, 0.0)
            if hit and applies(name, stream=stream) and kind.stage not in taken:
                found.append(name)
                if kind.stage != "form":
                    taken.add(kind.stage)
        return tuple(found)

    def script(self, name: str, *, model: str = EVERY, times: int = 1) -> None:
        """Give the next `times` requests (to a model) this fault. Raises SimulatorError for an unknown one."""
        check(name)
        self.scripts.setdefault(model, deque()).extend([name] * times)

    def page(self) -> dict[str, Any]:
        """The state as `/_simulator/faults` shows it."""
        return {
            "simulated": True,
            "rates": self.rates,
            "scripts": {model: list(names) for model, names in self.scripts.items() if names},
            "faults": {name: {"stage": k.stage, "on": k.on, "what": k.what} for name, k in FAULTS.items()},
        }


def check(name: str) -> str:
    """The name itself when it is a fault; else SimulatorError with the nearest one."""
    if name not in FAULTS:
        raise SimulatorError(f"unknown fault {name!r}{nearest(name, FAULTS)}; GET /_simulator/faults lists them all")
    return name


def asked_for(body: Wire, header: str | None) -> str | None:
    """The faults a request names for itself: `metadata.simulate`, else the header; None when it names none."""
    named = (body.get("metadata") or {}).get("simulate")
    return str(named) if named is not None else header


def asked_of(named: str | None, model: SimModel, *, first: bool, stream: bool) -> tuple[str, ...] | None:
    """Which of them are meant for one model: `fault` for the first model tried, `fault@author/slug` for that one.

    `none` (or nothing) means no fault at all. Returns None when the request names none for any model.
    Raises SimulatorError for an unknown fault, or one that this kind of request cannot meet.
    """
    if named is None:
        return None
    found: list[str] = []
    for entry in named.split(","):
        name, _, target = entry.strip().partition("@")
        if name in ("", "none"):
            continue
        if not applies(check(name), stream=stream):
            kind = "streamed" if FAULTS[name].on == "stream" else "whole (not streamed)"
            raise SimulatorError(f"fault {name!r} happens to {kind} answers only")
        if target == model.id if target else first:
            found.append(name)
    return tuple(found)
