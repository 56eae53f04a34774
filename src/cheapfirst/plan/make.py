"""Turns request, policy and catalog into the attempts allowed and why. Pure: no I/O, no clock, no chance."""

from __future__ import annotations

from collections.abc import Hashable

from msgspec import Struct, structs

from cheapfirst.catalog import Catalog, Model
from cheapfirst.errors import NoModelFits, RequestError, nearest
from cheapfirst.messages import Blueprint, Form, On, Plan, Planned, Request, Shape, Skipped, StreamMode
from cheapfirst.plan.fit import Needs, lacks, most_output, needs_of
from cheapfirst.policy.checks import Check, name_of
from cheapfirst.policy.table import Policy, Route, Tier

REMEMBERED = 1000
"""Kinds of plans kept in a memory; a new one begins an empty memory then."""

WEAKER: dict[Form, tuple[Form, ...]] = {
    "json_schema": ("json_object", "prompt"),
    "json_object": ("prompt",),
    "prompt": (),
    "tools": (),
    "none": (),
}


def make(
    request: Request,
    policy: Policy,
    catalog: Catalog,
    *,
    at: float | None = None,
    known: dict[Hashable, Plan] | None = None,
) -> Plan:
    """Return the attempts that the policy allows for this request, each with its reasons.

    `at` is the Unix time whose prices count (seconds; absent: the latest known). `known` is a memory for what plans of
    this policy and this catalog have in common: the same plan comes sooner. Raises RequestError for an unknown task,
    tier or model, and NoModelFits when no allowed model can take the request.
    """
    route = _route(request.task, policy)
    needs = needs_of(request, route, policy)
    tiers, reasons = _tiers(request, route, policy, needs.prompt_tokens)
    fits = [[_fit(catalog.model(name), needs, catalog, at) for name in tier.models] for tier in tiers]
    kind = (
        *(request.task, request.model, request.tier, request.stream, request.schema is None, shape_of(request, route)),
        *(needs.images, needs.tools, needs.structured, needs.max_tokens, needs.most_tokens),
        tuple(map(name_of, request.checks)),
        tuple(reasons),
        tuple(tuple((fit.lack, fit.room, fit.most) for fit in tier) for tier in fits),
    )
    plan = known.get(kind) if known is not None else None
    if plan is None:
        plan = _plan(request, policy, route, needs, tiers, reasons, fits)
        if known is not None:
            plan = structs.replace(plan, blueprint=Blueprint.of(plan))
            if len(known) >= REMEMBERED:
                known.clear()
            known[kind] = plan
    return structs.replace(
        plan, attempts=_priced(plan.attempts, needs.prompt_tokens, catalog, at), prompt_tokens=needs.prompt_tokens
    )


def _priced(
    attempts: tuple[Planned, ...], prompt_tokens: int, catalog: Catalog, at: float | None
) -> tuple[Planned, ...]:
    """The attempts with what each may cost at most."""
    model, room, worst = "", -1, None
    priced = []
    for planned in attempts:
        if planned.max_tokens != room or planned.model != model:  # weaker forms follow each other, and cost the same
            model, room = planned.model, planned.max_tokens
            worst = catalog.worst_case(model, prompt_tokens, room, at)
        priced.append(
            Planned(
                on=planned.on,
                tier=planned.tier,
                model=planned.model,
                form=planned.form,
                max_tokens=planned.max_tokens,
                fallbacks=planned.fallbacks,
                worst_case=worst,
                reasons=planned.reasons,
            )
        )
    return tuple(priced)


class _Fit(Struct, frozen=True):
    """Whether a model can take the request, and how much answer it has room for."""

    model: Model
    lack: str | None
    room: int
    most: int | None


def _fit(model: Model, needs: Needs, catalog: Catalog, at: float | None) -> _Fit:
    most = most_output(model, needs)
    room = needs.max_tokens if most is None else max(1, min(needs.max_tokens, most))
    return _Fit(model, lacks(model, needs, catalog, at), room, None if most is None else min(needs.most_tokens, most))


def _plan(
    request: Request,
    policy: Policy,
    route: Route,
    needs: Needs,
    tiers: list[Tier],
    reasons: list[str],
    fits: list[list[_Fit]],
) -> Plan:
    """The plan without what depends on the prompt's size."""
    forced = request.tier is not None or request.model is not None
    attempts: list[Planned] = []
    skipped: list[Skipped] = []
    for number, (tier, found) in enumerate(zip(tiers, fits, strict=True)):
        fitting = [fit for fit in found if fit.lack is None]
        skipped += [Skipped(tier=tier.name, model=fit.model.id, reason=fit.lack) for fit in found if fit.lack]
        if fitting:
            first: On = "reject" if attempts else "start"
            why = _why_tier(tier, number, attempts, route, forced)
            attempts += _block(tier.name, fitting, first, why, needs, route)
    if not attempts:
        raise NoModelFits(request.task, {skip.model: skip.reason for skip in skipped})
    return Plan(
        task=request.task,
        shape=shape_of(request, route),
        tier=attempts[0].tier,
        attempts=tuple(attempts),
        skipped=tuple(skipped),
        reasons=tuple(reasons),
        forced=forced,
        mode=_mode(request, route),
        checks=_check_names(request, route.checks + tuple(request.checks)),
        retries=policy.limits.retries,
        max_attempts=policy.limits.max_attempts,
        deadline=policy.limits.deadline,
        max_cost=policy.limits.max_cost,
        on_reject=route.on_reject,
        policy_hash=policy.hash,
    )


