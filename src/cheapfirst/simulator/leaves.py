"""Makes single values for a JSON Schema from what a text holds: strings as its spans, numbers and dates found in it."""

from __future__ import annotations

import math
import re
import string
from collections.abc import Iterator
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal, InvalidOperation
from typing import Any

from cheapfirst.messages import Wire
from cheapfirst.simulator import patterns
from cheapfirst.simulator.clues import Clues, words

_NOT = frozenset(
    {
        "no",
        "not",
        "never",
        "without",
        "kein",
        "keine",
        "nicht",
        "pas",
        "sans",
        "sin",
        "non",
        "não",
        "niet",
        "geen",
        "değil",
    }
)
_PERSONS = frozenset(
    {"name", "customer", "vendor", "company", "author", "person", "supplier", "sender", "recipient", "buyer", "seller"}
)
_LONG = frozenset(
    {
        "summary",
        "description",
        "text",
        "reason",
        "comment",
        "message",
        "body",
        "content",
        "note",
        "notes",
        "explanation",
    }
)
_MONEY = frozenset({"total", "price", "amount", "cost", "sum", "paid", "fee", "subtotal", "balance", "value"})
_LONGEST = 10_000  # characters
_MOST_NAMES = 300
_SPAN = 60  # characters of a span, about
_FORMATS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00Z",
    "duration": "P1D",
    "email": "simulated@example.com",
    "idn-email": "simulated@example.com",
    "hostname": "example.com",
    "idn-hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/simulated",
    "uri-reference": "/simulated",
    "iri": "https://example.com/simulated",
    "uuid": "00000000-0000-4000-8000-000000000000",
    "json-pointer": "/simulated",
    "regex": "simulated",
}


def text(schema: Wire, clues: Clues, name: str, turn: int) -> str:
    """A string for the schema: of its format, matching its pattern, else the span of the text that fits its name."""
    least, most = min(schema.get("minLength", 0), _LONGEST), schema.get("maxLength")
    spans = _spans(clues, name)
    if isinstance(schema.get("pattern"), str):
        candidates = [*spans, *re.findall(r"[^\s,;]+(?<![.:!?)])", clues.text[:_LONGEST])]
        candidates = candidates[turn:] + candidates[:turn]
        found = patterns.matching(schema["pattern"], candidates, least=least, most=most)
        if found is not None:
            return found
    told = _formatted(schema.get("format"), clues, turn)
    if told is None:
        told = spans[turn] if turn < len(spans) else f"{spans[turn % len(spans)]} {turn}"
    if len(told) < least:
        told = f"{told} {clues.text} ".ljust(least, "x")[: max(least, len(told))]
        told = told if told.strip() == told else told.strip().ljust(least, "x")
    return told if most is None else told[: max(0, int(most))]


def number(schema: Wire, clues: Clues, name: str, turn: int, *, whole_number: bool) -> int | float:
    """A number within the schema's bounds, from the text where one fits."""
    labelled = [figure for label in _values(clues, name) for figure in _figures(label)]
    amounts = clues.amounts if _MONEY & set(words(name)) else ()
    found = [Decimal(repr(value)) for value in (*labelled, *amounts, *clues.numbers) if math.isfinite(value)]
    step = _decimal(schema.get("multipleOf")) or (Decimal(1) if whole_number else None)
    if step is not None and whole_number and step % 1:
        step = step * Decimal(step.as_integer_ratio()[1])
    low, high = _bounds(schema, step)
    fitting = [value for value in found if _fits(value, low, high, step)]
    if fitting:
        value = fitting[turn % len(fitting)] if turn < len(fitting) else fitting[0] + (step or 1) * turn
        value = value if _fits(value, low, high, step) else fitting[0]
    else:
        value = _inside(low, high, step, turn)
    return int(value) if value == value.to_integral_value() and (whole_number or step == 1) else float(value)


def boolean(schema: Wire, clues: Clues, name: str, turn: int) -> bool:
    """Whether the text speaks of what the property is called, and does not deny it."""
    wanted = {word for word in words(f"{name} {schema.get('description', '')}") if len(word) > 3}
    said = words(clues.text[:_LONGEST])
    spoken = any(word in wanted and not _NOT & set(said[max(0, at - 3) : at]) for at, word in enumerate(said))
    return spoken != bool(turn % 2)


