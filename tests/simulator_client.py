"""A plain HTTP client for the simulator's tests: what really came over the wire, broken or not."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit

from msgspec import Struct

CHEAP = "deepseek/deepseek-v4-flash"
PREMIUM = "anthropic/claude-opus-4.8"
TEXT = "Grüße aus Köln: die Lieferung von Auftrag 4711 kam zu spät an, schade um die schönen Äpfel!"


class Raw(Struct):
    """One answer as bytes."""

    status: int
    headers: dict[str, str]
    data: bytes
    broken: bool = False  # the connection ended before the answer did
    hung: bool = False  # nothing more came in time

    @property
    def json(self) -> Any:
        return json.loads(self.data)

    @property
    def events(self) -> list[str]:
        """The data lines of a stream, comments left out."""
        lines = self.data.decode(errors="replace").replace("\r\n", "\n").split("\n")
        return [line.removeprefix("data: ") for line in lines if line.startswith("data: ")]

    @property
    def done(self) -> bool:
        return bool(self.events) and self.events[-1] == "[DONE]"

    @property
    def chunks(self) -> list[dict[str, Any]]:
        return [json.loads(event) for event in self.events if event != "[DONE]"]

    @property
    def text(self) -> str:
        """The content, streamed or not."""
        if self.headers.get("content-type", "").startswith("text/event-stream"):
            deltas = [choice["delta"] for chunk in self.chunks for choice in chunk.get("choices", [])]
            return "".join(delta.get("content") or "" for delta in deltas)
        return self.json["choices"][0]["message"]["content"] or ""

    @property
    def finishes(self) -> list[Any]:
        choices = [choice for chunk in self.chunks for choice in chunk.get("choices", [])]
        return [choice["finish_reason"] for choice in choices if choice["finish_reason"]]


def body(text: str = TEXT, *, model: str = CHEAP, **more: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], **more}


def call(
    base_url: str,
    payload: Any,
    *,
    path: str = "/chat/completions",
    method: str = "POST",
    headers: dict[str, str] | None = None,
    timeout: float = 10.0,
) -> Raw:
    """Make one request and read until the answer ends, breaks, or nothing comes for `timeout` seconds."""
    url = urlsplit(base_url)
    connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=timeout)
    sent = payload if isinstance(payload, bytes | None) else json.dumps(payload).encode()
    data = b""
    try:
        target = path if path.startswith("/_simulator") else url.path + path
        connection.request(method, target, sent, {"Content-Type": "application/json", **(headers or {})})
        response = connection.getresponse()
        got = {name.lower(): value for name, value in response.getheaders()}
        raw = Raw(response.status, got, b"")
        try:
            while piece := response.read1(65536):
                data += piece
            raw.broken = bool(response.length)
        except (http.client.IncompleteRead, ConnectionError):
            raw.broken = True
        except TimeoutError:
            raw.hung = True
        raw.data = data
        return raw
    except TimeoutError:
        return Raw(0, {}, b"", hung=True)
    except (http.client.RemoteDisconnected, ConnectionError):
        return Raw(0, {}, b"", broken=True)
    finally:
        connection.close()


def get(base_url: str, path: str, **more: Any) -> Raw:
    return call(base_url, None, path=path, method="GET", **more)