def _route(task: str, policy: Policy) -> Route:
    route = policy.routes.get(task)
    if route is None:
        allowed = ", ".join(sorted(policy.routes))
        raise RequestError(
            f"unknown task {task!r}{nearest(task, policy.routes) or '.'} Tasks of the policy ({policy.source}): "
            f"{allowed}. Add a row for it under [routes]."
        )
    return route


def _tiers(request: Request, route: Route, policy: Policy, prompt_tokens: int) -> tuple[list[Tier], list[str]]:
    """The tiers allowed in order, and why the first one is first."""
    names = [tier.name for tier in policy.tiers]
    if request.tier is not None and request.tier not in names:
        raise RequestError(
            f"unknown tier {request.tier!r}{nearest(request.tier, names) or '.'} Tiers of the policy "
            f"({policy.source}): {', '.join(names)}."
        )
    if request.model is not None:
        home = next((tier.name for tier in policy.tiers if request.model in tier.models), None)
        name = request.tier or home or "forced"
        return [Tier(name=name, models=(request.model,))], [f"the caller forced model {request.model}"]
    if request.tier is not None:
        return [policy.tier(request.tier)], [f"the caller forced tier {request.tier}"]
    start, reasons = route.tier, [route.tier_reason]
    if route.long_prompt is not None and prompt_tokens > route.long_prompt.tokens:
        start = route.long_prompt.tier
        reasons.append(
            f"the prompt (about {prompt_tokens:,} tokens) is over long_prompt.tokens = {route.long_prompt.tokens:,}: "
            f"starts on {start}"
        )
    elif request.user_facing is not None and request.user_facing != route.user_facing:
        reasons.append("the caller said user_facing; the table fixes the tier all the same")
    first = names.index(start)
    last = first + policy.limits.escalations if route.escalate else first
    return list(policy.tiers[first : last + 1]), reasons


def _why_tier(tier: Tier, number: int, before: list[Planned], route: Route, forced: bool) -> tuple[str, ...]:
    if forced:
        return ("forced by the caller",)
    if number == 0:
        return (f"route {route.task} starts on tier {tier.name}",)
    if not before:
        return (f"no model of the tiers below fits, so it starts on {tier.name}",)
    return (f"one tier up to {tier.name} when the checks reject the answer",)


def _block(tier: str, fits: list[_Fit], first: On, why: tuple[str, ...], needs: Needs, route: Route) -> list[Planned]:
    """All attempts of one tier: the first, weaker forms, more room, the re-ask, then the failover models."""
    block: list[Planned] = []
    for number, fit in enumerate(fits):
        model, room = fit.model, fit.room
        form = _form(model, needs)
        unknown = _unknowns(model, needs)

        def planned(
            on: On, form: Form, max_tokens: int, *reasons: str, model: Model = model, number: int = number
        ) -> Planned:
            return Planned(
                on=on,
                tier=tier,
                model=model.id,
                form=form,
                max_tokens=max_tokens,
                fallbacks=tuple(other.model.id for other in fits[1:3]) if number == 0 else (),
                reasons=reasons,
            )

        opening = (*why, *unknown) if number == 0 else (f"another model of tier {tier} when the provider fails",)
        block.append(planned(first if number == 0 else "fault", form, room, *opening))
        for weaker in WEAKER[form]:
            block.append(planned("downgrade", weaker, room, f"if the provider refuses {form}"))
        more = needs.most_tokens if fit.most is None else fit.most
        if more > room:  # all that is allowed and that the model can give, in one step
            block.append(planned("cut-off", form, more, f"{more:,} tokens of room if the answer is cut off"))
        if number == 0 and route.reask:
            block.append(planned("re-ask", form, room, "the same model once more, with the verdict"))
    return block


def _form(model: Model, needs: Needs) -> Form:
    """The strongest structured form the model is known to support."""
    if needs.structured is None:
        return "tools" if needs.tools else "none"
    supported: Form = model.structured or "prompt"
    if needs.structured == "json" and supported == "json_schema":
        return "json_object"
    return supported


def _unknowns(model: Model, needs: Needs) -> tuple[str, ...]:
    unknown = [] if model.context is not None else ["context window"]
    if needs.images and model.vision is None:
        unknown.append("vision")
    if needs.tools and model.tools is None:
        unknown.append("tools")
    if needs.structured and model.structured is None:
        unknown.append("structured output")
    return (f"not in the catalog, so not checked: {', '.join(unknown)}",) if unknown else ()


def shape_of(request: Request, route: Route) -> Shape:
    """The route's shape; an answer that the request itself wants as JSON is read as JSON on every route."""
    wanted = request.body.get("response_format")
    named = isinstance(wanted, dict) and wanted.get("type") in ("json_schema", "json_object")
    return "json" if named or request.schema is not None else route.shape


def _mode(request: Request, route: Route) -> StreamMode:
    return route.stream if request.stream else "off"


def _check_names(request: Request, checks: tuple[Check, ...]) -> tuple[str, ...]:
    schema = ("schema",) if request.schema is not None else ()
    return schema + tuple(name_of(check) for check in checks)
