"""Counts what the gateway does, and writes it down for Prometheus.

Names that grow without bound (requests, keys, tenants, features) are never labels. Tasks, tiers, models, reasons and
faults are, and of each at most BOUND different ones: those that come later count under "other".
"""

from __future__ import annotations

import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, TypeAlias

from cheapfirst.gateway import exposition
from cheapfirst.gateway.exposition import Buckets, Family, Values
from cheapfirst.messages import Attempt, Story

if TYPE_CHECKING:
    from cheapfirst.gateway.app import Gateway

BOUND = 200
"""Different names of one kind that become labels."""

LONGEST = 200
"""Characters of a name in a label: a model's name may come from the wire."""

OTHER = "other"
BREAKERS = ("closed", "half-open", "open")
KINDS = ("prompt", "completion", "cached", "cache_write", "reasoning")
"""Kinds of tokens, as `messages.Usage` has them: `prompt` includes cached and cache-written, `completion` reasoning."""

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds of the histograms' buckets."""

REQUESTS = Family("cheapfirst_requests", "counter", "Requests that ended.", ("task", "tier", "ending"))
ATTEMPTS = Family(
    "cheapfirst_attempts", "counter", "Upstream calls, by what came of them.", ("model", "outcome", "fault")
)
ESCALATIONS = Family(
    "cheapfirst_escalations", "counter", "Attempts made because a check rejected the one before.", ("task", "reason")
)
TOKENS = Family("cheapfirst_tokens", "counter", "Tokens as the providers counted them.", ("model", "kind"))
COST = Family("cheapfirst_cost_usd", "counter", "Known cost of upstream calls in USD.", ("model",))
UNKNOWN = Family("cheapfirst_attempts_unknown_cost", "counter", "Upstream calls whose cost is unknown.", ("model",))
COMPARED = Family(
    "cheapfirst_compared_cost_usd", "counter", "Cost in USD of requests whose baseline is known too.", ("task",)
)
BASELINE = Family(
    "cheapfirst_baseline_usd", "counter", "USD the same requests had cost on the premium model alone.", ("task",)
)
DURATION = Family(
    "cheapfirst_request_duration_seconds", "histogram", "From request to ready answer.", ("task",), SECONDS
)
FIRST_TOKEN = Family(
    "cheapfirst_first_token_seconds", "histogram", "From request to a stream's first text.", ("task",), SECONDS
)
ANSWERS = Family("cheapfirst_http_answers", "counter", "HTTP answers by path and status.", ("path", "status"))
FAILURES = Family("cheapfirst_telemetry_failures", "counter", "Requests that a part of telemetry failed on.", ("part",))
LINES_LOST = Family("cheapfirst_log_lines_lost", "counter", "Log lines dropped because nobody read them in time.")
RUNNING = Family("cheapfirst_requests_running", "gauge", "Requests that are served now.")
WAITING = Family("cheapfirst_requests_waiting", "gauge", "Requests that wait for their turn.")
SHED = Family("cheapfirst_requests_shed", "counter", "Requests turned away because the gateway was full or stopping.")
BREAKER = Family(
    "cheapfirst_breaker_state", "gauge", "How many workers' breakers of the model are in the state.", ("model", "state")
)
CALLS = Family("cheapfirst_upstream_calls_running", "gauge", "Upstream calls under way.")
TOLD = Family("cheapfirst_ledger_requests", "counter", "Requests handed to the ledger.")
LOST = Family("cheapfirst_ledger_lost", "counter", "Requests that the ledger could not record.")
JOURNAL = Family("cheapfirst_ledger_journal_bytes", "gauge", "Size of this process's journals beside the ledger.")
HELD = Family("cheapfirst_ledger_held", "gauge", "Requests held in memory because the disk takes no journal.")
POLICY = Family("cheapfirst_policy", "info", "The policy in force.", ("hash",), over="max")
BUILD = Family("cheapfirst_build", "info", "What runs.", ("version", "python"), over="max")
START = Family("process_start_time_seconds", "gauge", "When the gateway was made, Unix time.", over="each")
MEMORY = Family("process_resident_memory_bytes", "gauge", "Memory that the process holds.", over="each")
WORKERS = Family("cheapfirst_workers", "gauge", "Processes that the gateway is to have.", over="max")
ANSWERING = Family("cheapfirst_workers_answering", "gauge", "Processes whose numbers are in here as they are now.")

