"""Turns the chunks of a chat completion into the events of a streamed response. Pure.

Put together, the events are the response that `whole` would have made of the same answer.
"""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from cheapfirst.gateway.faces.responses import parts
from cheapfirst.gateway.faces.responses.answering import begun, ended, response
from cheapfirst.gateway.faces.responses.growing import Call, Calls, Item, Message, Reasoning
from cheapfirst.gateway.problem import Problem
from cheapfirst.messages import Wire

_Grown = TypeVar("_Grown", bound=Item)

_TEXT = frozenset(["role", "content"])
"""All that the delta of a chunk of text has."""

_ENCODER = msgspec.json.Encoder(decimal_format="number")


class Events:
    """A stream's chunks as the protocol's events. One text or reasoning is open at a time; calls stay open side by
    side until the end, as upstreams may stream them."""

    def __init__(self, asked: Wire, request_id: str) -> None:
        self._asked = asked
        self._request_id = request_id
        self._number = 0
        self._pieces: list[bytes] = []
        self._top: Wire = {}  # the chunks' own fields: model, usage, the trail
        self._finish: object = None
        self._output: list[Item] = []
        self._speaking: Reasoning | Message | None = None
        self._calls = Calls()

    def feed(self, chunk: Wire) -> bytes:
        """One chunk."""
        if (said := self._more_text(chunk)) is not None:
            self._message().grow(said, [])
            return self._said()
        for name, value in chunk.items():
            if name != "choices" and value is not None:
                self._top[name] = value
        self._begin()
        choice = parts.first(chunk.get("choices"))
        delta = choice.get("delta")
        if isinstance(delta, dict) and delta:
            self._take(delta, choice)
        if self._finish is None:
            self._finish = choice.get("finish_reason")
        return self._said()

    def end(self) -> bytes:
        """The ends of the open items, and the whole response."""
        self._begin()
        cut = ended(self._finish)[0] == "incomplete"
        open = [*self._calls] if self._speaking is None else [self._speaking, *self._calls]
        for item in sorted(open, key=lambda item: item.index):
            item.close("incomplete" if cut and item is self._output[-1] else "completed")
        output = [item.whole() for item in self._output]
        told = response(self._top, self._asked, self._request_id, output, self._finish)
        self._say(f"response.{told['status']}", response=told)
        return self._said()

    def fail(self, problem: Problem) -> bytes:
        """An error inside the stream: the protocol's error event, then the response as a failed one."""
        self._begin()
        self._say("error", code=problem.code, message=problem.message, param=problem.param)
        told = {
            **begun(self._top, self._asked, self._request_id),
            "status": "failed",
            "error": {"code": "server_error", "message": problem.message},
            "output": [item.whole("incomplete") for item in self._output],
        }
        if problem.trail is not None:
            told["cheapfirst"] = problem.trail
        self._say("response.failed", response=told)
        return self._said()

    def _begin(self) -> None:
        if self._number == 0:
            told = begun(self._top, self._asked, self._request_id)
            self._say("response.created", response=told)
            self._say("response.in_progress", response=told)

    def _more_text(self, chunk: Wire) -> str | None:
        """The text of a chunk that brings more of the text that is open, and nothing else: most chunks are such."""
        choices = chunk.get("choices")
        if not isinstance(self._speaking, Message) or chunk.get("usage"):
            return None
        if not isinstance(choices, list) or len(choices) != 1 or not isinstance(choice := choices[0], dict):
            return None
        if choice.get("finish_reason") or choice.get("logprobs") or choice.get("index"):
            return None
        delta = choice.get("delta")
        if not isinstance(delta, dict) or not delta.keys() <= _TEXT:
            return None
        said = delta.get("content")
        return said if isinstance(said, str) and said else None

    def _take(self, delta: Wire, choice: Wire) -> None:
        thought, details = parts.reasoning(delta)
        if thought or details:
            self._reasoning().grow(thought, details)
        said, odds = parts.text(delta.get("content")), parts.logprobs(choice)
        if said:
            self._message().grow(said, odds)
        refused = delta.get("refusal")
        if isinstance(refused, str) and refused:
            self._message().refuse(refused)
        if cited := parts.citations(delta):
            self._message().cite(cited)
        if rest := parts.unknown(delta):
            self._message().keep(rest)
        for call in parts.calls(delta.get("tool_calls")):
            self._call(call).grow(call)

    def _reasoning(self) -> Reasoning:
        if not isinstance(self._speaking, Reasoning):
            self._hush()
            self._speaking = self._add(Reasoning(self._say, self._request_id, len(self._output)))
        return self._speaking

    def _message(self) -> Message:
        if not isinstance(self._speaking, Message):
            self._hush()
            self._speaking = self._add(Message(self._say, self._request_id, len(self._output)))
        return self._speaking

    def _call(self, piece: Wire) -> Call:
        index, call = self._calls.place(piece)
        if call is None:
            self._hush()
            call = self._add(Call(self._say, self._request_id, len(self._output), piece))
            self._calls.put(index, call)
        return call

    def _hush(self) -> None:
        if self._speaking is not None:
            self._speaking.close()
            self._speaking = None

    def _add(self, item: _Grown) -> _Grown:
        self._output.append(item)
        item.open()
        return item

    def _say(self, kind: str, **fields: Any) -> None:
        event = {"type": kind, "sequence_number": self._number, **fields}
        self._number += 1
        self._pieces.append(b"event: " + kind.encode() + b"\ndata: " + _ENCODER.encode(event) + b"\n\n")

    def _said(self) -> bytes:
        said, self._pieces = b"".join(self._pieces), []
        return said
