"""What a generation costs on a simulated model, exactly, in picodollars."""

from __future__ import annotations

import time
from decimal import ROUND_HALF_EVEN, Context, Decimal

from msgspec import Struct

from cheapfirst.simulator.books import Bill
from cheapfirst.simulator.models import Override, SimModel

_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_PICO_PER_TOKEN = Decimal(1_000_000)  # of one USD per million tokens


class Prices(Struct, frozen=True, kw_only=True):
    """USD per million tokens, as they hold for one request."""

    input: Decimal
    output: Decimal
    cache_read: Decimal
    cache_write: Decimal
    request: Decimal  # USD


def prices(model: SimModel, prompt_tokens: int, clock: str | None = None) -> Prices:
    """The prices for a prompt of this length at a time of day (`clock`: HHMM in UTC; absent: now).

    Every override that applies wins over what stands before it, price by price.
    """
    clock = clock or time.strftime("%H%M", time.gmtime())
    found = {
        "input": model.input,
        "output": model.output,
        "cache_read": model.cache_read,
        "cache_write": model.cache_write,
    }
    for override in model.overrides:
        if _applies(override, prompt_tokens, clock):
            for name in found:
                price = getattr(override, name)
                found[name] = found[name] if price is None else price
    full = found["input"] or Decimal(0)
    return Prices(
        input=full,
        output=found["output"] or Decimal(0),
        cache_read=full if found["cache_read"] is None else found["cache_read"],
        cache_write=full if found["cache_write"] is None else found["cache_write"],
        request=model.request,
    )


def _applies(override: Override, prompt_tokens: int, clock: str) -> bool:
    if override.min_prompt_tokens is not None and prompt_tokens <= override.min_prompt_tokens:
        return False
    start, end = override.utc_start or "0000", override.utc_end or "2400"
    return start <= clock < end if start <= end else clock >= start or clock < end


def bill(
    model: SimModel,
    *,
    prompt: int,
    completion: int,
    cached: int = 0,
    written: int = 0,
    reasoning: int = 0,
    byok_fee: Decimal | None = None,
    clock: str | None = None,
) -> Bill:
    """Bill one generation; sizes in tokens. `byok_fee` is the fee's share of the provider's price (absent: no BYOK).

    `(prompt - cached - written) * input + cached * read + written * write + completion * output + request`
    """
    now = prices(model, prompt, clock)
    asked = (
        (prompt - cached - written) * now.input + cached * now.cache_read + written * now.cache_write
    ) * _PICO_PER_TOKEN + now.request * 10**12
    upstream_prompt = _whole(asked)
    upstream_completion = _whole(completion * now.output * _PICO_PER_TOKEN)
    upstream = upstream_prompt + upstream_completion
    return Bill(
        prompt=prompt,
        completion=completion,
        cached=cached,
        written=written,
        reasoning=reasoning,
        upstream_prompt=upstream_prompt,
        upstream_completion=upstream_completion,
        cost=upstream if byok_fee is None else _whole(upstream * byok_fee),
        byok=byok_fee is not None,
    )


def worst_case(model: SimModel, prompt: int, room: int) -> int:
    """Picodollars of a request that uses all the room (tokens) it asked for."""
    return bill(model, prompt=prompt, completion=room).cost


def _whole(pico: Decimal) -> int:
    return int(_EXACT.quantize(pico, Decimal(1)))
