"""A loopback server that answers chat completions with usage from a fixed list, so that exports need no network."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Call:
    """One call to make and what the upstream says of it. Simulated: no model is behind it."""

    model: str  # as its provider names it
    prompt: int  # tokens, the cached ones included
    completion: int  # tokens, the reasoning ones included
    cached: int = 0
    reasoning: int = 0
    task: str | None = None
    feature: str | None = None
    team: str | None = None
    stream: bool = False
    status: int = 200
    cost: float | None = None  # as OpenRouter reports it


CALLS = (
    Call("gpt-4o-mini", 1200, 85, task="extract", feature="inbox", team="acme"),
    Call("gpt-4o-mini", 3050, 140, cached=2048, task="extract", feature="inbox", team="acme"),
    Call("gpt-4o-mini", 977, 33, task="classify", feature="inbox", team="globex"),
    Call("gpt-4o", 2113, 540, task="draft", feature="reports", team="globex"),
    Call("gpt-4o", 4096, 1201, cached=1024, task="draft", feature="reports", team="acme", stream=True),
    Call("o4-mini", 640, 2200, reasoning=1984, task="reason", feature="planner", team="acme"),
    Call("gpt-4.1-nano", 150, 12, task="classify", team="acme"),
    Call("gpt-4.1-nano", 158, 9, feature="inbox"),
    Call("gpt-4o-mini", 500, 0, task="extract", feature="inbox", team="acme", status=429),
    Call("gpt-4.1-mini", 8000, 1000, cached=4096, task="summarize", feature="reports", team="globex"),
    Call("gpt-4.1-mini", 7777, 333, task="summarize", feature="reports", team="globex"),
    Call("acme-internal-7b", 321, 123, task="summarize", feature="reports", team="acme"),
)
"""The calls of every export, in this order."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    calls: Iterator[Call]
    number = 0

    def do_POST(self) -> None:
        json.loads(self.rfile.read(int(self.headers["content-length"])))
        call = next(type(self).calls)
        type(self).number += 1
        if call.status != 200:
            self._send(
                call.status, json.dumps({"error": {"message": "Rate limit reached", "type": "requests"}}).encode()
            )
        elif call.stream:
            self._send(200, b"".join(_chunks(call, self.number)), "text/event-stream")
        else:
            self._send(200, json.dumps(body(call, self.number)).encode())

    def _send(self, status: int, body: bytes, kind: str = "application/json") -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def _usage(call: Call) -> dict[str, Any]:
    usage: dict[str, Any] = {
        "prompt_tokens": call.prompt,
        "completion_tokens": call.completion,
        "total_tokens": call.prompt + call.completion,
        "prompt_tokens_details": {"cached_tokens": call.cached, "audio_tokens": 0},
        "completion_tokens_details": {"reasoning_tokens": call.reasoning, "audio_tokens": 0},
    }
    return usage if call.cost is None else {**usage, "cost": call.cost}


def _head(call: Call, number: int, kind: str) -> dict[str, Any]:
    return {"id": f"chatcmpl-made-up-{number:04d}", "object": kind, "created": 1790000000, "model": call.model}


def body(call: Call, number: int) -> dict[str, Any]:
    """The answer to a call: a chat.completion."""
    choice = {"index": 0, "message": {"role": "assistant", "content": "made up"}, "finish_reason": "stop"}
    return {**_head(call, number, "chat.completion"), "choices": [choice], "usage": _usage(call)}


def _chunks(call: Call, number: int) -> Iterator[bytes]:
    head = _head(call, number, "chat.completion.chunk")
    for delta, finish in (({"role": "assistant", "content": "made"}, None), ({"content": " up"}, "stop")):
        choice = {"index": 0, "delta": delta, "finish_reason": finish}
        yield b"data: " + json.dumps({**head, "choices": [choice]}).encode() + b"\n\n"
    yield b"data: " + json.dumps({**head, "choices": [], "usage": _usage(call)}).encode() + b"\n\n"
    yield b"data: [DONE]\n\n"


@contextmanager
def serving() -> Iterator[str]:
    """Answer CALLS one after the other; yields the base URL."""
    handler = type("Handler", (_Handler,), {"calls": iter(CALLS)})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    finally:
        server.shutdown()
