"""Tells metrics, logs and traces what became of each request. Whatever goes wrong there, the request never fails."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from cheapfirst.gateway.logs import Logs
from cheapfirst.gateway.metrics import Metrics, template
from cheapfirst.gateway.problem import Problem
from cheapfirst.job import Records
from cheapfirst.messages import Request, Story

if TYPE_CHECKING:
    from cheapfirst.gateway.tracing import Traced, Tracing

LOG = logging.getLogger("cheapfirst.gateway")

LEFT = 499
"""Stands where a status would: the client left before there was one."""

_PARENT = re.compile(rb"[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")
_STATE = re.compile(rb"[\x20-\x7e\t]{1,512}")


class Telemetry:
    """What a gateway tells of itself. `logs` and `tracing` are there when they were asked for."""

    def __init__(self, known: tuple[str, ...], *, logs: Logs | None = None, tracing: Tracing | None = None) -> None:
        self.metrics = Metrics()
        self.logs = logs
        self.tracing = tracing
        self._known = frozenset(known)
        self._said: set[str] = set()  # parts whose failure has been said

    def watch(self, ledger: Records, headers: Mapping[bytes, bytes], request: Request) -> Watch:
        """Follow one request: what its job's ledger must be, and what goes along with its upstream calls."""
        context = context_of(headers)
        traced = None
        if self.tracing is not None:
            try:
                traced = self.tracing.begin(request, context)
            except Exception as error:  # noqa: BLE001 - never fails a request
                self.failed("traces", error)
        return Watch(self, ledger, context, traced)

    def answered(self, path: str, status: int, problem: Problem | None = None) -> None:
        """An HTTP answer went out. `problem` says what it refused."""
        try:
            label = template(path, self._known)
            self.metrics.answered(label, status)
            if self.logs is not None and problem is not None and problem.trail is None:
                self.logs.refused(label, problem)
        except Exception as error:  # noqa: BLE001 - never fails a request
            self.failed("answers", error)

    def tell(self, story: Story, traced: Traced | None, context: Mapping[str, str]) -> None:
        """A request ended."""
        try:
            self.metrics.record(story)
        except Exception as error:  # noqa: BLE001 - never fails a request
            self.failed("metrics", error)
        if self.logs is not None:
            try:
                self.logs.ended(story, traced.trace_id if traced is not None else _trace_id(context))
            except Exception as error:  # noqa: BLE001 - never fails a request
                self.failed("logs", error)
        if traced is not None:
            try:
                traced.end(story)
            except Exception as error:  # noqa: BLE001 - never fails a request
                self.failed("traces", error)

    def failed(self, part: str, error: Exception) -> None:
        """Count a failure of telemetry itself, and say the first of each part."""
        self.metrics.failed(part)
        if part not in self._said:
            self._said.add(part)
            LOG.error("telemetry (%s) failed with %s; requests are not affected", part, type(error).__name__)

    def close(self) -> None:
        """Send and write what is left."""
        for part, close in (
            ("traces", self.tracing.close if self.tracing is not None else None),
            ("logs", self.logs.close if self.logs is not None else None),
        ):
            if close is not None:
                try:
                    close()
                except Exception as error:  # noqa: BLE001 - never fails a request
                    self.failed(part, error)


class Watch:
    """One request, followed from its beginning to its story."""

    __slots__ = ("_ledger", "_telemetry", "_traced", "headers")

    def __init__(
        self, telemetry: Telemetry, ledger: Records, headers: Mapping[str, str], traced: Traced | None
    ) -> None:
        self._telemetry = telemetry
        self._ledger = ledger
        self._traced = traced
        self.headers = headers
        """The trace context that came, for the upstream."""

    @property
    def calling(self) -> Callable[[], Mapping[str, str]] | None:
        """Called before each upstream call: headers of that call. None: there are none but `headers`."""
        return self._call if self._traced is not None else None

    def record(self, story: Story) -> None:
        """The ledger first, then the others."""
        self._ledger.record(story)
        self._telemetry.tell(story, self._traced, self.headers)

    def _call(self) -> Mapping[str, str]:
        assert self._traced is not None
        try:
            return self._traced.call()
        except Exception as error:  # noqa: BLE001 - never fails a request
            self._telemetry.failed("traces", error)
            return {}


_NONE: Mapping[str, str] = {}


def context_of(headers: Mapping[bytes, bytes]) -> Mapping[str, str]:
    """The W3C trace context of a request's headers; empty when there is none, or one that is not well-formed."""
    parent = headers.get(b"traceparent")
    if parent is None or _PARENT.fullmatch(parent) is None or parent.startswith(b"ff"):
        return _NONE
    state = headers.get(b"tracestate")
    if state is None or _STATE.fullmatch(state) is None:
        return {"traceparent": parent.decode()}
    return {"traceparent": parent.decode(), "tracestate": state.decode()}


def _trace_id(context: Mapping[str, str]) -> str | None:
    parent = context.get("traceparent")
    return parent[3:35] if parent is not None else None
