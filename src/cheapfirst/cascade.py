"""Runs a plan: attempt -> verdict -> accept, retry, fail over or escalate. The heart of cheapfirst.

    attempt ── fault ──────> same call again ──> weaker form ──> other model ──> next tier   (failover)
       │ ───── cut off ────> same tier with more room ──> longer-output model                (retry)
       │ ───── bad verdict > re-ask, if the route says so ──> one tier up                    (escalation)
       └────── accepted ───> the answer

Every turn is `plan.follow`; what bounds it (attempts, deadline, cost ceiling) is in the plan. However a
request ends (an answer, an error, a cancelled caller), its whole story is recorded before the caller knows.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from contextlib import aclosing
from decimal import Decimal
from typing import Any

from msgspec import Struct, structs

from cheapfirst import compose, story
from cheapfirst.catalog import Catalog
from cheapfirst.checks import Judgment, Schema, judge
from cheapfirst.errors import (
    AnswerCutOff,
    AnswerRejected,
    CostCeilingReached,
    DeadlineExceeded,
    RequestFailed,
    UpstreamFault,
)
from cheapfirst.ledger import Recorder
from cheapfirst.messages import (
    Answer,
    Attempt,
    Ending,
    Fault,
    Finding,
    Outcome,
    Plan,
    Planned,
    Request,
    Story,
    Verdict,
    Wire,
)
from cheapfirst.money import show, total
from cheapfirst.plan import Position, Signal, follow
from cheapfirst.policy.checks import Check, Repetition
from cheapfirst.policy.table import Policy, Route
from cheapfirst.upstream import Call, Upstream

LONGEST_WAIT = 20.0
"""Seconds. An upstream that asks for a longer wait is failed over from, not waited for."""


class Job(Struct, frozen=True, kw_only=True):
    """One request with all that running it needs."""

    request: Request
    plan: Plan
    route: Route
    policy: Policy
    catalog: Catalog
    upstream: Upstream
    ledger: Recorder
    schema: Schema | None = None
    custom: Mapping[str, Callable[..., Any]] = {}


class Walk(Struct, kw_only=True):
    """How far a request has come."""

    began: float  # monotonic seconds
    time: float  # Unix seconds
    position: Position = Position()
    attempts: tuple[Attempt, ...] = ()
    waiting: Planned | None = None  # the attempt under way
    first_token: float | None = None  # seconds until the caller saw the first text
    told: bool = False  # the story has been recorded

    def elapsed(self) -> float:
        return time.perf_counter() - self.began


async def run(job: Job) -> Answer:
    """Run the plan and return the answer. Raises a RequestFailed when there is none that is acceptable."""
    async for item in stream(job):
        if isinstance(item, Answer):
            return item
    raise AssertionError("the cascade ended without an answer or an error")


async def stream(job: Job) -> AsyncGenerator[Wire | Answer, None]:
    """Run the plan; yield the wire's chunks as the plan's mode allows, and last the Answer.

    `pass` yields them as they come, from the first that holds text on; until then faults fail over
    silently, and after it a fault ends the stream with UpstreamFault. `hold` and `off` yield none.
    """
    walk = Walk(began=time.perf_counter(), time=time.time())
    try:
        while True:
            planned = job.plan.attempts[walk.position.index]
            if (stop := _bound(job, walk, planned)) is not None:
                yield _finish(job, walk, stop)
                return
            walk.waiting = planned
            started = walk.elapsed()
            outcome: Outcome | None = None
            shown = False
            async with aclosing(_send(job, walk, planned)) as items:
                async for item in items:
                    if isinstance(item, Outcome):
                        outcome = item
                    else:
                        if not shown:
                            shown, walk.first_token = True, walk.elapsed()
                        yield item
            assert outcome is not None, "the upstream ended without an outcome"
            walk.waiting = None
            attempt, signal = _judged(job, walk, planned, outcome, started)
            walk.attempts += (attempt,)
            if signal is None:
                yield _finish(job, walk, "accepted")
                return
            if shown:
                yield _finish(job, walk, _shown_ending(signal))
                return
            signal, wait = _wait(job, walk, signal)
            position = follow(job.plan, walk.position, signal)
            if position is None:
                yield _finish(job, walk, _ending(signal))
                return
            walk.position = position
            if wait and position.on == "retry":
                await asyncio.sleep(wait)
    finally:
        if not walk.told:
            _abandon(job, walk)


async def _send(job: Job, walk: Walk, planned: Planned) -> AsyncGenerator[Wire | Outcome, None]:
    """Make one upstream call; in `pass` mode yield its chunks from the first one with text on."""
    streamed = job.plan.mode != "off"
    rejected = walk.attempts[-1] if walk.position.on == "re-ask" else None
    body = compose.body(
        job.request,
        planned,
        job.route,
        job.policy,
        form=walk.position.form,
        reask=rejected,
        stream=streamed,
    )
    call = Call(body=body, timeouts=job.policy.limits.timeouts, budget=job.plan.deadline - walk.elapsed())
    if not streamed:
        yield await job.upstream.send(call)
        return
    early: list[Wire] | None = []  # chunks before the first text; None once it came
    async with aclosing(job.upstream.stream(call)) as items:
        async for item in items:
            if isinstance(item, Outcome):
                yield item
            elif job.plan.mode == "pass":
                if early is None:
                    yield item
                    continue
                early.append(item)
                if _has_text(item):
                    for chunk in early:
                        yield chunk
                    early = None


def _judged(job: Job, walk: Walk, planned: Planned, outcome: Outcome, started: float) -> tuple[Attempt, Signal | None]:
    """Give the verdict on what came back, what it cost, and the signal for the plan (None: accepted)."""
    model = job.catalog.normalise(outcome.model, asked=planned.model) if outcome.model else planned.model
    computed = job.catalog.cost(model, outcome.usage, walk.time) if outcome.usage is not None else None
    attempt = Attempt(
        number=len(walk.attempts) + 1,
        planned=planned if walk.position.form is None else structs.replace(planned, form=walk.position.form),
        on=walk.position.on,
        outcome=outcome,
        model=model,
        cost=_cost(outcome, computed),
        computed_cost=computed,
        started=started,
    )
    if outcome.fault is not None:
        return attempt, outcome.fault
    judgment = judge(
        outcome,
        shape=job.plan.shape,
        schema=job.schema,
        checks=_checks(job, outcome),
        tools=job.request.body.get("tools"),
        source=job.request.source if job.request.source is not None else user_text(job.request.body),
        align=job.route.align,
        custom=job.custom,
    )
    attempt = structs.replace(attempt, verdict=judgment.verdict, trail=judgment.trail, value=judgment.value)
    return attempt, _signal(job, outcome, judgment)


def _checks(job: Job, outcome: Outcome) -> tuple[Check, ...]:
    """The route's and the caller's checks; a cut-off answer is also looked at for a loop, whatever they say."""
    checks = job.route.checks + tuple(job.request.checks)
    if outcome.kind == "cut-off" and not any(isinstance(check, Repetition) for check in checks):
        checks += (Repetition(),)
    return checks


def _signal(job: Job, outcome: Outcome, judgment: Judgment) -> Signal | None:
    if judgment.verdict.accept:
        return None
    looping = any(finding.check == "repetition" for finding in judgment.verdict.findings)
    if outcome.kind == "cut-off" and not looping:
        return "cut-off"
    return "reject"


def _cost(outcome: Outcome, computed: Decimal | None) -> Decimal | None:
    """USD: what the upstream reported, else what usage and prices give, else unknown.

    A call refused before generation (an HTTP error, no connection) costs nothing. One that broke off
    later may have been billed, so without usage its cost stays unknown.
    """
    if outcome.reported_cost is not None:
        return outcome.reported_cost
    if outcome.usage is not None:
        return computed
    fault = outcome.fault
    if fault is not None and (fault.status is not None or fault.name in ("connect", "connect_timeout")):
        return Decimal(0)
    return None


def _bound(job: Job, walk: Walk, planned: Planned) -> Ending | None:
    """Which of the request's own bounds forbids the next attempt, if any."""
    if walk.elapsed() >= job.plan.deadline:
        return "deadline"
    if len(walk.attempts) >= job.plan.max_attempts:
        return _ending(_last_signal(walk))
    if job.plan.max_cost is not None:
        spent = total(_charge(attempt) for attempt in walk.attempts)
        worst = total((spent, planned.worst_case))
        if worst is None or worst > job.plan.max_cost:
            return "ceiling"
    return None


