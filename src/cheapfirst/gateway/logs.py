"""Structured logs: one line a request, and the program's own messages, in one format. No line holds text or a key.

Lines are written by a thread of their own. Where nobody reads them, they are dropped and counted; requests go on.
"""

from __future__ import annotations

import logging
import os
import select
import threading
import time
import traceback
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from queue import Empty, SimpleQueue
from typing import Any, Literal, TypeAlias

import msgspec

from cheapfirst.gateway.problem import Problem
from cheapfirst.messages import Ending, Story

Format: TypeAlias = Literal["json", "text"]

WAITING = 10_000
"""Lines that may wait to be written; the next ones are dropped."""

PAUSE = 0.05
"""Seconds the writer gathers lines before it writes again: waking it for each one would cost more than the line."""

LEVELS: dict[Ending, str] = {
    "accepted": "info",
    "returned": "info",
    "cancelled": "info",
    "rejected": "warning",
    "cut-off": "warning",
    "ceiling": "warning",
    "fault": "error",
    "deadline": "error",
    "error": "error",
}

_JSON = msgspec.json.Encoder(decimal_format="number")
_END = object()


class Logs:
    """Writes lines to a file descriptor (absent: standard error). `requests`: one for each request too.

    `lost` counts lines that were dropped since the start.
    """

    def __init__(self, format: Format, *, fd: int = 2, requests: bool = True) -> None:
        self.lost = 0
        self._format = format
        self._fd = fd
        self._requests = requests
        self._lines: SimpleQueue[Any] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._starting = threading.Lock()

    def ended(self, story: Story, trace_id: str | None = None) -> None:
        """Write the line of a finished request."""
        if self._requests:
            self.write(of_story(story, trace_id))

    def refused(self, path: str, problem: Problem) -> None:
        """Write the line of a request that was answered with a problem before anything was tried."""
        if self._requests:
            self.write(
                {
                    "time": time.time(),
                    "level": "error" if problem.status >= 500 else "warning",
                    "event": "refused",
                    "request_id": problem.request_id,
                    "path": path,
                    "status": problem.status,
                    "code": problem.code,
                }
            )

    def write(self, fields: dict[str, Any]) -> None:
        """Hand a line over. Never waits; `time` is Unix seconds."""
        if self._lines.qsize() >= WAITING:
            self.lost += 1
            return
        self._lines.put(fields)
        if self._thread is None:
            self._start()

    def close(self, timeout: float = 2.0) -> None:
        """Write what waits, for `timeout` seconds at most. Lines written afterwards start anew."""
        with self._starting:
            thread, self._thread = self._thread, None
        if thread is not None:
            self._lines.put(_END)
            thread.join(timeout)

    def _start(self) -> None:
        with self._starting:
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="cheapfirst-logs", daemon=True)
                self._thread.start()

    def _run(self) -> None:
        ended = False
        while not ended:
            taken = [self._lines.get()]
            try:
                while len(taken) < 1000:
                    taken.append(self._lines.get_nowait())
            except Empty:
                pass
            ended = any(one is _END for one in taken)
            lines = [line(one, self._format) for one in taken if one is not _END]
            try:
                for piece in _pieces(lines):
                    _write(self._fd, piece)
            except OSError:  # nobody reads any more
                self.lost += len(lines)
            if not ended:
                time.sleep(PAUSE)


class Direct(Logs):
    """Writes each line at once, without a thread: for a process that forks."""

    def write(self, fields: dict[str, Any]) -> None:
        try:
            _write(self._fd, line(fields, self._format))
        except OSError:
            self.lost += 1


class Handler(logging.Handler):
    """Sends the program's own messages (ours, the server's, any library's) the same way."""

    def __init__(self, logs: Logs) -> None:
        super().__init__()
        self._logs = logs

    def emit(self, record: logging.LogRecord) -> None:
        """Hand the message over. Of an exception: its kind and where it was raised, not what it says, which may be
        somebody's text."""
        try:
            fields: dict[str, Any] = {
                "time": record.created,
                "level": record.levelname.lower(),
                "event": "message",
                "logger": record.name,
                "message": record.getMessage(),
            }
            if record.exc_info is not None and record.exc_info[0] is not None:
                fields["exception"] = record.exc_info[0].__name__
                fields["at"] = [
                    f"{frame.filename}:{frame.lineno} {frame.name}"
                    for frame in traceback.extract_tb(record.exc_info[2])
                ]
            self._logs.write(fields)
        except Exception:  # noqa: BLE001 - a message that cannot be formatted fails nobody
            self.handleError(record)


def install(logs: Logs) -> Handler:
    """Send the messages of every logger of this process through `logs`."""
    handler = Handler(logs)
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    return handler


def of_story(story: Story, trace_id: str | None = None) -> dict[str, Any]:
    """The fields of a finished request's line. Amounts are USD, durations seconds; null means unknown."""
    attempts = story.attempts
    last = attempts[-1] if attempts else None
    won = attempts[story.winner - 1] if story.winner is not None else last
    fields: dict[str, Any] = {
        "time": story.time + story.duration,
        "level": LEVELS[story.ending],
        "event": "request",
        "request_id": story.request.id,
        "task": story.request.task,
        "tier": won.planned.tier if won is not None else story.plan.tier,
        "model": won.model if won is not None else None,
        "ending": story.ending,
        "attempts": len(attempts),
        "escalated": story.escalated,
        "cost": story.cost,
        "duration": round(story.duration, 6),
    }
    if story.first_token is not None:
        fields["first_token"] = round(story.first_token, 6)
    faults = [attempt.outcome.fault.name for attempt in attempts if attempt.outcome.fault is not None]
    if faults:
        fields["faults"] = faults
    reasons = [
        finding.code for attempt in attempts if attempt.verdict is not None for finding in attempt.verdict.findings
    ]
    if reasons:
        fields["reasons"] = list(dict.fromkeys(reasons))
    if trace_id is not None:
        fields["trace_id"] = trace_id
    return fields


def line(fields: dict[str, Any], format: Format) -> bytes:
    """One line, with its end. Nothing in the fields can begin another one."""
    at = datetime.fromtimestamp(fields["time"], UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    told = {**fields, "time": at}
    try:
        if format == "json":
            return _JSON.encode(told) + b"\n"
        words = [at, str(told.pop("level")).upper(), str(told.pop("event"))]
        del told["time"]
        words += [f"{name}={_plain(value)}" for name, value in told.items() if value is not None]
        return " ".join(words).encode() + b"\n"
    except (TypeError, ValueError):  # text that is no Unicode
        return _JSON.encode({"time": at, "level": "error", "event": "unwritable"}) + b"\n"


def _plain(value: Any) -> str:
    """A value as one word, quoted where it is not one."""
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, str) and value and all(character.isalnum() or character in "_-./:@+*" for character in value):
        return value
    return _escaped(_JSON.encode(value).decode())


def _escaped(text: str) -> str:
    """Without characters that end a line or steer a terminal: the encoder leaves those above ASCII as they are."""
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def _pieces(lines: list[bytes]) -> Iterator[bytes]:
    """The lines in pieces that a pipe takes as a whole, so that those of several processes do not mix."""
    begin, size = 0, 0
    for at, one in enumerate(lines):
        if size and size + len(one) > select.PIPE_BUF:
            yield b"".join(lines[begin:at])
            begin, size = at, 0
        size += len(one)
    yield b"".join(lines[begin:])


def _write(fd: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(fd, view) :]
