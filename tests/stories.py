"""Finished requests to record: one made by hand, and any that hypothesis can think of."""

from __future__ import annotations

from decimal import Decimal
from itertools import count
from typing import Any

from hypothesis import strategies as st
from msgspec import structs

from cheapfirst.messages import (
    Attempt,
    Fault,
    Finding,
    On,
    Outcome,
    OutcomeKind,
    Plan,
    Planned,
    Request,
    Step,
    Story,
    Usage,
    Verdict,
)
from cheapfirst.money import PLACES, total

CHEAP, PREMIUM = "deepseek/deepseek-v4-flash", "anthropic/claude-opus-4.8"
ACCEPTED = Verdict(accept=True, checked=("parse", "schema"))
MISSING = Verdict(
    accept=False,
    findings=(Finding(check="schema", code="schema.required", sentence="total is missing", path=("total",)),),
    checked=("parse", "schema"),
)
_NUMBERS = count(1)


def planned(on: On = "start", tier: str = "cheap", model: str = CHEAP) -> Planned:
    return Planned(on=on, tier=tier, model=model, form="json_schema", max_tokens=1000, worst_case=Decimal("0.01"))


def attempt(
    number: int = 1,
    *,
    on: On = "start",
    tier: str = "cheap",
    model: str = CHEAP,
    cost: str | None = "0.000002",
    verdict: Verdict | None = ACCEPTED,
    **outcome: Any,
) -> Attempt:
    usage = Usage(prompt_tokens=100, completion_tokens=20)
    told: dict[str, Any] = {"kind": "answer", "usage": usage, "duration": 0.2} | outcome
    return Attempt(
        number=number,
        planned=planned(on, tier, model),
        on=on,
        outcome=Outcome(**told),
        verdict=verdict,
        trail=(Step(kind="strict"),),
        model=model,
        cost=None if cost is None else Decimal(cost),
    )


def story(
    *attempts: Attempt,
    id: str | None = None,
    task: str = "extract",
    tier: str = "cheap",
    time: float = 1_790_000_000.0,
    duration: float = 0.25,
    baseline: str | None = "0.001",
    tiers: tuple[str, ...] = ("cheap", "premium"),
    schema: dict[str, Any] | None = None,
    body: dict[str, Any] | None = None,
    **more: Any,
) -> Story:
    """A story whose last attempt won when its verdict accepts; other fields of Story and Request in `more`."""
    made = attempts or (attempt(),)
    last = made[-1]
    won = last.verdict is not None and last.verdict.accept
    labels = {name: more.pop(name) for name in ("feature", "tenant", "session") if name in more}
    ending: Any = "accepted" if won else "fault" if last.outcome.fault is not None else "rejected"
    fields: dict[str, Any] = {
        "ending": ending,
        "winner": last.number if won else None,
        "escalated": any(one.on == "reject" for one in made),
    }
    return Story(
        request=Request(id=id or f"req_{next(_NUMBERS)}", task=task, body=body or {}, schema=schema, **labels),
        plan=Plan(
            task=task,
            shape="json",
            tier=tier,
            tiers=tiers,
            attempts=tuple(one.planned for one in made),
            policy_hash="0123456789ab",
        ),
        attempts=made,
        time=time,
        duration=duration,
        cost=total(one.cost for one in made),
        baseline=None if baseline is None else Decimal(baseline),
        **(fields | more),
    )


def escalated(**more: Any) -> Story:
    """Rejected on the cheap tier, accepted on the premium one."""
    return story(
        attempt(1, verdict=MISSING, cost="0.000002"),
        attempt(2, on="reject", tier="premium", model=PREMIUM, cost="0.001"),
        **more,
    )


AMOUNTS = st.decimals(min_value=0, max_value=10**6, places=12).map(lambda amount: amount.quantize(PLACES))
TEXTS = st.text("az é\n\t\0\"\\,'日\U0001f600\ud83d", max_size=8)
NAMES = st.none() | st.sampled_from(["inbox", "billing", "Straße", "=1+1"]) | TEXTS
TOKENS = st.integers(0, 10**7)
SECONDS = st.floats(0, 1000)
MODELS = {"cheap": CHEAP, "middle": "mistralai/mistral-medium", "premium": PREMIUM}
CODES = ("schema.required", "schema.enum", "length.max_words", "refusal.phrase", "parse.cut")

usages = st.builds(
    Usage,
    prompt_tokens=TOKENS,
    completion_tokens=TOKENS,
    cached_tokens=TOKENS,
    cache_write_tokens=TOKENS,
    reasoning_tokens=TOKENS,
)
findings = st.builds(
    Finding,
    check=st.just("schema"),
    code=st.sampled_from(CODES),
    sentence=TEXTS,
    path=st.lists(TEXTS | st.integers(0, 9), max_size=3).map(tuple),
)
verdicts = st.just(ACCEPTED) | st.lists(findings, max_size=3).map(
    lambda found: Verdict(accept=False, findings=tuple(found), checked=("schema",))
)
faults = st.builds(Fault, name=st.sampled_from(["overloaded", "silent", "connect"]), sentence=TEXTS)
steps = st.lists(st.sampled_from(["strict", "unfenced", "repaired.comma", "aligned.case"]), max_size=3).map(
    lambda kinds: tuple(Step(kind=kind) for kind in kinds)
)


@st.composite
def attempts(draw: st.DrawFn, number: int) -> Attempt:
    tier = draw(st.sampled_from(sorted(MODELS)))
    on: On = draw(st.sampled_from(["retry", "downgrade", "cut-off", "fault", "re-ask", "reject"]))
    kind: OutcomeKind = draw(st.sampled_from(["answer", "cut-off", "refusal", "fault"]))
    fault = draw(faults) if kind == "fault" else None
    return Attempt(
        number=number,
        planned=planned("start" if number == 1 else on, tier, MODELS[tier]),
        on="start" if number == 1 else on,
        outcome=Outcome(
            kind=kind,
            text=draw(TEXTS),
            usage=draw(st.none() | usages),
            fault=fault,
            provider=draw(st.none() | TEXTS),
            reported_cost=draw(st.none() | AMOUNTS),
            duration=draw(SECONDS),
        ),
        verdict=None if fault is not None else draw(verdicts),
        trail=draw(steps),
        model=MODELS[tier],
        cost=draw(st.none() | AMOUNTS),
        computed_cost=draw(st.none() | AMOUNTS),
        started=draw(SECONDS),
    )


@st.composite
def stories(draw: st.DrawFn) -> Story:
    """Any story, of any outcome, with unknown costs and odd names; its id is new each time."""
    made = [draw(attempts(number)) for number in range(1, draw(st.integers(0, 4)) + 1)]
    if not made:
        empty = story(duration=draw(SECONDS), escalated=False)
        return structs.replace(empty, attempts=(), winner=None, ending="deadline", cost=Decimal(0))
    winner = draw(st.none() | st.sampled_from(made))
    failures = ["rejected", "cut-off", "fault", "deadline", "ceiling", "cancelled", "error"]
    return story(
        *made,
        task=draw(st.sampled_from(["extract", "classify", "chat"])),
        tier=draw(st.sampled_from(["cheap", "premium"])),
        time=draw(st.floats(1.7e9, 1.9e9)),
        duration=draw(SECONDS),
        feature=draw(NAMES),
        tenant=draw(NAMES),
        session=draw(NAMES),
        ending=draw(st.sampled_from(["accepted", "returned"] if winner is not None else failures)),
        winner=None if winner is None else winner.number,
        baseline=draw(st.none() | AMOUNTS.map(str)),
    )
