"""Sums requests up by hour and by day, for each task, feature, tenant, key, tier, model and policy. Pure.

Everything is a sum of whole numbers, so it does not matter in which order or in how many batches rows come in; and a
row that changes later is taken out as it was and put in as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from operator import add
from typing import Literal, TypeAlias

from cheapfirst.ledger.latency import bucket
from cheapfirst.ledger.rows import TOKENS, AttemptRow, RequestRow

HOUR = 3600
DAY = 86400

Span: TypeAlias = Literal["hour", "day"]
By: TypeAlias = Literal["", "task", "feature", "tenant", "key", "tier", "model", "policy"]

SPANS: dict[Span, int] = {"hour": HOUR, "day": DAY}
"""Seconds of each; both begin at full hours and days of UTC."""

BY: tuple[By, ...] = ("", "task", "feature", "tenant", "key", "tier", "model", "policy")
"""What requests are grouped by; "" is all of them in one. Tier and model are those that answered, "" where none did."""

NAMES = 500
"""Groups kept apart in one hour or day and grouping, and likewise reasons and models; further ones are summed up
under OTHER, so that a caller who names each request differently does not fill the disk."""

OTHER = "(other)"

COUNTS = (
    "requests",
    "cheap_planned",
    "cheap_resolved",
    "accepted",
    "returned",
    "cancelled",
    "failed",
    "escalated",
    "forced",
    "attempts",
    "retries",
    "failovers",
    "cutoffs",
    "downgrades",
    "reasks",
    "repaired",
    *TOKENS,
    "cost_unknown",
    "unknown_attempts",
    "baseline_unknown",
    "compared",
)
MONEY = ("cost", "baseline", "wasted", "compared_cost", "compared_baseline")
"""Picodollars."""

MADE_COUNTS = (
    "attempts",
    "won",
    "answers",
    "rejected",
    "cutoffs",
    "refusals",
    "doomed",
    "faults",
    *TOKENS,
    "cost_unknown",
    "priced_prompt_tokens",
    "priced_completion_tokens",
)
MADE_MONEY = ("cost", "wasted", "priced_cost")

MOST_TOKENS = 2**40
"""A count of tokens beyond this enters sums as this: no sum of a plausible number of requests overflows."""

Sums: TypeAlias = list[int]
GroupKey: TypeAlias = tuple[int, By, str]  # when its hour begins (Unix seconds), the grouping, the group
MadeKey: TypeAlias = tuple[int, str, str]  # hour, model, provider
ReasonKey: TypeAlias = tuple[int, str, str, str]  # hour, task, kind, reason


class Group:
    """What one hour and group comes to: sums in the order of COUNTS and MONEY, and durations by bucket."""

    __slots__ = ("direct", "escalated", "sums")

    def __init__(self) -> None:
        self.sums: Sums = [0] * (len(COUNTS) + len(MONEY))
        self.direct: dict[int, int] = {}
        self.escalated: dict[int, int] = {}

    def merge(self, other: Group) -> None:
        """Add another one to this."""
        self.sums = list(map(add, self.sums, other.sums))
        _merge(self.direct, other.direct)
        _merge(self.escalated, other.escalated)


class Made:
    """What the attempts of one hour, model and provider come to: sums in the order of MADE_COUNTS and MADE_MONEY."""

    __slots__ = ("sums", "times")

    def __init__(self) -> None:
        self.sums: Sums = [0] * (len(MADE_COUNTS) + len(MADE_MONEY))
        self.times: dict[int, int] = {}

    def merge(self, other: Made) -> None:
        """Add another one to this."""
        self.sums = list(map(add, self.sums, other.sums))
        _merge(self.times, other.times)


class Rollup:
    """Sums by hour over the rows put in."""

    def __init__(self) -> None:
        self.groups: dict[GroupKey, Group] = {}
        self.made: dict[MadeKey, Made] = {}
        self.reasons: dict[ReasonKey, int] = {}

    def put(self, request: RequestRow, attempts: Iterable[AttemptRow]) -> None:
        """Add a request with all its attempts."""
        self._enter(request, tuple(attempts), 1)

    def take(self, request: RequestRow, attempts: Iterable[AttemptRow]) -> None:
        """Take out a request that was put in with exactly these values, here or in what this will be added to."""
        self._enter(request, tuple(attempts), -1)

    def days(self) -> Rollup:
        """The same, by day."""
        found = Rollup()
        for (at, by, name), group in self.groups.items():
            found.groups.setdefault((at - at % DAY, by, name), Group()).merge(group)
        for (at, model, provider), made in self.made.items():
            found.made.setdefault((at - at % DAY, model, provider), Made()).merge(made)
        for (at, task, kind, reason), times in self.reasons.items():
            key = (at - at % DAY, task, kind, reason)
            found.reasons[key] = found.reasons.get(key, 0) + times
        return found

    def _enter(self, request: RequestRow, attempts: tuple[AttemptRow, ...], sign: int) -> None:
        at, number = hour(request.time), bucket(request.duration)
        sums = request_sums(request, attempts)
        if sign < 0:
            sums = [-cell for cell in sums]
        for by, name in zip(BY, names(request), strict=True):
            group = self.groups.get((at, by, name))
            if group is None:
                group = self.groups[at, by, name] = Group()
            group.sums = list(map(add, group.sums, sums))
            times = group.escalated if request.escalated else group.direct
            times[number] = times.get(number, 0) + sign
        for attempt in attempts:
            made = self.made.setdefault((at, attempt.model_served, attempt.provider or ""), Made())
            made.sums = [cell + sign * more for cell, more in zip(made.sums, attempt_sums(attempt), strict=True)]
            number = bucket(attempt.duration)
            made.times[number] = made.times.get(number, 0) + sign
        for kind, reason in reasons(request, attempts):
            key = (at, request.task, kind, reason)
            self.reasons[key] = self.reasons.get(key, 0) + sign


def hour(time: float) -> int:
    """When the hour of a point in time begins; both in Unix seconds."""
    return int(min(max(time, -1e12), 1e12) // HOUR) * HOUR


def names(request: RequestRow) -> tuple[str, ...]:
    """The group that a request is in, for each of BY."""
    return (
        "",
        request.task,
        request.feature or "",
        request.tenant or "",
        request.key or "",
        request.tier or "",
        request.model or "",
        request.policy_hash,
    )


def request_sums(request: RequestRow, attempts: Iterable[AttemptRow]) -> Sums:
    """What a request adds to its groups, in the order of COUNTS and MONEY."""
    cost, baseline, ending = request.cost, request.baseline, request.ending
    wasted = repaired = 0
    for attempt in attempts:
        if not attempt.won:
            wasted += attempt.cost or 0
        elif any(step != "strict" for step in attempt.trail):
            repaired = 1
    cheap, accepted = int(request.cheap), ending == "accepted"
    returned, cancelled = ending == "returned", ending == "cancelled"
    compared = cost is not None and baseline is not None
    return [
        1,
        cheap,
        int(cheap and accepted and request.tier == request.tier_planned),
        int(accepted),
        int(returned),
        int(cancelled),
        int(not (accepted or returned or cancelled)),
        int(request.escalated),
        int(request.forced),
        request.attempts,
        request.retries,
        request.failovers,
        request.cutoffs,
        request.downgrades,
        request.reasks,
        repaired,
        _tokens(request.prompt_tokens),
        _tokens(request.completion_tokens),
        _tokens(request.cached_tokens),
        _tokens(request.cache_write_tokens),
        _tokens(request.reasoning_tokens),
        int(cost is None),
        request.unknown_attempts,
        int(baseline is None),
        int(compared),
        request.cost_known,
        baseline or 0,
        wasted,
        (cost or 0) if compared else 0,
        (baseline or 0) if compared else 0,
    ]


def attempt_sums(attempt: AttemptRow) -> Sums:
    """What an attempt adds to its model and provider, in the order of MADE_COUNTS and MADE_MONEY."""
    outcome, cost = attempt.outcome, attempt.cost
    prompt, completion = _tokens(attempt.prompt_tokens), _tokens(attempt.completion_tokens)
    priced = cost is not None and (attempt.prompt_tokens is not None or attempt.completion_tokens is not None)
    return [
        1,
        int(attempt.won),
        int(outcome == "answer"),
        int(attempt.accepted is False),
        int(outcome == "cut-off"),
        int(outcome == "refusal"),
        int(outcome == "doomed"),
        int(outcome == "fault"),
        prompt,
        completion,
        _tokens(attempt.cached_tokens),
        _tokens(attempt.cache_write_tokens),
        _tokens(attempt.reasoning_tokens),
        int(cost is None),
        prompt if priced else 0,
        completion if priced else 0,
        cost or 0,
        0 if attempt.won else cost or 0,
        (cost or 0) if priced else 0,
    ]


def reasons(request: RequestRow, attempts: Iterable[AttemptRow]) -> Iterator[tuple[str, str]]:
    """Why a request went as it did: kinds and reasons, see `figures.Reason`."""
    yield "ending", request.ending
    for code in request.reasons:
        yield "verdict", code
    before: AttemptRow | None = None
    for attempt in sorted(attempts, key=lambda one: one.number):
        if attempt.on == "reject":
            codes = dict.fromkeys(reason.code for reason in before.reasons) if before is not None else {}
            yield from (("escalation", code) for code in codes or ("",))
        if attempt.fault is not None:
            yield "fault", attempt.fault
        if attempt.outcome in ("cut-off", "refusal", "doomed"):
            yield "outcome", attempt.outcome
        before = attempt


def folded(name: str, known: Mapping[str, object] | set[str]) -> str:
    """The group that a name is summed up under when only these are kept apart."""
    return name if name in known else OTHER


def _tokens(count: int | None) -> int:
    return 0 if count is None else max(-MOST_TOKENS, min(MOST_TOKENS, count))


def _merge(into: dict[int, int], more: Mapping[int, int]) -> None:
    for number, count in more.items():
        into[number] = into.get(number, 0) + count
