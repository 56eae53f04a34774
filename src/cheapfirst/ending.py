"""How a request ends: which answer is handed out, what it cost in all, or which error it is. Recorded first."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from functools import partial

from cheapfirst import story
from cheapfirst.errors import (
    AnswerCutOff,
    AnswerRejected,
    CostCeilingReached,
    DeadlineExceeded,
    RequestFailed,
    UpstreamFault,
)
from cheapfirst.job import Job, Walk
from cheapfirst.messages import Answer, Attempt, Ending, Finding, Story, Verdict
from cheapfirst.money import show, total


def finish(job: Job, walk: Walk, ending: Ending) -> Answer:
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
    raise _error(job, told)


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
    held = job.plan.mode in ("hold", "guard") and winner is not None  # the caller sees all of the text now
    told = Story(
        request=job.request,
        plan=job.plan,
        attempts=walk.attempts,
        ending=ending,
        time=walk.time,
        duration=walk.elapsed(),
        first_token=walk.elapsed() if held else walk.first_token,
        winner=winner.number if winner is not None else None,
        escalated=any(attempt.on == "reject" for attempt in walk.attempts),
        cost=total(attempt.cost for attempt in walk.attempts),
        baseline=_baseline(job, walk, winner),
    )
    walk.told = True
    job.ledger.record(told)
    if told.cost is None and job.aftermath is not None:
        job.aftermath.follow(told, dict(walk.rests))
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
        telling=partial(story.why, job.plan, told.attempts, told.cost, told.baseline),
        attempts=told.attempts,
        verdict=verdict,
        request_id=job.request.id,
        task=job.request.task,
        plan=job.plan,
        message=winner.outcome.message,
        forced=job.plan.forced,
        winner=winner.number,
    )


def _error(job: Job, told: Story) -> RequestFailed:
    """The error that an ending without an acceptable answer is raised as."""
    id, attempts, plan = job.request.id, told.attempts, job.plan
    last = attempts[-1] if attempts else None
    tail = f"{told.request.task}, {len(attempts)} attempt(s)"
    if told.ending == "deadline":
        return DeadlineExceeded(
            f"the deadline of {plan.deadline:g} s passed ({tail}); raise limits.deadline, or look at the attempts",
            request_id=id,
            attempts=attempts,
        )
    if told.ending == "ceiling":
        return CostCeilingReached(
            f"the next attempt could cost more than limits.max_cost = {show(plan.max_cost)} allows "
            f"({tail}, spent {show(told.cost)})",
            request_id=id,
            attempts=attempts,
        )
    if told.ending == "cut-off" and last is not None:
        return AnswerCutOff(
            f"the answer was still cut off at {last.planned.max_tokens:,} tokens ({tail}); raise max_tokens or "
            "limits.room, or give the tier a model with longer output",
            request_id=id,
            attempts=attempts,
            answer=_answer(job, told, last) if last.outcome.kind == "cut-off" else None,
        )
    if told.ending == "rejected" and last is not None:
        best = _best(attempts)
        codes = ", ".join(dict.fromkeys(finding.code for finding in _findings(best or last)))
        left_out = "".join(f"; {skip.model} was left out: {skip.reason}" for skip in plan.skipped)
        return AnswerRejected(
            f"the last tier's answer was rejected: {codes} ({tail}){left_out}",
            request_id=id,
            attempts=attempts,
            answer=_answer(job, told, best) if best is not None else None,
        )
    fault = last.outcome.fault if last is not None else None
    if fault is not None:
        sentence = f"upstream fault {fault.name}: {fault.sentence} ({tail})"
        return UpstreamFault(sentence, request_id=id, attempts=attempts, fault=fault)
    return RequestFailed(f"the request ended without an answer ({tail})", request_id=id, attempts=attempts)


def abandon(job: Job, walk: Walk) -> None:
    """Record a request whose caller left (or that broke)."""
    _tell(job, walk, "cancelled", None)
