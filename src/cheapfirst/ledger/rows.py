"""Turns a finished request into the plain rows that the ledger keeps. No message text, no answer, no key gets in."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

import msgspec
from msgspec import Struct, structs

from cheapfirst.messages import Attempt, Blueprint, Finding, Path, Settled, Story, Usage
from cheapfirst.money import to_pico

WIDEST = 2**63 - 1
"""The largest whole number SQLite stores; a sum or token count beyond it is kept as unknown."""

TOKENS = ("prompt_tokens", "completion_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens")
"""The columns of requests and attempts that count tokens."""

_ENCODER = msgspec.json.Encoder()
_UNSAID = (None, None, None, None, None)


class Reason(Struct, frozen=True, omit_defaults=True):
    """Why a verdict rejected: the machine-readable code and where in the value."""

    code: str
    path: str = ""  # like /lines/0/price; names the schema does not know are written as *


class RequestRow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row of the table `requests`; fields stand in the order of its columns."""

    id: str
    time: float  # Unix seconds
    policy_hash: str
    task: str
    feature: str | None = None
    tenant: str | None = None
    session: str | None = None
    shape: str
    mode: str
    plan: str  # hash of its blueprint, in the table `plans`
    tier_planned: str
    cheap: bool  # planned on the policy's cheapest tier
    tier: str | None = None  # of the answer handed out; None: none was
    model: str | None = None  # of the answer handed out; None: none was
    ending: str
    forced: bool = False
    escalated: bool = False
    attempts: int = 0
    retries: int = 0
    failovers: int = 0
    cutoffs: int = 0
    downgrades: int = 0
    reasks: int = 0
    prompt_tokens: int | None = None  # sums over the attempts that reported usage; None: none did
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: int | None = None  # picodollars; None: at least one attempt's cost is unknown
    cost_known: int = 0  # picodollars over the attempts whose cost is known
    unknown_attempts: int = 0
    baseline: int | None = None  # picodollars; None: unknown
    duration: float = 0.0  # seconds
    first_token: float | None = None  # seconds; None: not streamed
    reasons: tuple[str, ...] = ()  # verdict codes of all attempts, each once
    error: str | None = None  # name of the last fault when the request ended on it
    key: str | None = None  # id of the virtual key that asked; None: none did
    prompt_estimate: int = 0  # tokens that the plan took the prompt for


class AttemptRow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One row of the table `attempts`; fields stand in the order of its columns."""

    request_id: str
    number: int  # 1-based
    on: str
    tier: str
    model_asked: str
    model_served: str  # normalised to the catalog's spelling
    wire_model: str | None = None  # as the wire spelled it; None: not said
    provider: str | None = None
    generation_id: str | None = None
    form: str
    max_tokens: int
    outcome: str
    won: bool = False  # its answer was handed out
    accepted: bool | None = None  # None: there was nothing to judge
    reasons: tuple[Reason, ...] = ()
    trail: tuple[str, ...] = ()  # kinds of the parse trail's steps
    finish: str | None = None
    native_finish: str | None = None
    fault: str | None = None
    fault_status: int | None = None
    prompt_tokens: int | None = None  # None: the provider reported no usage
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost: int | None = None  # picodollars; None: unknown
    computed_cost: int | None = None  # picodollars from usage and catalog; None: unknown
    reported_cost: int | None = None  # picodollars as the upstream said; None: not said
    started: float = 0.0  # seconds since the request began
    duration: float = 0.0  # seconds
    first_token: float | None = None  # seconds; None: not streamed


class CostRow(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is entered in an attempt's row that lacks its cost."""

    request_id: str
    number: int
    cost: int  # picodollars
    reported_cost: int | None = None  # picodollars as the upstream said; None: not said
    generation_id: str | None = None  # None: not known
    model_served: str | None = None  # None: not known
    provider: str | None = None  # None: not known
    prompt_tokens: int | None = None  # None: unknown
    completion_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None


class PlanRow(Struct, frozen=True, kw_only=True):
    """One row of the table `plans`: what the plans of many requests have in common."""

    hash: str
    plan: str  # JSON


