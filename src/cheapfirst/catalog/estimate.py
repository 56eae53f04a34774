"""What a month would cost: everything on the premium tier, against your own mix of tiers. Pure arithmetic."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from fractions import Fraction

from msgspec import Struct

from cheapfirst import money
from cheapfirst.errors import RequestError


class Part(Struct, frozen=True, kw_only=True):
    """One tier of the mix, cheapest first; the last one is the premium tier."""

    tier: str
    weight: Decimal  # its part of the traffic, relative to the other weights: 90 and 10, or 0.9 and 0.1
    input: Decimal | None  # USD per million tokens; None: unknown
    output: Decimal | None  # USD per million tokens; None: unknown
    escalated: Decimal = Decimal(0)  # share (0 to 1) of its own requests that fail and go one tier up as well


class Line(Struct, frozen=True, kw_only=True):
    """What one tier costs in the mix."""

    tier: str
    share: Decimal  # of the traffic that it sees, escalated requests included: 0 to 1, or above
    input_tokens: int  # rounded; the cost is computed from the exact number
    output_tokens: int
    cost: Decimal | None  # USD; None: its price is unknown


class Estimate(Struct, frozen=True, kw_only=True):
    """Both bills. Amounts are USD; None where a price is unknown."""

    all_premium: Decimal | None
    mixed: Decimal | None
    saving: Decimal | None  # all_premium - mixed; negative when the mix costs more
    saved: Decimal | None  # saving / all_premium, 0 to 1, four places; None also when all_premium is 0
    lines: tuple[Line, ...]


def estimate(input_tokens: int, output_tokens: int, mix: Sequence[Part]) -> Estimate:
    """The bill of that many tokens on the last tier alone, and on the mix.

    A tier's traffic is its weight over the sum of weights, plus what the tier below escalates to it: an escalated
    request pays on both tiers, and escalates once. Each tier's cost is computed exactly and rounded once, so the
    lines add up to `mixed`. Raises RequestError for negative tokens, weights or shares, or an empty mix.
    """
    _validate(input_tokens, output_tokens, mix)
    total = sum((Fraction(part.weight) for part in mix), Fraction(0))
    own = [Fraction(part.weight) / total for part in mix]
    loads = [
        share + (own[number - 1] * Fraction(mix[number - 1].escalated) if number else 0)
        for number, share in enumerate(own)
    ]
    lines = tuple(
        Line(
            tier=part.tier,
            share=_decimal(load),
            input_tokens=round(input_tokens * load),
            output_tokens=round(output_tokens * load),
            cost=_cost(input_tokens * load, output_tokens * load, part),
        )
        for part, load in zip(mix, loads, strict=True)
    )
    premium = _cost(Fraction(input_tokens), Fraction(output_tokens), mix[-1])
    mixed = money.total(line.cost for line in lines)
    saving = money.total((premium, None if mixed is None else mixed.copy_negate()))
    return Estimate(
        all_premium=premium,
        mixed=mixed,
        saving=saving,
        saved=_decimal(Fraction(saving) / Fraction(premium), 4) if saving is not None and premium else None,
        lines=lines,
    )


def weights(text: str) -> tuple[Decimal, ...]:
    """The weights of a mix as people write it: "90/10", "80/15/5". Raises RequestError."""
    try:
        found = tuple(Decimal(part.strip().rstrip("%")) for part in text.split("/"))
    except ArithmeticError:
        found = ()
    if not found or not all(weight.is_finite() and weight >= 0 for weight in found) or not sum(found):
        raise RequestError(f'not a mix: "{text}". Write the tiers\' shares, cheapest first, like 90/10')
    return found


def _validate(input_tokens: int, output_tokens: int, mix: Sequence[Part]) -> None:
    if input_tokens < 0 or output_tokens < 0:
        raise RequestError(f"tokens must be 0 or more, not {min(input_tokens, output_tokens):,}")
    if not mix or not any(part.weight > 0 for part in mix):
        raise RequestError("the mix is empty: at least one tier needs a weight above 0")
    for part in mix:
        if not part.weight.is_finite() or part.weight < 0:
            raise RequestError(f"the weight of tier {part.tier} must be 0 or more, not {part.weight}")
        if not 0 <= part.escalated <= 1:
            raise RequestError(f"the escalated share of tier {part.tier} must be between 0 and 1, not {part.escalated}")
    if mix[-1].escalated:
        raise RequestError(f"tier {mix[-1].tier} is the last one: it has no tier above to escalate to")


def _cost(input_tokens: Fraction, output_tokens: Fraction, part: Part) -> Decimal | None:
    amount = Fraction(0)
    for tokens, price in ((input_tokens, part.input), (output_tokens, part.output)):
        if tokens and price is None:
            return None
        amount += tokens * Fraction(price or 0) / money.MILLION
    return _decimal(amount)


def _decimal(value: Fraction, places: int = 12) -> Decimal:
    """The fraction rounded half-even to that many places, by integers: no decimal context can change it."""
    return Decimal(f"{round(value * 10**places)}e-{places}")
