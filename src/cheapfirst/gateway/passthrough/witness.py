"""Reads what an answer says it used while its bytes pass by, without keeping it. Pure.

`usage` and `model` stand at the beginning or the end of an answer, whole or streamed, so two ends of it are enough.
"""

from __future__ import annotations

import json
import re

from msgspec import Struct

from cheapfirst.messages import Wire

KEPT = 64 * 1024
"""Bytes of each end."""

_MODEL = re.compile(r'(?<!\\)"model"\s*:\s*"([^"\\]{1,200})"')
_USAGE = re.compile(r'(?<!\\)"usage"\s*:\s*(?={)')
_DECODER = json.JSONDecoder(parse_float=str)  # costs are read exactly, and from texts too


class Seen(Struct, frozen=True):
    """What an answer said of itself; None where it did not."""

    usage: Wire | None = None
    model: str | None = None
    id: str | None = None


class Witness:
    """Sees an answer pass."""

    def __init__(self) -> None:
        self._head = b""
        self._tail = b""
        self.size = 0  # bytes

    def see(self, data: bytes) -> None:
        """One piece of the answer."""
        self.size += len(data)
        room = KEPT - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data:
            self._tail = (self._tail + data)[-KEPT:]

    def seen(self) -> Seen:
        """What it said."""
        head, tail = self._head.decode(errors="replace"), self._tail.decode(errors="replace")
        if self.size > 2 * KEPT:
            return Seen(_last_usage([tail, head]), _model([tail, head]))
        whole = _object(head + tail)
        if whole is None:
            return Seen(_last_usage([head + tail]), _model([head + tail]))
        usage, model, id = (whole.get(name) for name in ("usage", "model", "id"))
        return Seen(
            usage if isinstance(usage, dict) else None,
            model if isinstance(model, str) else None,
            id if isinstance(id, str) else None,
        )


def _object(text: str) -> Wire | None:
    try:
        found = _DECODER.decode(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _last_usage(texts: list[str]) -> Wire | None:
    for text in texts:
        for match in reversed(list(_USAGE.finditer(text))):
            try:
                found, _ = _DECODER.raw_decode(text, match.end())
            except (ValueError, RecursionError):
                continue
            if isinstance(found, dict) and found:
                return found
    return None


def _model(texts: list[str]) -> str | None:
    for text in texts:
        if (match := _MODEL.search(text)) is not None:
            return match[1]
    return None
