"""What can differ between the ledger and the upstream's books. Pure: compares what both say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from cheapfirst.catalog import Catalog
from cheapfirst.ledger.generations import Generation
from cheapfirst.messages import Usage
from cheapfirst.money import from_pico, usd

Kind: TypeAlias = Literal[
    "missing_there", "cost_unknown_here", "cost", "tokens", "model", "provider", "missing_here", "day_missing_there",
    "day_cost", "day_tokens",
]  # fmt: skip
"""`missing_there`: the upstream has no such answer. `cost_unknown_here`: it has the cost that the ledger lacks.
`missing_here` and those that begin with `day` are about all calls of one UTC day and model."""

KINDS: dict[Kind, str] = {
    "missing_there": "the upstream has no such answer",
    "cost_unknown_here": "the ledger lacks the cost",
    "cost": "the cost differs",
    "tokens": "the tokens differ",
    "model": "another model answered",
    "provider": "another provider answered",
    "missing_here": "calls of a day and model that the ledger lacks",
    "day_missing_there": "calls of a day and model that the upstream lacks",
    "day_cost": "the cost of a day and model differs",
    "day_tokens": "the tokens of a day and model differ",
}


class Said(Struct, frozen=True, kw_only=True):
    """What the upstream's page about an answer says. None: it does not say."""

    id: str
    model: str | None = None
    provider: str | None = None
    cost: Decimal | None = None  # USD
    usage: Usage | None = None


class Difference(Struct, frozen=True, kw_only=True):
    """One difference. Of one answer, or of all calls of a day and model."""

    kind: Kind
    here: str
    there: str
    amount: Decimal | None = None  # USD there more than here; None: not about money, or unknown
    request_id: str | None = None  # of an answer, as the next two
    attempt: int | None = None
    generation_id: str | None = None
    date: str | None = None  # of a day, as the next
    model: str | None = None


class Day(Struct, kw_only=True):
    """The calls of one UTC day and model."""

    requests: int = 0
    cost: Decimal = Decimal(0)  # USD, of those whose cost is known
    unknown: int = 0  # calls whose cost is unknown
    prompt_tokens: int = 0
    completion_tokens: int = 0


Days: TypeAlias = dict[tuple[str, str], Day]
"""By date (2026-11-24, UTC) and model in the catalog's spelling."""


def of_generation(here: Generation, there: Said | None, catalog: Catalog) -> Iterator[Difference]:
    """The differences of one answer; `there` None: the upstream has none of that id."""
    at: dict[str, Any] = {
        "request_id": here.request_id, "attempt": here.number, "generation_id": here.generation_id
    }  # fmt: skip
    cost = from_pico(here.cost)
    if there is None:
        amount = None if cost is None else -cost
        yield Difference(
            kind="missing_there", here=f"{here.model_served}, {_usd(cost)}", there="nothing", amount=amount, **at
        )
        return
    if there.cost is not None and cost is None:
        yield Difference(kind="cost_unknown_here", here="unknown", there=_usd(there.cost), amount=there.cost, **at)
    elif there.cost is not None and cost is not None and there.cost != cost:
        yield Difference(kind="cost", here=_usd(cost), there=_usd(there.cost), amount=there.cost - cost, **at)
    if there.usage is not None and cost is not None and (tokens := list(_tokens(here, there.usage))):
        mine, theirs = zip(*tokens, strict=True)
        yield Difference(kind="tokens", here=", ".join(mine), there=", ".join(theirs), **at)
    if there.model is not None:
        model = catalog.served(there.model, asked=here.model_asked, alone=False)
        if model != here.model_served and catalog.normalise(there.model) != catalog.normalise(here.model_served):
            yield Difference(kind="model", here=here.model_served, there=model, **at)
    if there.provider is not None and here.provider is not None and there.provider != here.provider:
        yield Difference(kind="provider", here=here.provider, there=there.provider, **at)


def add_generation(days: Days, here: Generation, catalog: Catalog) -> None:
    """Count a call of the ledger under its day and model."""
    day = days.setdefault((date_of(here.time), catalog.normalise(here.model_served)), Day())
    day.requests += 1
    day.prompt_tokens += here.prompt_tokens or 0
    day.completion_tokens += here.completion_tokens or 0
    if here.cost is None:
        day.unknown += 1
    else:
        day.cost += from_pico(here.cost) or Decimal(0)


def read_activity(rows: Iterable[Any], catalog: Catalog) -> Days:
    """The days and models of an `/activity` answer's `data`. Rows that are none are left out."""
    days: Days = {}
    for row in rows:
        if not isinstance(row, Mapping) or not isinstance(row.get("date"), str):
            continue
        model = row.get("model") or row.get("model_permaslug")
        if not isinstance(model, str):
            continue
        day = days.setdefault((row["date"][:10], catalog.normalise(model)), Day())
        day.requests += _count(row.get("requests"))
        day.prompt_tokens += _count(row.get("prompt_tokens"))
        day.completion_tokens += _count(row.get("completion_tokens"))
        day.cost += _amount(row.get("usage")) + _amount(row.get("byok_usage_inference"))
    return days


def of_days(here: Days, there: Days, dates: Iterable[str]) -> Iterator[Difference]:
    """The differences of whole days, by model."""
    wanted = set(dates)
    for key in sorted({*here, *there}):
        if key[0] not in wanted:
            continue
        mine, theirs = here.get(key, Day()), there.get(key, Day())
        at: dict[str, Any] = {"date": key[0], "model": key[1]}
        amount = theirs.cost - mine.cost
        if mine.requests != theirs.requests:
            kind: Kind = "missing_here" if theirs.requests > mine.requests else "day_missing_there"
            ours, others = (f"{day.requests} calls, {_usd(day.cost)}" for day in (mine, theirs))
            yield Difference(kind=kind, here=ours, there=others, amount=amount, **at)
            continue
        if mine.cost != theirs.cost:
            known = f" and {mine.unknown} unknown" if mine.unknown else ""
            yield Difference(
                kind="day_cost", here=_usd(mine.cost) + known, there=_usd(theirs.cost), amount=amount, **at
            )
        if (mine.prompt_tokens, mine.completion_tokens) != (theirs.prompt_tokens, theirs.completion_tokens):
            ours, others = (f"{day.prompt_tokens} in, {day.completion_tokens} out" for day in (mine, theirs))
            yield Difference(kind="day_tokens", here=ours, there=others, **at)


def date_of(time: float) -> str:
    """The UTC day of a Unix time."""
    return datetime.fromtimestamp(time, UTC).date().isoformat()


def _tokens(here: Generation, there: Usage) -> Iterator[tuple[str, str]]:
    for name in ("prompt_tokens", "completion_tokens", "cached_tokens", "reasoning_tokens"):
        mine, theirs = getattr(here, name), getattr(there, name)
        if mine != theirs:
            label = name.removesuffix("_tokens")
            yield f"{label} {'unknown' if mine is None else mine}", f"{label} {theirs}"


def _usd(amount: Decimal | None) -> str:
    """All digits: a difference may be in the last one."""
    return "unknown" if amount is None else f"${amount.normalize():f}"


def _count(value: object) -> int:
    return int(value) if isinstance(value, int | float | Decimal) and not isinstance(value, bool) else 0


def _amount(value: object) -> Decimal:
    try:
        return usd(value) if isinstance(value, int | float | str | Decimal) and value != "" else Decimal(0)
    except ValueError:
        return Decimal(0)
