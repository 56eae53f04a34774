"""Which planned attempt comes next after a signal. Pure: the cascade's every turn can be read and tested here."""

from __future__ import annotations

from typing import Literal, TypeAlias

from msgspec import Struct, structs

from cheapfirst.messages import Fault, Form, On, Plan

Signal: TypeAlias = Literal["cut-off", "reject"] | Fault


class Position(Struct, frozen=True, kw_only=True):
    """Where a request stands in its plan."""

    index: int = 0  # into plan.attempts
    on: On = "start"
    retries: int = 0  # of this same attempt
    form: Form | None = None  # the weaker form this model was downgraded to; absent: as planned
    used: frozenset[int] = frozenset({0})


def follow(plan: Plan, position: Position, signal: Signal) -> Position | None:
    """Return where the plan goes after `signal`, or None when it allows nothing more.

    A fault repeats the attempt (within `plan.retries`), asks for a weaker structured form, or fails over
    to another model and then another tier. A cut-off gets more room. A rejected answer is asked again
    where the plan has a re-ask, then goes one tier up. No planned attempt but a retried one is used twice.
    """
    here = plan.attempts[position.index]
    if isinstance(signal, Fault):
        if signal.retry and position.retries < plan.retries:
            return structs.replace(position, on="retry", retries=position.retries + 1)
        if signal.downgrade and (found := _next(plan, position, {"downgrade"}, model=here.model)) is not None:
            return _go(plan, position, found, "downgrade")
        if signal.failover:
            found = _next(plan, position, {"fault"}, tier=here.tier)
            if found is None:
                found = _next_tier(plan, position)
            return None if found is None else _go(plan, position, found, "fault")
        if signal.cheaper:
            return _cheaper(plan, position)
        return None
    if signal == "cut-off":
        return _more_room(plan, position)
    if here.on != "re-ask":
        found = _next(plan, position, {"re-ask"}, tier=here.tier)
        if found is not None:
            return _go(plan, position, found, "re-ask")
    found = _next_tier(plan, position)
    return None if found is None else _go(plan, position, found, "reject")


def _next(
    plan: Plan, position: Position, on: set[On], *, tier: str | None = None, model: str | None = None
) -> int | None:
    for index in range(position.index + 1, len(plan.attempts)):
        planned = plan.attempts[index]
        if (
            index not in position.used
            and planned.on in on
            and (tier is None or planned.tier == tier)
            and (model is None or planned.model == model)
        ):
            return index
    return None


def _next_tier(plan: Plan, position: Position) -> int | None:
    return _next(plan, position, {"reject"})


def _more_room(plan: Plan, position: Position) -> Position | None:
    """More room on the same model if it has any, else on the next model that gives more."""
    here = plan.attempts[position.index]
    options = [
        (planned.model != here.model, planned.tier != here.tier, index)
        for index, planned in enumerate(plan.attempts)
        if index not in position.used
        and planned.on in ("cut-off", "fault", "reject")
        and planned.max_tokens > here.max_tokens
    ]
    return _go(plan, position, min(options)[2], "cut-off") if options else None


def _cheaper(plan: Plan, position: Position) -> Position | None:
    here = plan.attempts[position.index]
    for index, planned in enumerate(plan.attempts):
        if (
            index not in position.used
            and planned.on == "fault"
            and planned.worst_case is not None
            and here.worst_case is not None
            and planned.worst_case < here.worst_case
        ):
            return _go(plan, position, index, "fault")
    return None


def _go(plan: Plan, position: Position, index: int, on: On) -> Position:
    here, there = plan.attempts[position.index], plan.attempts[index]
    form = there.form if on == "downgrade" else position.form
    return Position(
        index=index,
        on=on,
        form=form if there.model == here.model else None,
        used=position.used | {index},
    )
