"""Notices invented values: every extracted string, number and date must occur in the source, however it is written."""

from __future__ import annotations

import re
from collections.abc import Sequence
from decimal import Decimal
from functools import lru_cache
from itertools import accumulate
from typing import Any

from msgspec import Struct

from cheapfirst.checks.context import Context
from cheapfirst.checks.dates import Dates, dates, whole_date
from cheapfirst.checks.declared import described, named, schema_for
from cheapfirst.checks.numerals import figure, numbers, plain
from cheapfirst.checks.paths import dotted, leaves, matches, shown
from cheapfirst.messages import Finding, Path
from cheapfirst.policy.checks import Grounded

INSIDE = 5
"""Characters from which a string may also stand inside longer words or across line breaks of the source."""

_GAP = re.compile(r"[\W_]+")
_AMOUNT = re.compile(
    r"[^\w.,+-]*(?:[a-z]{1,4}\s?[^\w.,+-]*)?([-+]?\d[\d.,'’\s]*\d|\d)\s?(?:%|[^\w.,]*[a-z]{0,4}\.?)[^\w]*"
)
_CLOCK = re.compile(r"(?<!\d)(\d{1,2})(?:[:.h](\d{2}))?(?::\d{2})?(?:[.,]\d+)?\s?([ap])?\.?(m\b)?")
_CURRENCIES = {
    "eur": ("€", "euro"), "usd": ("$", "dollar"), "gbp": ("£", "pound"), "jpy": ("¥", "yen"), "cny": ("¥", "yuan"),
    "inr": ("₹", "rupee"), "krw": ("₩", "won"), "chf": ("fr.", "frank"), "brl": ("r$", "real"), "rub": ("₽", "руб"),
    "try": ("₺", "lira"), "pln": ("zł", "zloty"), "myr": ("rm", "ringgit"), "cad": ("$", "dollar"),
    "aud": ("$", "dollar"), "ils": ("₪", "shekel"), "uah": ("₴", "hryvnia"), "vnd": ("₫", "dong"),
}  # fmt: skip


class Source(Struct, frozen=True):
    """A source text, prepared once for many comparisons."""

    raw: str  # without case, diacritics and compatibility forms
    spaced: str  # words joined by single spaces
    solid: str  # letters and digits only
    starts: frozenset[int]  # offsets in `solid` where a word of the source begins, and its end
    numbers: frozenset[Decimal]
    dates: Dates


@lru_cache(maxsize=64)
def prepare(text: str) -> Source:
    """Read a source text once."""
    raw = plain(text)
    words = _GAP.sub(" ", raw).split()
    starts = frozenset(accumulate(map(len, words), initial=0))
    return Source(raw, f" {' '.join(words)} ", "".join(words), starts, numbers(text), dates(text))


def grounded(value: Any, context: Context, options: Grounded) -> Sequence[Finding]:
    """Every string, number and date of the value occurs in the source. Codes: grounded.text, .number, .date.

    Exempt: booleans, nulls, blank strings, and what the schema itself names (enum, const, default, examples). Says
    nothing when there is no source or no value.
    """
    if context.source is None or not context.parsed:
        return ()
    source = prepare(context.source)
    found = []
    for path, leaf in leaves(value):
        if leaf is None or isinstance(leaf, bool) or not _wanted(path, options) or _exempt(value, context, path, leaf):
            continue
        if options.optional_only and not _optional(value, context, path):
            continue
        code = missing(leaf, source)
        if code is not None and code.partition(".")[2] in options.kinds:
            where = f"`{dotted(path)}`" if path else "The answer"
            sentence = f"{where} holds {shown(leaf)}, which does not occur in the source."
            found.append(Finding(check="grounded", code=code, sentence=sentence, path=path))
    return found


