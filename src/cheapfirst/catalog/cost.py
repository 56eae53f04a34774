"""What a call cost, exactly: from its tokens and a price, or from what the upstream itself reported.

Formulas, in USD with prices per million tokens:

    input  = (prompt - cached - written) * p_input + cached * p_read + written * p_write
    output = (completion - reasoning) * p_output + reasoning * p_reasoning
    cost   = input + output + p_request, rounded once, half-even, to twelve places

The provider's counts include: `prompt_tokens` holds the cached and the cache-written ones, `completion_tokens`
holds the reasoning. A missing cache price is the input price, a missing reasoning price is the output price.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from msgspec import Struct

from cheapfirst import money
from cheapfirst.catalog.model import Price
from cheapfirst.messages import Usage

_ZERO = Decimal(0)


def computed(price: Price | None, usage: Usage) -> Decimal | None:
    """USD for that usage at that price; None when a price that the usage needs is unknown.

    Counts that contradict each other (more cached tokens than prompt) are cut to the prompt, so that no cost
    is ever negative.
    """
    if price is None:
        return None
    fresh, out = max(usage.prompt_tokens, 0), max(usage.completion_tokens, 0)
    parts: list[tuple[int, Decimal | None]] = []
    if usage.cached_tokens > 0:
        cached = min(usage.cached_tokens, fresh)
        fresh -= cached
        parts.append((cached, _first(price.cache_read, price.input)))
    if usage.cache_write_tokens > 0:
        written = min(usage.cache_write_tokens, fresh)
        fresh -= written
        parts.append((written, _first(price.cache_write, price.input)))
    if usage.reasoning_tokens > 0:
        reasoning = min(usage.reasoning_tokens, out)
        out -= reasoning
        parts.append((reasoning, _first(price.reasoning, price.output)))
    parts += (fresh, price.input), (out, price.output)
    amount = money.tokens_total(parts, price.request or _ZERO)
    return None if amount is None else money.usd(amount)


class Dearest(Struct, frozen=True):
    """The highest of some prices for each kind of token, in USD: per million tokens, and per request."""

    input: Decimal
    output: Decimal
    request: Decimal


def dearest(prices: Iterable[Price]) -> Dearest | None:
    """The dearest of `prices`; None when there is none, or one that is needed is unknown."""
    rows = list(prices)
    if not rows or any(row.input is None or row.output is None for row in rows):
        return None
    inputs = (amount for row in rows for amount in (row.input, row.cache_read, row.cache_write))
    outputs = (amount for row in rows for amount in (row.output, row.reasoning))
    return Dearest(
        max(amount for amount in inputs if amount is not None),
        max(amount for amount in outputs if amount is not None),
        max(row.request or _ZERO for row in rows),
    )


def worst_case(price: Dearest, prompt_tokens: int, max_tokens: int) -> Decimal:
    """The most USD that a call can cost at that price, the whole room used."""
    return money.tokens_cost_of(prompt_tokens, price.input, max_tokens, price.output, price.request)


def reported(usage: Mapping[str, Any] | None) -> Decimal | None:
    """USD that the upstream's `usage` object says the call cost; None when it does not say.

    With the caller's own provider key (`is_byok`) `cost` is only the router's fee, and the provider's charge
    stands in `cost_details.upstream_inference_cost`: the two are added, and the cost is unknown when that part
    is missing. Without it `cost` is the whole charge. Numbers, also as strings, are read exactly.
    """
    if not usage:
        return None
    cost = _amount(usage.get("cost"))
    if not usage.get("is_byok"):
        return cost
    details = usage.get("cost_details")
    upstream = _amount(details.get("upstream_inference_cost")) if isinstance(details, Mapping) else None
    return money.total((cost, upstream))


def lone_fee(usage: Mapping[str, Any] | None) -> Decimal | None:
    """USD that the router charged for a call with the caller's own provider key, where the `usage` object does not
    tell the provider's charge beside it; None in every other case."""
    if not usage or not usage.get("is_byok") or reported(usage) is not None:
        return None
    return _amount(usage.get("cost"))


def _first(price: Decimal | None, otherwise: Decimal | None) -> Decimal | None:
    return otherwise if price is None else price


def _amount(value: object) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str | Decimal):
        return None
    try:
        amount = money.usd(value)
    except ValueError:
        return None
    return amount if amount >= 0 else None
