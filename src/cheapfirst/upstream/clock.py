"""Says which of a call's time limits runs out first. Seconds, by a monotonic clock; no I/O."""

from __future__ import annotations

from time import monotonic

from cheapfirst.policy.table import Timeouts

LINGER = 0.25
"""Seconds to wait for what may still follow the end of a stream (usage, the connection's own end)."""


class Clock:
    """The time limits of one call.

    Until the first token, `first_token` counts from the start of the call, whatever comments and empty chunks
    arrive meanwhile: they keep a connection alive and are no tokens. After it, `silence` counts from the last
    bytes of any kind, comments too. A whole answer has no first token: until its body begins only `total` counts.
    `total` and the budget count all the time, and the budget's end is named `deadline`.
    """

    def __init__(self, timeouts: Timeouts, budget: float, *, streamed: bool) -> None:
        self.began = monotonic()
        self.first_token: float | None = None  # seconds; None: none came
        self._timeouts = timeouts
        self._budget = budget
        self._streamed = streamed
        self._heard: float | None = None  # when silence began to count; None: not yet
        self._ended: float | None = None  # when the answer's own end came; None: not yet

    def token(self) -> None:
        """The first token, or one more, has come."""
        if self.first_token is None:
            self.first_token = self.elapsed()

    def listen(self, *, begun: bool = True) -> None:
        """Start counting silence anew, once the answer has begun: the time a caller takes over a chunk is not ours."""
        if begun:
            self._heard = monotonic()

    def end(self) -> None:
        """The answer is over: from here on only what may still follow is waited for."""
        if self._ended is None:
            self._ended = monotonic()

    @property
    def ended(self) -> bool:
        """Whether the answer is over."""
        return self._ended is not None

    def elapsed(self) -> float:
        """Seconds since the call began."""
        return monotonic() - self.began

    def next(self) -> tuple[float, str]:
        """Seconds until the first limit runs out (negative: it has), and the fault that this is."""
        when, name = self.began + self._budget, "deadline"
        total = self.began + self._timeouts.total
        if total < when:
            when, name = total, "total_timeout" if self._heard is not None else "silent"
        if self._ended is not None:
            other, named = self._ended + LINGER, "cut_stream"
        elif self._streamed and self.first_token is None:
            other, named = self.began + self._timeouts.first_token, "silent"
        elif self._heard is not None:
            other, named = self._heard + self._timeouts.silence, "stalled"
        else:
            return when - monotonic(), name
        if other < when:
            when, name = other, named
        return when - monotonic(), name
