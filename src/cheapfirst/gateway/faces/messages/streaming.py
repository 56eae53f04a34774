"""Turns the chunks of a chat completion into the events of a streamed message. Pure.

Content blocks come one after the other in this protocol, calls may come side by side from upstreams: the first call
flows, what else comes while it is open waits for the end.
"""

from __future__ import annotations

from typing import Any

import msgspec

from cheapfirst.gateway.faces.messages import answering
from cheapfirst.gateway.faces.messages.erring import error
from cheapfirst.gateway.faces.responses import parts
from cheapfirst.gateway.faces.responses.details import pack
from cheapfirst.gateway.problem import Problem
from cheapfirst.messages import Wire
from cheapfirst.upstream.assemble import Assembly

KEEP_ALIVE = b'event: ping\ndata: {"type":"ping"}\n\n'

_ENCODER = msgspec.json.Encoder(decimal_format="number")
_FAILED = Problem(status=502, code="upstream_error", message="The model's answer ended in an error.")


class Events:
    """A stream's chunks as the protocol's events."""

    def __init__(self, asked: Wire, request_id: str) -> None:
        self._asked = asked
        self._request_id = request_id
        self._pieces: list[bytes] = []
        self._begun = False
        self._top: Wire = {}  # the chunks' own fields: model, usage, the trail
        self._end: Wire = {}  # the choice that brought the finish reason
        self._extras = Assembly()
        self._index = 0  # of the block that is open, or else comes next
        self._open = ""  # its type; empty: none is
        self._details = Assembly()
        self._refused = False
        self._flowing: int | None = None  # the call whose pieces flow
        self._calls: dict[int, Wire] = {}  # those that wait: id, name, the pieces of their arguments
        self._late: list[str] = []  # text that came while a call was open

    def feed(self, chunk: Wire) -> bytes:
        """One chunk."""
        for name, value in chunk.items():
            if name != "choices" and value is not None:
                self._top[name] = value
        self._begin()
        choice = parts.first(chunk.get("choices"))
        delta = choice.get("delta")
        if isinstance(delta, dict) and delta:
            self._take(delta, choice)
        if choice.get("finish_reason") is not None and not self._end:
            self._end = choice
        return self._said()

    def end(self) -> bytes:
        """What waited, and how it ended."""
        self._begin()
        if self._end.get("finish_reason") == "error":
            return self._said() + self.fail(_FAILED)
        self._close()
        if self._late:
            self._text("".join(self._late))
            self._close()
        called = self._flowing is not None or bool(self._calls)
        for index in sorted(self._calls):
            call = self._calls[index]
            self._start(answering.use(call, self._index, self._request_id, {}))
            arguments = answering.parsed("".join(call["arguments"]))
            self._delta({"type": "input_json_delta", "partial_json": _ENCODER.encode(arguments).decode()})
            self._close()
        message = {"refusal": "refused"} if self._refused else {}
        kept = parts.first(self._extras.body().get("choices"))
        given = kept.get("message")
        delta = {
            **answering.extras(given if isinstance(given, dict) else {}, kept),
            "stop_reason": answering.stopped(self._end, called=called, message=message),
            "stop_sequence": None,
        }
        told: Wire = {"delta": delta, "usage": answering.usage(self._top.get("usage"))}
        if "cheapfirst" in self._top:
            told["cheapfirst"] = self._top["cheapfirst"]
        self._say("message_delta", **told)
        self._say("message_stop")
        return self._said()

    def fail(self, problem: Problem) -> bytes:
        """An error inside the stream. message_stop is not said: nobody may take this for a clean end."""
        self._pieces.append(b"event: error\ndata: " + _ENCODER.encode(error(problem)) + b"\n\n")
        return self._said()

    def _begin(self) -> None:
        if not self._begun:
            self._begun = True
            message = {**answering.rest(self._top), **answering.begun(self._top, self._asked, self._request_id)}
            self._say("message_start", message=message)

    def _take(self, delta: Wire, choice: Wire) -> None:
        if delta.keys() - {"role", "content"} or choice.get("logprobs"):
            self._take_more(delta, choice)
        said = parts.text(delta.get("content"))
        if refused := answering.refused(delta):
            self._refused = True
            said += refused
        if said and self._flowing is not None:
            self._late.append(said)
        elif said:
            self._text(said)
        for call in parts.calls(delta.get("tool_calls")):
            self._call(call)

    def _take_more(self, delta: Wire, choice: Wire) -> None:
        thought, details = parts.reasoning(delta)
        if details:
            self._details.add({"choices": [{"delta": {"reasoning_details": details}}]})
        if (thought or details) and self._open == "" and self._index == 0:
            self._start({"type": "thinking", "thinking": "", "signature": ""})
        if thought and self._open == "thinking":
            self._delta({"type": "thinking_delta", "thinking": thought})
        kept = answering.extras(delta, choice)
        if kept:
            odds = {"logprobs": kept.pop("logprobs")} if "logprobs" in kept else {}
            self._extras.add({"choices": [{"index": 0, "delta": kept, **odds}]})

    def _text(self, said: str) -> None:
        if self._open != "text":
            self._close()
            self._start({"type": "text", "text": ""})
        self._delta({"type": "text_delta", "text": said})

    def _call(self, piece: Wire) -> None:
        """The first call flows from its first piece on if that names it; the others wait."""
        index = self._place(piece)
        function = piece.get("function")
        said = parts.arguments(function)
        if self._flowing is None and not self._calls and isinstance(function, dict) and function.get("name"):
            self._close()
            self._flowing = index
            self._start(answering.use(piece, self._index, self._request_id, {}))
        if index == self._flowing:
            if said:
                self._delta({"type": "input_json_delta", "partial_json": said})
            return
        call = self._calls.setdefault(index, {"id": None, "function": {"name": None}, "arguments": []})
        call["id"] = call["id"] or piece.get("id")
        if isinstance(function, dict):
            call["function"]["name"] = call["function"]["name"] or function.get("name")
        call["arguments"].append(said)

    def _place(self, piece: Wire) -> int:
        """The call that a piece belongs to: by its index, or where an upstream numbers nothing by its id."""
        index = piece.get("index")
        if isinstance(index, int):
            return index
        last = max([*self._calls, -1 if self._flowing is None else self._flowing])
        return last + 1 if piece.get("id") or last < 0 else last

    def _start(self, block: Wire) -> None:
        self._open = block["type"]
        self._say("content_block_start", index=self._index, content_block=block)

    def _delta(self, delta: Wire) -> None:
        self._say("content_block_delta", index=self._index, delta=delta)

    def _close(self) -> None:
        if not self._open:
            return
        if self._open == "thinking":
            message = parts.first(self._details.body().get("choices")).get("message") or {}
            if packed := pack(message.get("reasoning_details") or []):
                self._delta({"type": "signature_delta", "signature": packed})
        self._say("content_block_stop", index=self._index)
        self._open = ""
        self._index += 1

    def _say(self, kind: str, **fields: Any) -> None:
        event = {"type": kind, **fields}
        self._pieces.append(b"event: " + kind.encode() + b"\ndata: " + _ENCODER.encode(event) + b"\n\n")

    def _said(self) -> bytes:
        said, self._pieces = b"".join(self._pieces), []
        return said