def missing(leaf: Any, source: Source) -> str | None:
    """The code of what is not in the source: a text, a number or a date; None when the leaf occurs there."""
    if isinstance(leaf, str):
        return _missing_text(leaf, source)
    try:
        number = Decimal(repr(leaf)) if isinstance(leaf, float) else Decimal(leaf)
    except (ArithmeticError, TypeError, ValueError):
        return "grounded.number"
    return None if number in source.numbers else "grounded.number"


def _missing_text(text: str, source: Source) -> str | None:
    written = plain(text).strip()
    words = _GAP.sub(" ", written).strip()
    if not words:
        return None if not written or written in source.raw else "grounded.text"
    if f" {words} " in source.spaced or _inside(words.replace(" ", ""), source):
        return None
    day = whole_date(text)
    if day is not None and _dated(day, source) and _timed(written, source):
        return None
    if day is not None and not written.isdigit():
        return "grounded.date"
    amount = _AMOUNT.fullmatch(written)
    if amount is not None:
        # Unit, currency sign and separators are format; the figure is the fact.
        readings = figure(amount[1].lstrip("+-"))
        return None if any(reading in source.numbers for reading in readings) else "grounded.number"
    signs = _CURRENCIES.get(words)
    if signs is not None and any(sign in source.raw for sign in signs):
        return None
    alone = numbers(text) if words.isalpha() else frozenset()
    if alone and max(alone) in source.numbers:
        return None
    return "grounded.text"


def _inside(solid: str, source: Source) -> bool:
    """Whether a long enough string stands in the source when all gaps are ignored, without cutting a number in two."""
    ideographs = any("\u3040" <= letter <= "\u9fff" for letter in solid)
    if len(solid) < INSIDE and not ideographs:
        return False
    at = source.solid.find(solid)
    while at >= 0:
        end = at + len(solid)
        cut_before = at not in source.starts and solid[0].isdigit() and source.solid[at - 1].isdigit()
        cut_after = end not in source.starts and solid[-1].isdigit() and source.solid[end].isdigit()
        if not (cut_before or cut_after):
            return True
        at = source.solid.find(solid, at + 1)
    return False


def _dated(day: Dates, source: Source) -> bool:
    if day.days:
        if day.days & source.dates.days:
            return True
        stated = {year for year, _, _ in day.days if Decimal(year) in source.numbers}
        return any(year in stated and (month, number) in source.dates.yearless for year, month, number in day.days)
    if day.months:
        return bool(day.months & (source.dates.months | {(year, month) for year, month, _ in source.dates.days}))
    return bool(day.yearless & (source.dates.yearless | {(month, number) for _, month, number in source.dates.days}))


def _timed(written: str, source: Source) -> bool:
    """Whether the time behind an ISO date is midnight (no time was meant) or a time of the source."""
    _, mark, time = written.partition("t") if re.match(r"\d{4}-\d{2}-\d{2}t", written) else ("", "", "")
    if not mark:
        return True
    wanted = _clocks(time)[:1]
    return wanted in ([], [(0, 0)]) or wanted[0] in _clocks(source.raw)


def _clocks(text: str) -> list[tuple[int, int]]:
    found = []
    for hour, minute, half, _ in _CLOCK.findall(text):
        clock = int(hour) % 12 + (12 if half == "p" else 0) if half else int(hour)
        found.append((clock, int(minute or 0)))
    return found


def _wanted(path: Path, options: Grounded) -> bool:
    if any(matches(path, written) for written in options.exclude):
        return False
    return options.only is None or any(matches(path, written) for written in options.only)


def _optional(value: Any, context: Context, path: Path) -> bool:
    """Whether the schema would do without this value: a property on the way to it is declared and not required."""
    schema, inner = schema_for(value, context, path)
    for depth, step in enumerate(inner):
        parts = described(schema, inner[:depth])
        if isinstance(step, str) and not any(step in (part.get("required") or ()) for part in parts):
            return bool(parts)
    return False


def _exempt(value: Any, context: Context, path: Path, leaf: Any) -> bool:
    schema, inner = schema_for(value, context, path)
    if context.called and schema is None:
        return True
    return schema is not None and named(described(schema, inner), leaf)