def _charge(attempt: Attempt) -> Decimal | None:
    """What the attempt counts against the ceiling: an unknown cost counts as the worst case."""
    return attempt.cost if attempt.cost is not None else attempt.planned.worst_case


def _wait(job: Job, walk: Walk, signal: Signal) -> tuple[Signal, float]:
    """How long to wait before a retry (seconds); a wait that is too long turns it into a failover."""
    if not isinstance(signal, Fault) or not signal.retry:
        return signal, 0.0
    wait = random.uniform(0.0, job.policy.limits.backoff * 2**walk.position.retries)  # full jitter
    if signal.retry_after is not None:
        wait += signal.retry_after
    if wait > min(LONGEST_WAIT, job.plan.deadline - walk.elapsed()):
        return structs.replace(signal, retry=False), 0.0
    return signal, wait


def _last_signal(walk: Walk) -> Signal:
    last = walk.attempts[-1]
    if last.outcome.fault is not None:
        return last.outcome.fault
    return "cut-off" if last.outcome.kind == "cut-off" else "reject"


def _ending(signal: Signal) -> Ending:
    if isinstance(signal, Fault):
        return "deadline" if signal.name == "deadline" else "fault"
    return "cut-off" if signal == "cut-off" else "rejected"


def _shown_ending(signal: Signal) -> Ending:
    """How a stream ends whose text the caller has already seen: a bad answer cannot be taken back."""
    return "returned" if signal == "reject" else _ending(signal)


