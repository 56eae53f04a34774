"""Stops calling a model that keeps failing, and tries it again with one call after a pause. Pure; never waits.

closed ── enough calls, too large a share of them faults ──> open
open ──── the pause is over ──> half-open: one probe in each pause
half-open ── the probe's fault ──> open        half-open ── the probe's answer ──> closed
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from cheapfirst.messages import Fault
from cheapfirst.policy.table import BreakerOptions

State: TypeAlias = Literal["closed", "open", "half-open"]
Pass: TypeAlias = Literal["call", "probe"]

COUNTED = frozenset(
    {
        *("connect", "connect_timeout", "tls", "no_response", "silent", "stalled", "total_timeout", "cut_stream"),
        *("malformed", "error_finish", "server_error", "provider_unavailable", "overloaded", "timeout"),
    }
)
"""Faults that say that the model or the way to it is in trouble."""

REPEATED = 3
"""So many `rate_limited` in a row, without an answer between them, count as a fault each from the last of them on."""

SILENT_ON = frozenset({"deadline", "closed", "unsendable", "redirect", "breaker_open", "upstream_busy", "cancelled"})
"""Faults that say nothing about the model: neither good nor bad."""

LEFT = Fault(name="cancelled", sentence="The caller left before the call had ended.")
"""Reported for a call that nobody waited for: it says nothing about the model."""

SLOTS = 10  # parts of the window that are forgotten one by one
MOST = 1000  # models watched at once


class Breaker:
    """The breaker of one model. Times are seconds by any steadily growing clock, always the same one."""

    def __init__(self, options: BreakerOptions) -> None:
        self._share, self._least, self._pause = options.share, options.least, options.pause
        self._width = options.window / SLOTS
        self._calls = [0] * SLOTS
        self._bad = [0] * SLOTS
        self._slot = 0  # number of the slot that counts now, since the clock's zero
        self._limited = 0  # `rate_limited` in a row
        self._opened = False
        self._probed = False  # a probe is out
        self._until = 0.0  # open: when the next probe may go

    def admit(self, now: float) -> Pass | None:
        """Whether a call may be made, and as what; None: it may not."""
        if not self._opened:
            return "call"
        if now < self._until:
            return None
        self._until = now + self._pause
        self._probed = True
        return "probe"

    def report(self, passed: Pass, fault: Fault | None, now: float) -> None:
        """Say how a call that was admitted ended; None: with an answer, good or bad."""
        bad = self._is_bad(fault)
        if bad is None:
            if passed == "probe" and self._opened:
                self._until = now  # it told nothing: the next call is the probe
            return
        if self._opened:
            if passed == "probe":
                self._probed = False
                if bad:
                    self._until = now + self._pause
                else:
                    self._close()
            return
        slot = self._turn(now)
        self._calls[slot] += 1
        if not bad:
            return
        self._bad[slot] += 1
        calls = sum(self._calls)
        if calls >= self._least and sum(self._bad) >= self._share * calls:
            self._opened, self._probed, self._until = True, False, now + self._pause

    def state(self, now: float) -> State:
        """What it would say now."""
        if not self._opened:
            return "closed"
        return "half-open" if self._probed or now >= self._until else "open"

    def wait(self, now: float) -> float:
        """Seconds until the next probe may go."""
        return max(0.0, self._until - now) if self._opened else 0.0

    def _is_bad(self, fault: Fault | None) -> bool | None:
        """Whether a call's end counts as a fault of the model; None: it does not count at all."""
        if fault is None:
            self._limited = 0
            return False
        if fault.name == "rate_limited":
            self._limited += 1
            return True if self._limited >= REPEATED else None
        if fault.name in SILENT_ON:
            return None
        self._limited = 0
        return fault.name in COUNTED

    def _turn(self, now: float) -> int:
        """Forget the slots that have left the window, and return the one that counts now."""
        number = int(now / self._width)
        if number != self._slot:
            for gone in range(max(self._slot + 1, number - SLOTS + 1), number + 1):
                self._calls[gone % SLOTS] = self._bad[gone % SLOTS] = 0
            self._slot = number
        return number % SLOTS

    def _close(self) -> None:
        self._opened = self._probed = False
        self._limited = 0
        self._calls = [0] * SLOTS
        self._bad = [0] * SLOTS


class Breakers:
    """The breakers of one upstream, by model."""

    def __init__(self, options: BreakerOptions) -> None:
        self._options = options
        self._by_model: dict[str, Breaker] = {}

    def of(self, model: str) -> Breaker:
        """The model's breaker. Beyond a thousand models the one known longest is forgotten."""
        found = self._by_model.get(model)
        if found is None:
            if len(self._by_model) >= MOST:
                del self._by_model[next(iter(self._by_model))]
            found = self._by_model[model] = Breaker(self._options)
        return found

    def states(self, now: float) -> dict[str, str]:
        """Every model that was called, with its breaker's state."""
        return {model: breaker.state(now) for model, breaker in self._by_model.items()}
