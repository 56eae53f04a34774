"""Runs a plan: attempt -> verdict -> accept, retry, fail over or escalate. The heart of cheapfirst.

    attempt ── fault ──────> same call again ──> weaker form ──> other model ──> next tier   (failover)
       │ ───── cut off ────> same tier with more room ──> longer-output model                (retry)
       │ ───── bad verdict > re-ask, if the route says so ──> one tier up                    (escalation)
       └────── accepted ───> the answer

Every turn is `plan.follow`; what bounds it (attempts, deadline, cost ceiling) is in the plan. However a
request ends (an answer, an error, a cancelled caller), its whole story is recorded before the caller knows.
"""

from __future__ import annotations

import random
import time
from collections.abc import AsyncGenerator
from contextlib import aclosing
from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from msgspec import structs

from cheapfirst import compose
from cheapfirst.checks import Judgment, judge
from cheapfirst.ending import abandon, finish
from cheapfirst.job import Job, Walk
from cheapfirst.messages import Answer, Attempt, Ending, Fault, Outcome, Planned, Verdict, Wire
from cheapfirst.money import total
from cheapfirst.plan import Signal, follow
from cheapfirst.policy.checks import Check, Repetition
from cheapfirst.upstream import Call
from cheapfirst.upstream.breaker import LEFT
from cheapfirst.upstream.outcome import doomed
from cheapfirst.upstream.unfinished import Unfinished

if TYPE_CHECKING:
    from cheapfirst.checks.guard import Guard

LONGEST_WAIT = 20.0
"""Seconds. An upstream that asks for a longer wait is failed over from, not waited for."""

NEVER_SENT = frozenset({"connect", "connect_timeout", "tls", "unsendable", "closed", "breaker_open", "upstream_busy"})
"""Faults of calls that never reached the upstream."""


async def run(job: Job) -> Answer:
    """Run the plan and return the answer. Raises a RequestFailed when there is none that is acceptable."""
    if job.plan.mode != "off":
        async with aclosing(stream(job)) as items:
            async for item in items:
                if isinstance(item, Answer):
                    return item
    walk = Walk(began=time.perf_counter(), time=time.time())
    try:
        while True:
            planned = _start(job, walk)
            if isinstance(planned, Answer):
                return planned
            outcome = await job.upstream.send(_call(job, walk, planned, streamed=False))
            followed = _follow(job, walk, planned, outcome)
            if isinstance(followed, Answer):
                return followed
            if followed:
                await _sleep(followed)
    finally:
        if not walk.told:
            _abandon(job, walk)


async def stream(job: Job) -> AsyncGenerator[list[Wire] | Answer, None]:
    """Run the plan; yield the wire's chunks as the plan's mode allows, those that came together as one list, and last
    the Answer.

    `pass` yields them as they come, from the first that holds text on; until then faults fail over
    silently, and after it a fault ends the stream with UpstreamFault. `hold` and `off` yield none.
    """
    walk = Walk(began=time.perf_counter(), time=time.time())
    try:
        while True:
            planned = _start(job, walk)
            if isinstance(planned, Answer):
                yield planned
                return
            outcome: Outcome | None = None
            async with aclosing(_send(job, walk, planned)) as items:
                async for item in items:
                    if isinstance(item, Outcome):
                        outcome = item
                    else:
                        if walk.first_token is None:
                            walk.first_token = walk.elapsed()
                        yield item
            assert outcome is not None, "the upstream ended without an outcome"
            followed = _follow(job, walk, planned, outcome)
            if isinstance(followed, Answer):
                yield followed
                return
            if followed:
                await _sleep(followed)
    finally:
        if not walk.told:
            _abandon(job, walk)


def _abandon(job: Job, walk: Walk) -> None:
    """Record a request whose caller left (or that broke). The attempt under way may still be billed."""
    if walk.waiting is not None:
        sent = walk.left is not None
        attempt = _attempted(job, walk, walk.waiting, walk.left or Outcome(kind="fault", fault=LEFT), walk.started)
        walk.attempts += (attempt if sent else structs.replace(attempt, cost=Decimal(0)),)
    abandon(job, walk)


def _leave(job: Job, walk: Walk, unfinished: Unfinished) -> bool:
    """The caller leaves a call that was sent: keep what has come, and the call where its rest is wanted."""
    walk.left = unfinished.outcome()
    if job.aftermath is None or not job.aftermath.wants(unfinished, walk.left):
        return False
    walk.rests += ((len(walk.attempts) + 1, unfinished),)
    return True


def _start(job: Job, walk: Walk) -> Planned | Answer:
    """The attempt to make now; the answer when the request's own bounds allow no more. Raises a RequestFailed."""
    planned = job.plan.attempts[walk.position.index]
    if (stop := _bound(job, walk, planned)) is not None:
        return finish(job, walk, stop)
    walk.waiting, walk.started, walk.left = planned, walk.elapsed(), None
    return planned


def _follow(job: Job, walk: Walk, planned: Planned, outcome: Outcome) -> Answer | float:
    """Judge what came back: the answer when the request is over, else the seconds to wait before the next attempt.

    Raises a RequestFailed when it is over without an answer.
    """
    walk.waiting = None
    attempt, signal = _judged(job, walk, planned, outcome, walk.started)
    walk.attempts += (attempt,)
    if signal is None:
        return finish(job, walk, "accepted")
    if walk.first_token is not None:
        return finish(job, walk, _shown_ending(signal))
    signal, wait = _wait(job, walk, signal)
    position = follow(job.plan, walk.position, signal)
    if position is None:
        return finish(job, walk, _ending(signal))
    walk.position = position
    return wait if position.on == "retry" else 0.0