def _finish(job: Job, walk: Walk, ending: Ending) -> Answer:
    """Record the story and return the answer, or raise what the ending means."""
    winner = _winner(job, walk, ending)
    if winner is not None and ending == "rejected":
        ending = "returned"
    told = _tell(job, walk, ending, winner)
    if winner is None:
        raise _error(job, told)
    answer = _answer(job, told, winner)
    if ending in ("accepted", "returned") or (ending == "cut-off" and walk.first_token is not None):
        return answer
    raise _error(job, told, answer)


def _winner(job: Job, walk: Walk, ending: Ending) -> Attempt | None:
    """The attempt whose answer is handed out (or, with an error, shown): the accepted or the best rejected one."""
    if ending == "accepted" or walk.first_token is not None:
        return walk.attempts[-1] if walk.attempts and walk.attempts[-1].outcome.fault is None else None
    if ending != "rejected" or job.plan.on_reject != "return":
        return None
    return _best(walk.attempts)


def _best(attempts: Sequence[Attempt]) -> Attempt | None:
    """The rejected answer with the fewest findings; among equals the last, which is of the highest tier."""
    judged = [attempt for attempt in attempts if attempt.verdict is not None and attempt.outcome.kind == "answer"]
    return min(reversed(judged), key=lambda attempt: len(_findings(attempt)), default=None)


def _findings(attempt: Attempt) -> tuple[Finding, ...]:
    return attempt.verdict.findings if attempt.verdict is not None else ()


def _tell(job: Job, walk: Walk, ending: Ending, winner: Attempt | None) -> Story:
    """Put the story together and hand it to the ledger. Only this function ends a request."""
    told = Story(
        request=job.request,
        plan=job.plan,
        attempts=walk.attempts,
        ending=ending,
        time=walk.time,
        duration=walk.elapsed(),
        first_token=walk.first_token,
        winner=winner.number if winner is not None else None,
        escalated=any(attempt.on == "reject" for attempt in walk.attempts),
        cost=total(attempt.cost for attempt in walk.attempts),
        baseline=_baseline(job, walk, winner),
    )
    walk.told = True
    job.ledger.record(told)
    return told


def _baseline(job: Job, walk: Walk, winner: Attempt | None) -> Decimal | None:
    """USD the premium model alone would have cost: its own attempt where it made one, else its prices on
    the usage of the answer that was given (the same tokens, the same share of them cached)."""
    premium = job.policy.premium.models[0]
    for attempt in reversed(walk.attempts):
        if attempt.model == premium and attempt.outcome.kind == "answer":
            return attempt.cost
    used = winner or next((a for a in reversed(walk.attempts) if a.outcome.usage is not None), None)
    if used is None or used.outcome.usage is None:
        return None
    return job.catalog.cost(premium, used.outcome.usage, walk.time)


