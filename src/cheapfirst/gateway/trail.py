"""Tells a client how its answer came to be: the `cheapfirst` object and the x-cheapfirst-* headers. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from cheapfirst.messages import Answer, Attempt, Request, Wire
from cheapfirst.money import total


def of_answer(answer: Answer) -> Wire:
    """The `cheapfirst` object of an answer. Amounts are USD, durations seconds; null means unknown."""
    return {
        "request_id": answer.request_id,
        "task": answer.task,
        "tier": answer.tier,
        "model": answer.model,
        "accepted": answer.verdict.accept,
        "escalated": answer.escalated,
        "forced": answer.forced,
        "cost": answer.cost,
        "baseline": answer.baseline,
        "saved": answer.saved,
        "policy": answer.plan.policy_hash,
        "attempts": [attempt_of(attempt) for attempt in answer.attempts],
    }


def of_failure(request_id: str, task: str, attempts: Sequence[Attempt]) -> Wire:
    """The `cheapfirst` object of a request that ended without an answer."""
    return {
        "request_id": request_id,
        "task": task,
        "cost": total(attempt.cost for attempt in attempts),
        "attempts": [attempt_of(attempt) for attempt in attempts],
    }


def attempt_of(attempt: Attempt) -> Wire:
    """One attempt: what led to it, what came of it, what it cost. Holds no text of the answer."""
    outcome, verdict = attempt.outcome, attempt.verdict
    told: dict[str, Any] = {
        "number": attempt.number,
        "on": attempt.on,
        "tier": attempt.planned.tier,
        "model": attempt.model,
        "provider": outcome.provider,
        "generation_id": outcome.generation_id,
        "outcome": outcome.kind,
        "cost": attempt.cost,
        "duration": round(outcome.duration, 6),
    }
    if verdict is not None:
        told["accepted"] = verdict.accept
        if verdict.findings:
            told["reasons"] = list(dict.fromkeys(finding.code for finding in verdict.findings))
    if outcome.fault is not None:
        told["fault"] = outcome.fault.name
    if any(step.kind != "strict" for step in attempt.trail):
        told["parse"] = [step.kind for step in attempt.trail]
    return told


def headers_of(answer: Answer) -> list[tuple[bytes, bytes]]:
    """The same in short, as headers."""
    return [
        (b"x-cheapfirst-request-id", answer.request_id.encode()),
        (b"x-cheapfirst-task", _safe(answer.task)),
        (b"x-cheapfirst-tier", _safe(answer.tier)),
        (b"x-cheapfirst-model", _safe(answer.model)),
        (b"x-cheapfirst-escalated", b"true" if answer.escalated else b"false"),
        (b"x-cheapfirst-attempts", str(len(answer.attempts)).encode()),
        (b"x-cheapfirst-cost", _amount(answer.cost)),
        (b"x-cheapfirst-baseline", _amount(answer.baseline)),
    ]


def headers_before(request: Request) -> list[tuple[bytes, bytes]]:
    """What is known when a stream begins; the rest is in the `cheapfirst` object of its last chunk."""
    return [(b"x-cheapfirst-request-id", request.id.encode()), (b"x-cheapfirst-task", _safe(request.task))]


def _amount(amount: Decimal | None) -> bytes:
    return b"unknown" if amount is None else f"{amount:f}".encode()


def _safe(text: str) -> bytes:
    """A name as a header can carry it: a model's name may come from the wire."""
    return text.encode("ascii", "replace").translate(_VISIBLE)[:200]


_VISIBLE = bytes(code if 32 <= code < 127 else 63 for code in range(256))