async def _sleep(seconds: float) -> None:
    import asyncio

    await asyncio.sleep(seconds)


def _call(job: Job, walk: Walk, planned: Planned, *, streamed: bool) -> Call:
    """The upstream call of one attempt."""
    rejected = walk.attempts[-1] if walk.position.on == "re-ask" else None
    body = compose.body(
        job.request, planned, job.route, job.policy, form=walk.position.form, reask=rejected, stream=streamed
    )
    return Call(
        body=body,
        timeouts=job.policy.limits.timeouts,
        budget=job.plan.deadline - walk.elapsed(),
        headers=job.headers if job.calling is None else {**job.headers, **job.calling()},
        left=partial(_leave, job, walk),
    )


async def _send(job: Job, walk: Walk, planned: Planned) -> AsyncGenerator[list[Wire] | Outcome, None]:
    """Make one streamed upstream call; in `pass` mode yield its chunks from the first one with text on, in `guard` mode
    cancel it as soon as its answer is doomed."""
    if job.plan.mode == "off":
        yield await job.upstream.send(_call(job, walk, planned, streamed=False))
        return
    call = _call(job, walk, planned, streamed=True)
    guard = _guard(job, walk) if job.plan.mode == "guard" else None
    seen: list[Wire] = []  # by the guard
    early: list[Wire] | None = []  # chunks before the first text; None once it came
    async with aclosing(job.upstream.stream(call)) as items:
        async for item in items:
            if isinstance(item, Outcome):
                yield item
            elif job.plan.mode == "pass":
                if early is None:
                    yield item
                    continue
                early += item
                if any(map(_has_text, item)):
                    yield early
                    early = None
            elif guard is not None:
                seen += item
                doom = next((found for chunk in item if (found := guard.feed(chunk)) is not None), None)
                if doom is not None:  # leaving the block cancels the call
                    yield doomed(seen, call.body, doom, duration=walk.elapsed() - walk.started)
                    return


def _judged(job: Job, walk: Walk, planned: Planned, outcome: Outcome, started: float) -> tuple[Attempt, Signal | None]:
    """Give the verdict on what came back, what it cost, and the signal for the plan (None: accepted)."""
    attempt = _attempted(job, walk, planned, outcome, started)
    if outcome.fault is not None:
        return attempt, outcome.fault
    if outcome.doom is not None:
        verdict = Verdict(accept=False, findings=(outcome.doom,), checked=(outcome.doom.check,))
        return structs.replace(attempt, verdict=verdict), "reject"
    judgment = judge(
        outcome,
        shape=job.plan.shape,
        schema=job.schema,
        checks=_checks(job, outcome),
        tools=job.request.body.get("tools"),
        source=_source(job),
        align=job.route.align,
        custom=job.custom,
    )
    attempt = structs.replace(attempt, verdict=judgment.verdict, trail=judgment.trail, value=judgment.value)
    return attempt, _signal(job, outcome, judgment)


def _guard(job: Job, walk: Walk) -> Guard | None:
    """The guard of one attempt. The last attempt of a route that hands out even a rejected answer has none."""
    from cheapfirst.checks.guard import Guard

    if job.plan.on_reject == "return" and follow(job.plan, walk.position, "reject") is None:
        return None
    return Guard(
        shape=job.plan.shape,
        schema=job.schema,
        checks=job.route.checks + tuple(job.request.checks),
        tools=job.request.body.get("tools"),
        source=_source(job),
        align=job.route.align,
    )


def _source(job: Job) -> str:
    return job.request.source if job.request.source is not None else user_text(job.request.body)


def _attempted(job: Job, walk: Walk, planned: Planned, outcome: Outcome, started: float) -> Attempt:
    """The attempt with what came back and what that cost, not judged."""
    model = _served(job, planned, outcome)
    computed = job.catalog.cost(model, outcome.usage, walk.time) if outcome.usage is not None else None
    return Attempt(
        number=len(walk.attempts) + 1,
        planned=planned if walk.position.form is None else structs.replace(planned, form=walk.position.form),
        on=walk.position.on,
        outcome=outcome,
        model=model,
        cost=_cost(outcome, computed),
        computed_cost=computed,
        started=started,
    )


def _served(job: Job, planned: Planned, outcome: Outcome) -> str:
    alone = not (planned.fallbacks and compose.native_fallback(job.policy))
    return job.catalog.served(outcome.model, asked=planned.model, alone=alone)


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

    A call refused before anything was generated (an error and not a word of an answer, or no connection) costs
    nothing. One that broke off later, or that somebody gave up waiting for, may have been billed, so without
    usage its cost stays unknown.
    """
    if outcome.reported_cost is not None:
        return outcome.reported_cost
    if outcome.usage is not None:
        return computed if outcome.fee is None else total((computed, outcome.fee))
    return Decimal(0) if outcome.fault is not None and _refused(outcome, outcome.fault) else None


def _refused(outcome: Outcome, fault: Fault) -> bool:
    said = any(value for key, value in outcome.message.items() if key != "role")
    begun = said or outcome.finish is not None  # an error in place of an answer has no choice that ends with it
    return fault.name in NEVER_SENT or (fault.status is not None and fault.name != "timeout" and not begun)


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
