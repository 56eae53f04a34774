"""The policy as tables for people: what each task does, and what each tier's models cost and can do."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from cheapfirst.catalog import Catalog, Price
from cheapfirst.catalog.model import Structured, When
from cheapfirst.messages import Shape, StreamMode
from cheapfirst.policy.checks import name_of
from cheapfirst.policy.table import Budget, Per, Policy, Rate, Route, scope_of


class RouteRow(Struct, frozen=True, kw_only=True):
    """One task as the policy serves it. Prices are USD per million tokens of the first model; None: unknown."""

    task: str
    tier: str
    model: str  # the first one; the tier's others follow on provider faults
    shape: Shape
    stream: StreamMode
    checks: tuple[str, ...]
    escalates_to: tuple[str, ...]  # tiers, in order; empty: none
    max_tokens: int
    input: Decimal | None
    output: Decimal | None
    why: str


class TierRow(Struct, frozen=True, kw_only=True):
    """One model of a tier. Prices are USD per million tokens, sizes are tokens; None: unknown."""

    tier: str
    model: str
    known: bool
    input: Decimal | None
    output: Decimal | None
    cache_read: Decimal | None
    context: int | None
    max_output: int | None
    tools: bool | None
    vision: bool | None
    structured: Structured | None


class BudgetRow(Struct, frozen=True, kw_only=True):
    """One budget. `scope` says whose, like `tenant acme`; `*` is each of them separately."""

    scope: str
    per: Per
    limit: Decimal  # USD
    step_down: float | None  # share of the limit; None: never


class RateRow(Struct, frozen=True, kw_only=True):
    """One rate limit. None: no limit."""

    scope: str
    requests: int | None  # per minute
    tokens: int | None  # per minute
    concurrent: int | None


class Shown(Struct, frozen=True, kw_only=True):
    """A policy for people."""

    source: str
    hash: str
    default_task: str
    tiers: tuple[TierRow, ...]  # cheapest first
    routes: tuple[RouteRow, ...]
    budgets: tuple[BudgetRow, ...] = ()
    rates: tuple[RateRow, ...] = ()


def show(policy: Policy, catalog: Catalog, at: When = None) -> Shown:
    """The policy as rows, with the prices of that moment (absent: the latest) for a short prompt."""
    prices = catalog.overriding(policy.models)
    return Shown(
        source=policy.source,
        hash=policy.hash,
        default_task=policy.default_task,
        tiers=tuple(_tier_row(tier.name, id, prices, at) for tier in policy.tiers for id in tier.models),
        routes=tuple(_route_row(route, policy, prices, at) for route in policy.routes.values()),
        budgets=tuple(
            BudgetRow(scope=named(row), per=row.per, limit=row.limit, step_down=row.step_down) for row in policy.budgets
        ),
        rates=tuple(
            RateRow(scope=named(row), requests=row.requests, tokens=row.tokens, concurrent=row.concurrent)
            for row in policy.rates
        ),
    )


def escalates_to(route: Route, policy: Policy) -> tuple[str, ...]:
    """The tiers above the route's own that a rejected answer may go to, in order."""
    names = [tier.name for tier in policy.tiers]
    above = names[names.index(route.tier) + 1 :]
    return tuple(above[: policy.limits.escalations]) if route.escalate else ()


def named(row: Budget | Rate) -> str:
    """Whose budget or rate a row is: `tenant acme`, or `tenant *` for each of them."""
    return " ".join(scope_of(row))


def budget_text(row: Budget) -> str:
    """How much a budget allows: `$5.00, stepping down from 0.9`."""
    return f"{_dollars(row.limit)}{f', stepping down from {row.step_down:g}' if row.step_down is not None else ''}"


def rate_text(row: Rate) -> str:
    """What a rate allows: `60 requests a minute, 4 at once`."""
    allowed = (
        (row.requests, "requests a minute"),
        (row.tokens, "tokens a minute"),
        (row.concurrent, "at once"),
    )
    return ", ".join(f"{number:,} {what}" for number, what in allowed if number is not None)


def price_text(price: Price | None) -> str:
    """A price for people: `$0.105 in, $0.21 out`, or `price unknown`."""
    if price is None or (price.input is None and price.output is None):
        return "price unknown"
    return f"{_dollars(price.input)} in, {_dollars(price.output)} out"


def _route_row(route: Route, policy: Policy, catalog: Catalog, at: When) -> RouteRow:
    model = policy.tier(route.tier).models[0]
    price = catalog.model(model).price(at)
    return RouteRow(
        task=route.task,
        tier=route.tier,
        model=model,
        shape=route.shape,
        stream=route.stream,
        checks=tuple(name_of(check) for check in route.checks),
        escalates_to=escalates_to(route, policy),
        max_tokens=route.max_tokens,
        input=price.input if price else None,
        output=price.output if price else None,
        why=route.tier_reason,
    )


def _tier_row(tier: str, id: str, catalog: Catalog, at: When) -> TierRow:
    model = catalog.model(id)
    price = model.price(at)
    return TierRow(
        tier=tier,
        model=id,
        known=model.known,
        input=price.input if price else None,
        output=price.output if price else None,
        cache_read=price.cache_read if price else None,
        context=model.context,
        max_output=model.max_output,
        tools=model.tools,
        vision=model.vision,
        structured=model.structured,
    )


def _dollars(amount: Decimal | None) -> str:
    if amount is None:
        return "unknown"
    exact = f"{amount.normalize():f}"
    places = len(exact.partition(".")[2])
    return f"${amount:,.{max(places, 2)}f}"