FAMILIES = (
    REQUESTS,
    ATTEMPTS,
    ESCALATIONS,
    TOKENS,
    COST,
    UNKNOWN,
    COMPARED,
    BASELINE,
    DURATION,
    FIRST_TOKEN,
    ANSWERS,
    FAILURES,
    LINES_LOST,
    RUNNING,
    WAITING,
    SHED,
    BREAKER,
    CALLS,
    TOLD,
    LOST,
    JOURNAL,
    HELD,
    POLICY,
    BUILD,
    WORKERS,
    ANSWERING,
    START,
    MEMORY,
)
"""All metrics, in the page's order."""

Counts: TypeAlias = defaultdict[tuple[str, ...], int]


class Names(dict[str, str]):
    """Labels by name: the first BOUND names are labels of their own, all others share one."""

    def __missing__(self, name: str) -> str:
        if len(self) >= BOUND:
            return OTHER
        label = self[name] = name[:LONGEST]
        return label


class Metrics:
    """The counters of one gateway. Belongs to one event loop."""

    def __init__(self) -> None:
        self._began = time.time()
        self._tasks, self._tiers, self._models = Names(), Names(), Names()
        self._reasons, self._faults, self._paths = Names(), Names(), Names()
        self._requests: Counts = defaultdict(int)
        self._attempts: Counts = defaultdict(int)
        self._escalations: Counts = defaultdict(int)
        self._answers: Counts = defaultdict(int)
        self._failures: Counts = defaultdict(int)
        self._tokens: dict[str, list[int]] = defaultdict(lambda: [0] * len(KINDS))
        self._cost: dict[str, Decimal] = defaultdict(Decimal)
        self._unknown: dict[str, int] = defaultdict(int)
        self._compared: dict[str, Decimal] = defaultdict(Decimal)
        self._baseline: dict[str, Decimal] = defaultdict(Decimal)
        self._duration: dict[str, Buckets] = defaultdict(lambda: Buckets(SECONDS))
        self._first_token: dict[str, Buckets] = defaultdict(lambda: Buckets(SECONDS))
        self._told = 0

    def record(self, story: Story) -> None:
        """Count one finished request."""
        task = self._tasks[story.request.task]
        self._told += 1
        self._requests[task, self._tiers[_tier(story)], story.ending] += 1
        self._duration[task].add(story.duration)
        if story.first_token is not None:
            self._first_token[task].add(story.first_token)
        if story.cost is not None and story.baseline is not None:
            self._compared[task] += story.cost
            self._baseline[task] += story.baseline
        before: Attempt | None = None
        for attempt in story.attempts:
            self._count(attempt)
            if attempt.on == "reject":
                self._escalations[task, self._reasons[_reason(before)]] += 1
            before = attempt

    def answered(self, path: str, status: int | str) -> None:
        """Count one HTTP answer. `path` is a path of the gateway, or says what kind of path it was."""
        self._answers[self._paths[path], str(status)] += 1

    def failed(self, part: str) -> None:
        """Count one request that a part of telemetry failed on."""
        self._failures[(part,)] += 1

    def _count(self, attempt: Attempt) -> None:
        model, outcome = self._models[attempt.model], attempt.outcome
        kind: str = outcome.kind
        if kind == "answer" and attempt.verdict is not None and not attempt.verdict.accept:
            kind = "rejected"
        fault = self._faults[outcome.fault.name] if outcome.fault is not None else ""
        self._attempts[model, kind, fault] += 1
        usage = outcome.usage
        if usage is not None:
            counted = self._tokens[model]
            counted[0] += usage.prompt_tokens
            counted[1] += usage.completion_tokens
            counted[2] += usage.cached_tokens
            counted[3] += usage.cache_write_tokens
            counted[4] += usage.reasoning_tokens
        if attempt.cost is None:
            self._unknown[model] += 1
        else:
            self._cost[model] += attempt.cost

    def families(self, gateway: Gateway) -> list[tuple[Family, Values]]:
        """All that was counted, and what is now."""
        from cheapfirst import __version__

        router, gate = gateway.router, gateway.gate
        logs, siblings = gateway.telemetry.logs, gateway.siblings
        lost, backlog = router.ledger.losses().count, router.ledger.backlog()
        tokens: Values = {
            (model, kind): count
            for model, counts in self._tokens.items()
            for kind, count in zip(KINDS, counts, strict=True)
        }
        python = ".".join(map(str, sys.version_info[:3]))
        values: dict[Family, Values] = {
            REQUESTS: self._requests,
            ATTEMPTS: self._attempts,
            ESCALATIONS: self._escalations,
            TOKENS: tokens,
            COST: _keyed(self._cost),
            UNKNOWN: _keyed(self._unknown),
            COMPARED: _keyed(self._compared),
            BASELINE: _keyed(self._baseline),
            DURATION: {(task,): buckets for task, buckets in self._duration.items()},
            FIRST_TOKEN: {(task,): buckets for task, buckets in self._first_token.items()},
            ANSWERS: self._answers,
            FAILURES: self._failures,
            LINES_LOST: {(): logs.lost if logs is not None else 0},
            RUNNING: {(): gate.running},
            WAITING: {(): gate.waiting},
            SHED: {(): gate.shed},
            BREAKER: _breakers(router.upstream.breakers()),
            CALLS: {(): router.upstream.in_flight()},
            TOLD: {(): self._told if router.ledger.path is not None else 0},
            LOST: {(): lost},
            JOURNAL: {(): backlog.bytes},
            HELD: {(): backlog.held},
            POLICY: {(router.policy.hash,): 1},
            BUILD: {(__version__, python): 1},
            WORKERS: {(): siblings.many if siblings is not None else 1},
            ANSWERING: {(): 1},
            START: {(): self._began},
            MEMORY: _memory(),
        }
        return [(family, values[family]) for family in FAMILIES]


