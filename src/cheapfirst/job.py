"""One request on its way through the cascade: what running it needs, and how far it has come. Data only."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, Protocol

from msgspec import Struct

from cheapfirst.aftermath import Aftermath
from cheapfirst.catalog import Catalog
from cheapfirst.checks import Schema
from cheapfirst.messages import Attempt, Outcome, Plan, Planned, Request, Story
from cheapfirst.plan import Position
from cheapfirst.policy.table import Policy, Route
from cheapfirst.upstream import Upstream
from cheapfirst.upstream.unfinished import Unfinished


class Records(Protocol):
    """Where a job's story goes: the ledger's recorder, or something before it."""

    def record(self, story: Story) -> None: ...


class Job(Struct, frozen=True, kw_only=True):
    """One request with all that running it needs."""

    request: Request
    plan: Plan
    route: Route
    policy: Policy
    catalog: Catalog
    upstream: Upstream
    ledger: Records
    aftermath: Aftermath | None = None  # finds out later what calls cost that did not say it; absent: nobody does
    schema: Schema | None = None
    custom: Mapping[str, Callable[..., Any]] = {}
    headers: Mapping[str, str] = {}  # further headers of every upstream call, e.g. traceparent
    calling: Callable[[], Mapping[str, str]] | None = None  # called before each: headers of that one; they win


class Walk(Struct, kw_only=True):
    """How far a request has come."""

    began: float  # monotonic seconds
    time: float  # Unix seconds
    position: Position = Position()
    attempts: tuple[Attempt, ...] = ()
    waiting: Planned | None = None  # the attempt under way
    started: float = 0.0  # seconds since the beginning when it began
    first_token: float | None = None  # seconds until the caller saw the first text
    told: bool = False  # the story has been recorded
    left: Outcome | None = None  # what had come when the caller left; None: nothing was sent
    rests: tuple[tuple[int, Unfinished], ...] = ()  # by attempt: what is still to come and is waited for

    def elapsed(self) -> float:
        return time.perf_counter() - self.began