def _answer(job: Job, told: Story, winner: Attempt) -> Answer:
    value = winner.value
    verdict = winner.verdict or Verdict(accept=False)
    if verdict.accept and job.schema is not None:
        value = job.schema.convert(value)
    return Answer(
        value=value,
        text=winner.outcome.text,
        model=winner.model,
        tier=winner.planned.tier,
        cost=told.cost,
        baseline=told.baseline,
        escalated=told.escalated,
        why=story.why(job.plan, told.attempts, told.cost, told.baseline),
        attempts=told.attempts,
        verdict=verdict,
        request_id=job.request.id,
        task=job.request.task,
        plan=job.plan,
        message=winner.outcome.message,
        forced=job.plan.forced,
    )


def _error(job: Job, told: Story, answer: Answer | None = None) -> RequestFailed:
    """The error that an ending without an acceptable answer is raised as."""
    trail = {"request_id": job.request.id, "attempts": told.attempts}
    last = told.attempts[-1] if told.attempts else None
    tail = f"{told.request.task}, {len(told.attempts)} attempt(s)"
    if told.ending == "deadline":
        return DeadlineExceeded(f"the deadline of {job.plan.deadline:g} s passed ({tail})", **trail)
    if told.ending == "ceiling":
        return CostCeilingReached(
            f"the next attempt could cost more than max_cost {show(job.plan.max_cost)} allows ({tail}, "
            f"spent {show(told.cost)})",
            **trail,
        )
    if told.ending == "cut-off" and last is not None:
        return AnswerCutOff(
            f"the answer was still cut off at {last.planned.max_tokens:,} tokens ({tail}); raise max_tokens or "
            "limits.room, or give the tier a model with longer output",
            **trail,
        )
    if told.ending == "rejected" and last is not None:
        best = _best(told.attempts)
        codes = ", ".join(dict.fromkeys(finding.code for finding in _findings(best or last)))
        shown = answer if answer is not None or best is None else _answer(job, told, best)
        return AnswerRejected(f"the last tier's answer was rejected: {codes} ({tail})", answer=shown, **trail)
    fault = last.outcome.fault if last is not None else None
    if fault is not None:
        return UpstreamFault(f"upstream fault {fault.name}: {fault.sentence} ({tail})", fault=fault, **trail)
    return RequestFailed(f"the request ended without an answer ({tail})", **trail)


def _abandon(job: Job, walk: Walk) -> None:
    """Record a request whose caller left (or that broke): the attempt under way may still be billed."""
    if walk.waiting is not None:
        fault = Fault(name="cancelled", sentence="the caller left before the answer was complete")
        walk.attempts += (
            Attempt(
                number=len(walk.attempts) + 1,
                planned=walk.waiting,
                on=walk.position.on,
                outcome=Outcome(kind="fault", fault=fault),
                model=walk.waiting.model,
                started=walk.elapsed(),
            ),
        )
    _tell(job, walk, "cancelled", None)


def user_text(body: Wire) -> str:
    """The text of the user's messages: what `grounded` compares with when no source is given."""
    texts: list[str] = []
    for message in body.get("messages") or ():
        if not isinstance(message, dict) or message.get("role") not in ("user", "tool"):
            continue
        content = message.get("content")
        if isinstance(content, str):
            texts.append(content)
        elif isinstance(content, list):
            texts += [part["text"] for part in content if isinstance(part, dict) and isinstance(part.get("text"), str)]
    return "\n".join(texts)


def _has_text(chunk: Wire) -> bool:
    """Whether a wire chunk carries anything a caller would see or act on."""
    choices = chunk.get("choices")
    if not isinstance(choices, list):
        return False
    return any(
        isinstance(choice, dict)
        and isinstance(delta := choice.get("delta"), dict)
        and any(delta.get(key) for key in ("content", "reasoning", "tool_calls", "refusal"))
        for choice in choices
    )
