"""The chat-completions protocol itself: the gateway's own tongue, so nothing is translated."""

from __future__ import annotations

import msgspec

from cheapfirst.gateway.problem import Problem
from cheapfirst.messages import Wire

KEEP_ALIVE = b": keep-alive\n\n"

_ENCODER = msgspec.json.Encoder(decimal_format="number")


def read(body: Wire) -> Wire:
    """The body as it is."""
    return body


def whole(answer: Wire, asked: Wire, request_id: str) -> Wire:
    """The answer as it is."""
    return answer


def error(problem: Problem) -> Wire:
    """The protocol's error object; `cheapfirst` beside it says what was tried."""
    told: Wire = {
        "error": {
            "message": problem.message,
            "type": problem.type,
            "param": problem.param,
            "code": problem.code,
        }
    }
    if problem.request_id is not None:
        told["error"]["request_id"] = problem.request_id
    if problem.trail is not None:
        told["cheapfirst"] = problem.trail
    return told


class Events:
    """A stream's chunks as server-sent events."""

    def __init__(self, asked: Wire, request_id: str) -> None:
        options = asked.get("stream_options")
        self._usage = isinstance(options, dict) and options.get("include_usage") is True
        self._last: Wire = {"id": request_id, "object": "chat.completion.chunk", "model": ""}

    def feed(self, chunk: Wire) -> bytes:
        """One chunk. The usage chunk is sent to those who asked for it, as OpenAI does."""
        if "usage" in chunk and not chunk.get("choices") and not self._usage:
            return b""
        self._last = chunk
        return b"data: " + _ENCODER.encode(chunk) + b"\n\n"

    def end(self) -> bytes:
        """The protocol's own word that nothing follows."""
        return b"data: [DONE]\n\n"

    def fail(self, problem: Problem) -> bytes:
        """An error inside the stream. [DONE] is not said: nobody may take this for a clean end."""
        chunk: Wire = {
            **{key: self._last[key] for key in ("id", "object", "created", "model") if key in self._last},
            **error(problem),
            "choices": [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}],
        }
        return b"data: " + _ENCODER.encode(chunk) + b"\n\n"
