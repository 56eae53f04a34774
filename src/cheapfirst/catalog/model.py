"""What is known about one model: its prices over time, its limits and what it can do. Data only.

Prices are USD per million tokens. `None` always means unknown, never zero and never "no".
"""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Literal, TypeAlias

from msgspec import Struct

Structured: TypeAlias = Literal["json_schema", "json_object", "prompt"]
"""The strongest form in which a structured answer can be asked for."""

When: TypeAlias = datetime | float | None
"""A moment: a datetime (naive ones are UTC), Unix seconds, or None for the latest known prices."""


class ModelOverride(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What the user knows better than the catalog. Prices in USD per million tokens."""

    input: Decimal | None = None
    output: Decimal | None = None
    cache_read: Decimal | None = None
    cache_write: Decimal | None = None
    request: Decimal | None = None  # USD per request
    context: int | None = None  # tokens, prompt and answer together
    max_output: int | None = None  # tokens
    tools: bool | None = None
    vision: bool | None = None
    structured: Structured | None = None


class Price(Struct, frozen=True, kw_only=True, array_like=True):
    """One row of a model's price list, and when it counts. The last row that counts is the price."""

    input: Decimal | None = None
    output: Decimal | None = None
    cache_read: Decimal | None = None  # None: as `input`
    cache_write: Decimal | None = None  # None: as `input`
    since: int | None = None  # Unix seconds it started; None: from the beginning
    above: int = 0  # counts for prompts of more tokens than this
    hours: tuple[int, int] | None = None  # UTC minutes of the day, from and until; absent: all day
    reasoning: Decimal | None = None  # None: as `output`
    request: Decimal | None = None  # USD per request; None: none is charged

    def counts(self, at: float | None, prompt_tokens: int) -> bool:
        """Whether this row's conditions hold at that Unix time (None: the latest, outside special hours)."""
        if prompt_tokens <= self.above and self.above:
            return False
        if at is None:
            return self.hours is None
        if self.since is not None and at < self.since:
            return False
        return self.hours is None or _within(self.hours, at)


class Model(Struct, frozen=True, kw_only=True):
    """What is known about one model."""

    id: str
    known: bool = False  # in the catalog or declared by the user
    prices: tuple[Price, ...] = ()  # oldest first; empty: unknown
    context: int | None = None  # tokens, prompt and answer together; None: unknown
    max_output: int | None = None  # tokens; None: unknown
    tools: bool | None = None  # None: unknown
    vision: bool | None = None  # None: unknown
    structured: Structured | None = None  # None: unknown

    def price(self, at: When = None, prompt_tokens: int = 0) -> Price | None:
        """The price for a prompt of that size at that moment; None when no row counts then."""
        moment = seconds(at)
        for row in reversed(self.prices):
            if row.counts(moment, prompt_tokens):
                return row
        return None


def seconds(at: When) -> float | None:
    """A moment as Unix seconds; None stays None."""
    if isinstance(at, datetime):
        return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
    return at


def _within(hours: tuple[int, int], at: float) -> bool:
    start, end = hours
    minute = int(at // 60) % 1440
    return start <= minute < end if start <= end else minute >= start or minute < end