def names(schema: Wire) -> Iterator[str]:
    """Different names for properties that the schema wants but does not name; they end where no more are found."""
    rule = schema.get("propertyNames")
    rules = [*(schema.get("patternProperties") or {})]
    if isinstance(rule, dict):
        yield from (entry for entry in rule.get("enum") or () if isinstance(entry, str))
        rules = [rule["pattern"]] if isinstance(rule.get("pattern"), str) else rules
    given: set[str] = set()
    for number in range(1, _MOST_NAMES):
        letter = string.ascii_lowercase[number % 26] + string.ascii_lowercase[number // 26 % 26]
        candidates = [f"{stem}{number}" for stem in ("simulated_", "x-", "s", "S", "")]
        candidates += [(letter * 4)[:size] for size in range(2, 9)] + [letter.upper() * 2, letter.upper()]
        for pattern in rules or [""]:
            made = patterns.matching(pattern, candidates)
            if made is not None and made not in given:
                given.add(made)
                yield made


def has(pattern: str, name: str) -> bool:
    """Whether a property's name matches a pattern; never raises."""
    try:
        return re.search(pattern, name) is not None
    except re.error:
        return False


def _formatted(form: Any, clues: Clues, turn: int) -> str | None:
    found: tuple[str, ...] = ()
    if form == "date":
        found = clues.dates
    elif form == "date-time":
        found = tuple(f"{day}T00:00:00Z" for day in clues.dates)
    elif form in ("email", "idn-email"):
        found = clues.emails
    elif form in ("uri", "iri", "uri-reference"):
        found = clues.urls
    if found:
        return found[turn % len(found)]
    return _FORMATS.get(form) if isinstance(form, str) else None


def _spans(clues: Clues, name: str) -> list[str]:
    """Stretches of the text, those that suit the property's name first."""
    wanted = set(words(name))
    sentences = list(clues.sentences)
    if wanted & {"email", "mail", "address"}:
        first: list[str] = list(clues.emails)
    elif wanted & {"date", "day", "due", "deadline"}:
        first = list(clues.dates)
    elif wanted & {"url", "link", "website"}:
        first = list(clues.urls)
    elif wanted & _LONG:
        first = sentences
    else:
        first = list(clues.names) if wanted & _PERSONS else list(reversed(clues.names))
    speaking = sorted(sentences, key=lambda sentence: -len(wanted & set(words(sentence))))
    spans = [*_values(clues, name), *first, *(_short(sentence) for sentence in speaking)]
    return list(dict.fromkeys(span for span in spans if span)) or ["simulated"]


def _values(clues: Clues, name: str) -> list[str]:
    """What stands behind labels (`Order number: 123`) that share a word with the property's name."""
    wanted = set(words(name))
    ranked = sorted(clues.labelled, key=lambda pair: -len(wanted & pair[0]) / len(wanted | pair[0]))
    return [value for label, value in ranked if wanted & label]


def _short(sentence: str) -> str:
    if len(sentence) <= _SPAN:
        return sentence.strip(" .,;:!?")
    return sentence[: _SPAN + 1].rpartition(" ")[0].strip(" .,;:!?") or sentence[:_SPAN]


def _figures(value: str) -> list[float]:
    return [float(found.replace(",", "")) for found in re.findall(r"-?\d{1,12}(?:,\d{3}){0,3}(?:\.\d{1,4})?", value)]


def _bounds(schema: Wire, step: Decimal | None) -> tuple[Decimal | None, Decimal | None]:
    least = step if step is not None else Decimal("0.001")
    lows = [_decimal(schema.get("minimum"))]
    highs = [_decimal(schema.get("maximum"))]
    for key, bounds, sign in (("exclusiveMinimum", lows, 1), ("exclusiveMaximum", highs, -1)):
        edge = _decimal(schema.get(key))
        if edge is not None:
            on_step = step is None or edge % step == 0
            bounds.append(edge + sign * least if on_step else edge)
        elif schema.get(key) is True and bounds[0] is not None:
            bounds.append(bounds[0] + sign * least)
    return (
        max((low for low in lows if low is not None), default=None),
        min((high for high in highs if high is not None), default=None),
    )


def _fits(value: Decimal, low: Decimal | None, high: Decimal | None, step: Decimal | None) -> bool:
    inside = (low is None or value >= low) and (high is None or value <= high)
    return inside and (step is None or value % step == 0)


def _inside(low: Decimal | None, high: Decimal | None, step: Decimal | None, turn: int) -> Decimal:
    if low is None and high is None:
        return (step or Decimal(1)) * (turn + 1)
    if step is None:
        if low is not None and high is not None:
            return low + (high - low) * Decimal(turn % 7) / 7
        return low + turn if low is not None else (high or Decimal(0)) - turn
    if low is not None:
        value = (low / step).to_integral_value(ROUND_CEILING) * step + step * turn
        return value if high is None or value <= high else value - step * turn
    return ((high or Decimal(0)) / step).to_integral_value(ROUND_FLOOR) * step - step * turn


def _decimal(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return Decimal(repr(value))
    except InvalidOperation:
        return None
