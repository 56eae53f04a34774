"""A call whose caller has left: what has come of it so far, and the rest for whoever wants to wait for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cheapfirst.messages import Fault, Outcome
from cheapfirst.upstream.breaker import LEFT
from cheapfirst.upstream.faults import Failed

if TYPE_CHECKING:
    from cheapfirst.upstream.call import Call
    from cheapfirst.upstream.client import Upstream
    from cheapfirst.upstream.http1 import Connection
    from cheapfirst.upstream.incoming import Incoming


class Unfinished:
    """Made by the client. Whoever takes it over must call `rest` or `close`."""

    def __init__(self, upstream: Upstream, call: Call, answer: Incoming, response: Connection) -> None:
        if answer.headers is None and response.status:
            answer.headers = response.headers
        self.call = call
        self._upstream = upstream
        self._answer = answer
        self._response = response
        self._closed = False

    def outcome(self) -> Outcome:
        """What has come so far, as the fault `cancelled`."""
        return self._answer.outcome(LEFT, self._upstream._secrets)

    async def rest(self) -> Outcome:
        """Read the answer to its end, within the limits that the call has, and return what came of it."""
        fault: Fault | None = None
        try:
            await self._upstream._rest(self._response, self.call, self._answer)
        except Failed as failed:
            fault = failed.fault
        finally:
            self.close()
        return self._answer.outcome(fault, self._upstream._secrets)

    def close(self) -> None:
        """End the call. What was not read of it is lost."""
        if not self._closed:
            self._closed = True
            self._response.end()
