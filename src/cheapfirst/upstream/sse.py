"""Reads server-sent events from bytes as they arrive, however the network cut them.

Follows the event stream format of the HTML standard (section 9.2.6), with one leniency: an event that the end
of the stream left without its blank line is still returned, by `end`.
"""

from __future__ import annotations

from msgspec import Struct

DONE = b"[DONE]"
_BOM = b"\xef\xbb\xbf"


class Event(Struct, frozen=True):
    """One event."""

    data: bytes  # the data lines, joined by line feeds
    name: str = ""  # of the `event:` line; empty: none


class Oversize(ValueError):
    """An event is longer than the limit."""


class Parser:
    """Bytes in, events out. Any split of the same bytes gives the same events.

    `limit` is the longest event accepted, in bytes; a longer one raises Oversize.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._pieces: list[bytes] = []  # of the line that has not ended yet
        self._pending = 0  # bytes in the pieces
        self._data: list[bytes] = []
        self._size = 0  # bytes in the event's data lines
        self._name = ""
        self._first = True
        self._after_cr = False
        self._between = False  # what comes next begins an event

    def feed(self, data: bytes) -> list[Event]:
        """Return the events that `data` completes. Raises Oversize."""
        if not data:
            return []
        if self._between and data.startswith(b"data: ") and data.endswith(b"\n\n") and b"\r" not in data:
            pieces = data[6:-2].split(b"\n\ndata: ")
            if not any(b"\n" in piece for piece in pieces):  # nothing but whole events of one line each
                self._check(len(max(pieces, key=len)))
                return [Event(piece) for piece in pieces]
        if self._after_cr and data[0] == 0x0A:
            data = data[1:]
        self._after_cr = False
        events: list[Event] = []
        for line in data.splitlines(keepends=True):
            if not line.endswith((b"\n", b"\r")):
                self._after_cr = False  # a line has begun since: a following LF ends that one
                self._pieces.append(line)
                self._pending += len(line)
                self._check(self._pending)
                continue
            self._after_cr = line.endswith(b"\r")
            self._line(self._joined(line.rstrip(b"\r\n")), events)
        self._between = not (self._pieces or self._data or self._name or self._after_cr or self._first)
        return events

    def end(self) -> list[Event]:
        """Return the event that the end of the stream left unfinished, if there is one. Raises Oversize."""
        events: list[Event] = []
        if self._pieces:
            self._line(self._joined(b""), events)
        self._line(b"", events)
        return events

    def _joined(self, last: bytes) -> bytes:
        if not self._pieces:
            return last
        line = b"".join([*self._pieces, last])
        self._pieces.clear()
        self._pending = 0
        return line

    def _line(self, line: bytes, events: list[Event]) -> None:
        self._check(len(line))
        if self._first:
            self._first = False
            line = line.removeprefix(_BOM)
        if not line:
            if self._data:
                events.append(Event(b"\n".join(self._data), self._name))
            self._data, self._size, self._name = [], 0, ""
            return
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"data":
            self._data.append(value)
            self._size += len(value) + 1
            self._check(self._size)
        elif field == b"event":
            self._name = value.decode("utf-8", "replace")

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise Oversize(f"an event is longer than {self._limit} bytes")