def page(accept: str, families: Iterable[tuple[Family, Values]]) -> tuple[str, bytes]:
    """The content type and the page, for an Accept header."""
    openmetrics = exposition.wants_openmetrics(accept)
    content = exposition.page(families, openmetrics=openmetrics)
    return exposition.OPENMETRICS if openmetrics else exposition.TEXT, content


def template(path: str, known: Iterable[str]) -> str:
    """The path as a label: itself where it is one of the gateway's own, else what kind of path it is."""
    if path in known:
        return path
    if path.startswith("/v1/models/"):
        return "/v1/models/{model}"
    return "/v1/*" if path.startswith("/v1/") else OTHER


def _tier(story: Story) -> str:
    """The tier that the request ended on."""
    return story.attempts[-1].planned.tier if story.attempts else story.plan.tier


def _reason(rejected: Attempt | None) -> str:
    """The first thing that was wrong with a rejected answer."""
    if rejected is None or rejected.verdict is None or not rejected.verdict.findings:
        return OTHER
    return rejected.verdict.findings[0].code


def _keyed(values: Mapping[str, Decimal | int]) -> Values:
    return {(name,): float(value) for name, value in values.items()}


def _breakers(states: Mapping[str, str]) -> Values:
    """One value a model and state, of the first BOUND models."""
    return {
        (model[:LONGEST], state): float(state == now)
        for model, now in list(states.items())[:BOUND]
        for state in BREAKERS
    }


def _memory() -> Values:
    """Empty where the system does not tell."""
    try:
        with open("/proc/self/statm", "rb") as file:
            return {(): int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")}
    except (OSError, ValueError, IndexError):
        return {}
