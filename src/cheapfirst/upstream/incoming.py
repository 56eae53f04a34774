"""One answer as it comes in: what has arrived so far, and the Outcome that it makes."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from cheapfirst.messages import Fault, Outcome, Wire
from cheapfirst.upstream import faults, outcome
from cheapfirst.upstream.assemble import Assembly, has_token
from cheapfirst.upstream.call import Call
from cheapfirst.upstream.clock import Clock
from cheapfirst.upstream.faults import Failed
from cheapfirst.upstream.sse import DONE, Event, Parser


class Incoming:
    """What one call has brought so far."""

    def __init__(self, call: Call) -> None:
        self.clock = Clock(call.timeouts, call.budget, streamed=call.streamed)
        self.headers: Mapping[str, str] | None = None  # None: none came
        self.body: Wire = {}  # of a whole answer, as soon as it is there
        self.whole = False  # the answer came, or was to come, in one piece
        self.parser: Parser | None = None  # of a stream, once it has begun
        self.pieces: list[bytes] = []  # of a whole answer
        self._request = call.body
        self._assembly = Assembly()
        self._done = False

    @property
    def complete(self) -> bool:
        """Whether the answer is whole: what could still follow is its usage."""
        return self._assembly.finished or self.clock.ended

    def take(self, event: Event, *, last: bool) -> Wire | None:
        """Take one event of the stream; return its chunk, or None when it has none.

        `last` says that the stream's end, not a blank line, ended the event. Raises Failed for what is not
        a JSON object.
        """
        data = event.data.strip()
        if self._done or not data:
            return None
        if data == DONE:
            self._done = True
            self.clock.end()
            return None
        try:
            chunk = decode(data)
        except Failed:
            if last:  # cut in the middle, which is what the outcome will say
                return None
            raise
        if event.name == "error" and not chunk.get("error"):
            chunk = {"error": chunk}
        if self.clock.first_token is None and has_token(chunk):
            self.clock.token()
        self._assembly.add(chunk)
        if chunk.get("error"):
            self.clock.end()
        return chunk

    def outcome(self, fault: Fault | None, secrets: tuple[str, ...]) -> Outcome:
        """The Outcome of what came, or of the fault that ended it."""
        return outcome.read(
            self.body if self.whole else self._assembly.body(),
            self._request,
            headers=self.headers,
            streamed=not self.whole,
            done=self.whole or self._done,
            fault=fault,
            secrets=secrets,
            duration=self.clock.elapsed(),
            first_token=None if self.whole else self.clock.first_token,
        )


def decode(data: bytes) -> Wire:
    """Read a JSON object. Raises Failed with the fault `malformed`."""
    try:
        value = msgspec.json.decode(data)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        raise Failed(faults.make("malformed"))
    return value