class LossRow(Struct, frozen=True, kw_only=True):
    """One row of the table `losses`: stories that could not be kept, or journal lines that could not be read."""

    id: str
    time: float  # Unix seconds
    kind: str  # dropped or unreadable
    count: int
    reason: str


class Line(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of a journal: a request with its attempts, a cost that came later, a plan, or a loss."""

    request: RequestRow | None = None
    attempts: tuple[AttemptRow, ...] = ()
    cost: CostRow | None = None
    plan: PlanRow | None = None
    loss: LossRow | None = None


def line(story: Story) -> bytes:
    """Return the story as one journal line, newline included. Raises when a field has no JSON form."""
    request, attempts = rows(story)
    return _ENCODER.encode(Line(request=request, attempts=attempts)) + b"\n"


def cost_line(settled: Settled) -> bytes | None:
    """Return a cost that came later as one journal line, newline included; None for one that no column holds."""
    cost = _pico(settled.cost)
    if cost is None:
        return None
    row = CostRow(
        request_id=settled.request_id,
        number=settled.attempt,
        cost=cost,
        reported_cost=_pico(settled.reported_cost),
        generation_id=_label(settled.generation_id),
        model_served=_label(settled.model),
        provider=_label(settled.provider),
        **dict(zip(TOKENS, _usage([settled.usage]), strict=True)),
    )
    return _ENCODER.encode(Line(cost=row)) + b"\n"


def plan_line(blueprint: Blueprint) -> bytes:
    """Return a plan as one journal line, newline included. It stands before the first request that has it."""
    return _ENCODER.encode(Line(plan=PlanRow(hash=blueprint.hash, plan=blueprint.text))) + b"\n"


def loss_line(loss: LossRow) -> bytes:
    """Return a loss as one journal line, newline included."""
    return _ENCODER.encode(Line(loss=loss)) + b"\n"


def rows(story: Story) -> tuple[RequestRow, tuple[AttemptRow, ...]]:
    """Return the request's row and its attempts' rows. Sums of the request are exact sums over its attempts."""
    request, plan = story.request, story.plan
    attempts = tuple(_attempt(story, attempt) for attempt in story.attempts)
    winner = next((row for row in attempts if row.won), None)
    known = [row.cost for row in attempts if row.cost is not None]
    on = [row.on for row in attempts]
    spent = sum(known)
    prompt, completion, cached, cache_write, reasoning = _usage([attempt.outcome.usage for attempt in story.attempts])
    return RequestRow(
        id=request.id,
        time=story.time,
        policy_hash=plan.policy_hash,
        task=_label(request.task) or "",
        feature=_label(request.feature),
        tenant=_label(request.tenant),
        session=_label(request.session),
        shape=plan.shape,
        mode=plan.mode,
        plan=blueprint_of(story).hash,
        tier_planned=plan.tier,
        cheap=plan.tier == (plan.tiers[0] if plan.tiers else "cheap"),
        tier=winner.tier if winner is not None else None,
        model=winner.model_served if winner is not None else None,
        ending=story.ending,
        forced=plan.forced,
        escalated=story.escalated,
        attempts=len(attempts),
        retries=on.count("retry"),
        failovers=on.count("fault"),
        cutoffs=on.count("cut-off"),
        downgrades=on.count("downgrade"),
        reasks=on.count("re-ask"),
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=cached,
        cache_write_tokens=cache_write,
        reasoning_tokens=reasoning,
        cost=fits(spent) if len(known) == len(attempts) else None,
        cost_known=spent,
        unknown_attempts=len(attempts) - len(known),
        baseline=_pico(story.baseline),
        duration=story.duration,
        first_token=story.first_token,
        reasons=tuple(dict.fromkeys(reason.code for row in attempts for reason in row.reasons)),
        error=attempts[-1].fault if attempts and winner is None else None,
        key=_label(request.key),
        prompt_estimate=plan.prompt_tokens,
    ), attempts


def blueprint_of(story: Story) -> Blueprint:
    """The blueprint of the story's plan."""
    return story.plan.blueprint or Blueprint.of(story.plan)


def values(row: Struct) -> tuple[Any, ...]:
    """Return a row's cells in the order of its table's columns; what is nested becomes JSON text."""
    return tuple(_cell(value) for value in structs.astuple(row))


def _attempt(story: Story, attempt: Attempt) -> AttemptRow:
    outcome, planned, fault, verdict = attempt.outcome, attempt.planned, attempt.outcome.fault, attempt.verdict
    prompt, completion, cached, cache_write, reasoning = _usage([outcome.usage])
    return AttemptRow(
        request_id=story.request.id,
        number=attempt.number,
        on=attempt.on,
        tier=planned.tier,
        model_asked=planned.model,
        model_served=_label(attempt.model) or planned.model,
        wire_model=_label(outcome.model),
        provider=_label(outcome.provider),
        generation_id=_label(outcome.generation_id),
        form=planned.form,
        max_tokens=planned.max_tokens,
        outcome=outcome.kind,
        won=attempt.number == story.winner,
        accepted=verdict.accept if verdict is not None else None,
        reasons=_reasons(story, verdict.findings) if verdict is not None else (),
        trail=tuple(step.kind for step in attempt.trail),
        finish=_label(outcome.finish),
        native_finish=_label(outcome.native_finish),
        fault=fault.name if fault is not None else None,
        fault_status=fault.status if fault is not None else None,
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=cached,
        cache_write_tokens=cache_write,
        reasoning_tokens=reasoning,
        cost=_pico(attempt.cost),
        computed_cost=_pico(attempt.computed_cost),
        reported_cost=_pico(outcome.reported_cost),
        started=attempt.started,
        duration=outcome.duration,
        first_token=outcome.first_token,
    )


def _usage(said: Sequence[Usage | None]) -> tuple[int | None, ...]:
    """Tokens in, out, cached, cache-written and reasoning that were said, in sum; None each when none were."""
    used = [usage for usage in said if usage is not None]
    if not used:
        return _UNSAID
    tokens = (
        structs.astuple(used[0]) if len(used) == 1 else tuple(map(sum, zip(*map(structs.astuple, used), strict=True)))
    )
    return tokens if max(tokens) <= WIDEST and min(tokens) >= -WIDEST else tuple(map(fits, tokens))


def _reasons(story: Story, findings: tuple[Finding, ...]) -> tuple[Reason, ...]:
    if not findings:
        return ()
    known: set[str] = set()
    if any(finding.path for finding in findings):
        known.update(_property_names(story.request.schema), _property_names(story.request.body.get("tools")))
    found = (Reason(code=_label(finding.code) or "", path=_path(finding.path, known)) for finding in findings)
    return tuple(dict.fromkeys(found))


def _path(path: Path, known: set[str]) -> str:
    """The path as a JSON pointer. A name that no schema declares came from the answer, so it is left out."""
    return "".join(f"/{part}" if isinstance(part, int) or part in known else "/*" for part in path)


def _property_names(schema: Any) -> Iterator[str]:
    if isinstance(schema, Mapping):
        properties = schema.get("properties")
        if isinstance(properties, Mapping):
            yield from properties
        required = schema.get("required")
        if isinstance(required, list):
            yield from (name for name in required if isinstance(name, str))
        for part in schema.values():
            yield from _property_names(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _property_names(part)


def _label(text: str | None) -> str | None:
    """A name from outside as text that any file can hold: lone surrogates replaced, other types spelled out."""
    if text is None:
        return None
    text = str(text)
    return text if text.isascii() else text.encode("utf-8", "replace").decode()


def _pico(amount: Decimal | None) -> int | None:
    return None if amount is None else fits(to_pico(amount))


def fits(number: int | None) -> int | None:
    """The number, if SQLite can store it, else None."""
    return number if number is not None and -WIDEST <= number <= WIDEST else None


def _cell(value: Any) -> Any:
    if isinstance(value, tuple):
        return _ENCODER.encode(value).decode()
    return value
