"""One upstream call as the caller wants it made. Data only."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from cheapfirst.messages import Wire
from cheapfirst.policy.table import Timeouts


class Call(Struct, frozen=True, kw_only=True):
    """What to send, and how long it may take."""

    body: Wire  # the complete JSON object with model, models, stream; sent as it is
    timeouts: Timeouts = Timeouts()
    budget: float = 120.0  # seconds left of the request's overall deadline
    headers: Mapping[str, str] = {}  # further request headers, e.g. x-session-id

    @property
    def streamed(self) -> bool:
        """Whether the body asks for a stream."""
        return self.body.get("stream") is True
