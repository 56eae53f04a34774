"""Which protocol is spoken at which path."""

from __future__ import annotations

from typing import Protocol

from cheapfirst.gateway.faces import chat, messages, responses
from cheapfirst.gateway.problem import Problem
from cheapfirst.messages import Wire


class Events(Protocol):
    """Turns the chunks of one stream into the protocol's events."""

    def feed(self, chunk: Wire) -> bytes: ...
    def end(self) -> bytes: ...
    def fail(self, problem: Problem) -> bytes: ...


class MakesEvents(Protocol):
    """Begins a stream: `asked` is the request's body."""

    def __call__(self, asked: Wire, request_id: str) -> Events: ...


class Face(Protocol):
    """A protocol: its requests into chat completions, chat completions into its answers. A module can be one."""

    KEEP_ALIVE: bytes

    @property
    def Events(self) -> MakesEvents: ...
    def read(self, body: Wire) -> Wire: ...
    def whole(self, answer: Wire, asked: Wire, request_id: str) -> Wire: ...
    def error(self, problem: Problem) -> Wire: ...


FACES: dict[str, Face] = {
    "/v1/chat/completions": chat,
    "/v1/responses": responses,
    "/v1/messages": messages,
}
