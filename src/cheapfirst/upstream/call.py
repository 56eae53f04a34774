"""One upstream call as the caller wants it made. Data only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from msgspec import Struct

from cheapfirst.messages import Wire
from cheapfirst.policy.table import Timeouts

if TYPE_CHECKING:
    from cheapfirst.upstream.unfinished import Unfinished


class Call(Struct, frozen=True, kw_only=True):
    """What to send, and how long it may take."""

    body: Wire  # the complete JSON object with model, models, stream; sent as it is
    timeouts: Timeouts = Timeouts()
    budget: float = 120.0  # seconds left of the request's overall deadline
    headers: Mapping[str, str] = {}  # further request headers, e.g. x-session-id
    left: Callable[[Unfinished], bool] | None = None
    """Called when the caller leaves a call that was sent; returns whether it takes over the rest, which else is cut."""

    @property
    def streamed(self) -> bool:
        """Whether the body asks for a stream."""
        return self.body.get("stream") is True
