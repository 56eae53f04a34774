"""Turns request, policy and catalog into the attempts allowed and why. Pure: no I/O, no clock, no chance."""

from __future__ import annotations

from collections.abc import Iterable

from cheapfirst.catalog import Catalog, Model
from cheapfirst.errors import NoModelFits, RequestError, nearest
from cheapfirst.messages import Form, On, Plan, Planned, Request, Shape, Skipped, StreamMode
from cheapfirst.plan.fit import Needs, first_room, lacks, most_output, needs_of
from cheapfirst.policy.checks import Check, name_of
from cheapfirst.policy.table import Policy, Route, Tier

WEAKER: dict[Form, tuple[Form, ...]] = {
    "json_schema": ("json_object", "prompt"),
    "json_object": ("prompt",),
    "prompt": (),
    "tools": (),
    "none": (),
}


def make(request: Request, policy: Policy, catalog: Catalog, *, at: float | None = None) -> Plan:
    """Return the attempts that the policy allows for this request, each with its reasons.

    `at` is the Unix time whose prices count (seconds; absent: the latest known). Raises RequestError for an
    unknown task, tier or model, and NoModelFits when no allowed model can take the request.
    """
    route = _route(request.task, policy)
    needs = needs_of(request, route, policy)
    tiers, reasons = _tiers(request, route, policy, needs.prompt_tokens)
    forced = request.tier is not None or request.model is not None
    attempts: list[Planned] = []
    skipped: list[Skipped] = []
    for number, tier in enumerate(tiers):
        fitting = []
        for name in tier.models:
            model = catalog.model(name)
            lack = lacks(model, needs, catalog, at)
            if lack is None:
                fitting.append(model)
            else:
                skipped.append(Skipped(tier=tier.name, model=name, reason=lack))
        if fitting:
            first: On = "reject" if attempts else "start"
            why = _why_tier(tier, number, attempts, route, forced)
            attempts += _block(tier.name, fitting, first, why, needs, route, catalog, at)
    if not attempts:
        raise NoModelFits(request.task, {skip.model: skip.reason for skip in skipped})
    checks = route.checks + tuple(request.checks)
    return Plan(
        task=request.task,
        shape=shape_of(request, route),
        tier=attempts[0].tier,
        attempts=tuple(attempts),
        skipped=tuple(skipped),
        reasons=tuple(reasons),
        forced=forced,
        mode=_mode(request, route),
        checks=_check_names(request, checks),
        retries=policy.limits.retries,
        max_attempts=policy.limits.max_attempts,
        deadline=policy.limits.deadline,
        max_cost=policy.limits.max_cost,
        on_reject=route.on_reject,
        prompt_tokens=needs.prompt_tokens,
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


def _block(
    tier: str,
    models: list[Model],
    first: On,
    why: tuple[str, ...],
    needs: Needs,
    route: Route,
    catalog: Catalog,
    at: float | None,
) -> list[Planned]:
    """All attempts of one tier: the first, weaker forms, more room, the re-ask, then the failover models."""
    block: list[Planned] = []
    for number, model in enumerate(models):
        form = _form(model, needs)
        room = first_room(model, needs)
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
                fallbacks=tuple(other.id for other in models[1:3]) if number == 0 else (),
                worst_case=catalog.worst_case(model.id, needs.prompt_tokens, max_tokens, at),
                reasons=reasons,
            )

        opening = (*why, *unknown) if number == 0 else (f"another model of tier {tier} when the provider fails",)
        block.append(planned(first if number == 0 else "fault", form, room, *opening))
        for weaker in WEAKER[form]:
            block.append(planned("downgrade", weaker, room, f"if the provider refuses {form}"))
        for more in _more(room, model, needs):
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


def _more(room: int, model: Model, needs: Needs) -> Iterable[int]:
    """How much more room cut-offs get: all that is allowed and that the model can give, in one step."""
    most = most_output(model, needs)
    more = needs.most_tokens if most is None else min(needs.most_tokens, most)
    return (more,) if more > room else ()


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
