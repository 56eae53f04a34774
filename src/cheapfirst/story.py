"""Tells why a request went where it went and cost what it cost, in sentences. Pure; reads only the trail."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

from cheapfirst.messages import Attempt, Plan
from cheapfirst.money import show

LED_HERE = {
    "start": "",
    "retry": "the same call again: ",
    "downgrade": "with a weaker structured-output form: ",
    "cut-off": "with more room: ",
    "fault": "failed over: ",
    "re-ask": "asked again with the verdict: ",
    "reject": "escalated: ",
}


def why(plan: Plan, attempts: Sequence[Attempt], cost: Decimal | None, baseline: Decimal | None) -> str:
    """Return the story of one request: the plan's reason, one line per attempt, and the bill (USD)."""
    lines = [f"{'; '.join(plan.reasons).rstrip('.')}."]
    lines += [f"{attempt.number}. {line(attempt)}" for attempt in attempts]
    lines.append(f"Cost {show(cost)}; on the premium model alone {show(baseline)}.")
    return "\n".join(lines)


def line(attempt: Attempt) -> str:
    """Return one attempt in a line: why it was made, by which model, what came back, what it cost (USD)."""
    repairs = ", ".join(step.kind for step in attempt.trail if step.kind != "strict")
    read = f" (read with {repairs})" if repairs else ""
    return (
        f"{LED_HERE[attempt.on]}{attempt.planned.tier} {attempt.model}: {result(attempt)}{read}, {show(attempt.cost)}"
    )


def result(attempt: Attempt) -> str:
    """Return what came of the attempt, without cost and model."""
    outcome = attempt.outcome
    if outcome.fault is not None:
        return f"fault {outcome.fault.name}: {outcome.fault.sentence.rstrip('.')}"
    if attempt.verdict is not None and attempt.verdict.accept:
        return "accepted"
    findings = attempt.verdict.findings if attempt.verdict is not None else ()
    if outcome.kind == "cut-off" and not any(finding.check == "repetition" for finding in findings):
        return f"cut off at {attempt.planned.max_tokens:,} tokens"
    return "rejected: " + "; ".join(f"{finding.code} ({finding.sentence.rstrip('.')})" for finding in findings)
