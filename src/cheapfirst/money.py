"""Money as exact decimals: USD with twelve places, so a single cached token of the cheapest model is not lost.

Twelve places (one picodollar) hold any price of up to six decimals per million tokens times any whole
number of tokens without rounding. Values from elsewhere (an upstream's reported cost) are rounded once,
half-even, when they are read; after that only additions happen, and those are exact.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import ROUND_HALF_EVEN, Context, Decimal, InvalidOperation

PLACES = Decimal("0.000000000001")
PICO = 10**12
MILLION = 1_000_000

# A context of our own: the caller's decimal context (precision, traps) must not change a bill.
_EXACT = Context(prec=60, rounding=ROUND_HALF_EVEN)
_ZERO = Decimal(0)


def usd(value: Decimal | int | str | float) -> Decimal:
    """Read a USD amount; floats are read by their shortest decimal form, never by their binary expansion.

    Raises ValueError when it is not a finite number.
    """
    try:
        number = Decimal(repr(value)) if isinstance(value, float) else Decimal(value)
        amount = _EXACT.quantize(number, PLACES)
    except (InvalidOperation, TypeError, ValueError) as error:
        raise ValueError(f"not an amount in USD: {value!r}") from error
    if not amount.is_finite():  # NaN goes through every operation in silence
        raise ValueError(f"not an amount in USD: {value!r}")
    return amount


def per_mtok(price: Decimal | int | str | float) -> Decimal:
    """Read a price in USD per million tokens, unrounded. Raises ValueError when not finite or negative."""
    try:
        number = Decimal(repr(price)) if isinstance(price, float) else Decimal(price)
    except (InvalidOperation, TypeError, ValueError) as error:
        raise ValueError(f"not a price in USD per million tokens: {price!r}") from error
    if not number.is_finite() or number < 0:
        raise ValueError(f"not a price in USD per million tokens: {price!r}")
    return number


def tokens_cost(tokens: int, price_per_mtok: Decimal) -> Decimal:
    """USD for `tokens` at a price per million tokens, unrounded (round a whole attempt once, with `usd`)."""
    return _EXACT.divide(_EXACT.multiply(Decimal(tokens), price_per_mtok), Decimal(MILLION))


def tokens_cost_of(prompt: int, input: Decimal, answer: int, output: Decimal, more: Decimal) -> Decimal:
    """USD for a prompt and an answer at their prices per million tokens, and `more` USD, rounded once. Tokens below 0
    count as none."""
    tokens = _EXACT.multiply(input, prompt if prompt > 0 else 0)
    if answer > 0:
        tokens = _EXACT.fma(output, answer, tokens)
    amount = _EXACT.scaleb(tokens, -6)
    return _EXACT.quantize(_EXACT.add(amount, more) if more else amount, PLACES)


def tokens_total(parts: Iterable[tuple[int, Decimal | None]], more: Decimal) -> Decimal | None:
    """USD for several numbers of tokens, each at its price per million, and `more` USD; unrounded.

    None when a price that is needed is unknown.
    """
    result = _ZERO
    for tokens, price_per_mtok in parts:
        if tokens:
            if price_per_mtok is None:
                return None
            result = _EXACT.fma(price_per_mtok, tokens, result)
    return _EXACT.add(_EXACT.scaleb(result, -6), more)


def total(amounts: Iterable[Decimal | None]) -> Decimal | None:
    """Exact sum; None (unknown) as soon as one amount is unknown. The empty sum is 0."""
    result = Decimal(0)
    for amount in amounts:
        if amount is None:
            return None
        result = _EXACT.add(result, amount)
    return result


def total_known(amounts: Iterable[Decimal | None]) -> Decimal:
    """Exact sum of the known amounts only. Show it beside how many were unknown."""
    return total(amount for amount in amounts if amount is not None) or Decimal(0)


def to_pico(amount: Decimal | None) -> int | None:
    """USD -> whole picodollars for storage; None stays None."""
    return None if amount is None else int(_EXACT.scaleb(_EXACT.quantize(amount, PLACES), 12))


def from_pico(pico: int | None) -> Decimal | None:
    """Whole picodollars -> USD; None stays None."""
    return None if pico is None else _EXACT.quantize(_EXACT.divide(Decimal(pico), Decimal(PICO)), PLACES)


def show(amount: Decimal | None, *, places: int | None = None) -> str:
    """A USD amount for people: `$500.00`, `$0.0000231`, `-$1.20`, or `unknown`.

    Without `places`, amounts of a cent and more get two places (four under a dollar) and smaller ones
    three significant digits.
    """
    if amount is None:
        return "unknown"
    sign = "-" if amount < 0 else ""
    size = abs(amount)
    if places is None:
        if size == 0 or size >= 1:
            places = 2
        elif size >= Decimal("0.01"):
            places = 4
        else:
            places = min(12, 2 - size.adjusted())
    return f"{sign}${size:,.{places}f}"
