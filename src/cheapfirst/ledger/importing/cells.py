"""Reads the cells of other tools' logs: amounts, counts, times and nested JSON, whichever way they are written."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import msgspec

from cheapfirst import money
from cheapfirst.ledger.importing.entry import LABELS, Malformed, Row

MILLISECONDS = 10**11
"""Numbers above it are times in milliseconds: as seconds they would lie beyond the year 5138."""

NOTHING = ("", "null", "NULL", "None", "\\N")
"""How CSV writes that there is no value."""

DECODE = msgspec.json.Decoder(float_hook=Decimal)
"""JSON with exact decimals."""


def pick(row: Mapping[str, Any], *names: str) -> Any:
    """The first of these cells that has a value; None when none has."""
    for name in names:
        value = row.get(name)
        if value is not None and not (isinstance(value, str) and value.strip() in NOTHING):
            return value
    return None


def word(row: Mapping[str, Any], *names: str) -> str | None:
    """The first of these cells that has a value, as text."""
    value = pick(row, *names)
    if value is None or isinstance(value, dict | list):
        return None
    return str(value).strip()


def table(value: Any) -> dict[str, Any]:
    """A JSON object, also where it stands as text; empty when it is none."""
    found = nested(value)
    return found if isinstance(found, dict) else {}


def nested(value: Any) -> Any:
    """The value, decoded where it is text that holds a JSON object or list."""
    if isinstance(value, str) and value.lstrip()[:1] in ("{", "["):
        try:
            return DECODE.decode(value)
        except (msgspec.DecodeError, RecursionError):
            return None
    return value


def count(row: Mapping[str, Any], *names: str) -> int | None:
    """The first of these cells that has a value, as a whole number from 0 on. Raises Malformed."""
    value = pick(row, *names)
    if value is None:
        return None
    try:
        number = Decimal(str(value).strip())
        if isinstance(value, bool) or number != number.to_integral_value() or not 0 <= number < 2**53:
            raise ValueError
    except (ArithmeticError, ValueError) as error:
        raise Malformed(f"{_first(row, names)} is not a number of tokens") from error
    return int(number)


def amount(row: Mapping[str, Any], *names: str) -> Decimal | None:
    """The first of these cells that has a value, as USD. Raises Malformed."""
    value = pick(row, *names)
    if value is None:
        return None
    try:
        if isinstance(value, bool):
            raise ValueError
        usd = money.usd(value.strip().removeprefix("$") if isinstance(value, str) else value)
        if not 0 <= usd < 10**6:
            raise ValueError
    except ValueError as error:
        raise Malformed(f"{_first(row, names)} is not an amount in USD") from error
    return usd


def moment(row: Mapping[str, Any], *names: str) -> float | None:
    """The first of these cells that has a value, as Unix seconds; a time without a zone is UTC. Raises Malformed."""
    value = pick(row, *names)
    if value is None:
        return None
    try:
        if isinstance(value, bool):
            raise ValueError
        if not isinstance(value, str) or re.fullmatch(r"\d+(\.\d+)?", value.strip()):
            number = float(value)
            seconds = number / 1000 if number > MILLISECONDS else number
        else:
            at = datetime.fromisoformat(value.strip())
            seconds = (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
        if not 0 < seconds < MILLISECONDS:
            raise ValueError
    except (TypeError, ValueError, OverflowError) as error:
        raise Malformed(f"{_first(row, names)} is not a time") from error
    return seconds


def span(row: Mapping[str, Any], *names: str) -> float | None:
    """The first of these cells that has a value, as seconds; None also for what is no duration."""
    value = pick(row, *names)
    try:
        seconds = float(str(value))
    except ValueError:
        return None
    return seconds if 0 <= seconds < MILLISECONDS else None


def labels(tags: Any, *tables: Mapping[str, Any]) -> dict[str, str]:
    """What metadata and tags say under our own names: `{"feature": "inbox"}`, or the tag `feature:inbox`."""
    found: dict[str, str] = {}
    for one in tables:
        for name in LABELS:
            if name not in found and (said := word(one, name)) is not None:
                found[name] = said
    for tag in texts(tags):
        name, colon, said = tag.partition(":")
        if colon and name.strip().lower() in LABELS and said.strip():
            found.setdefault(name.strip().lower(), said.strip())
    return found


def texts(tags: Any) -> Iterator[str]:
    """The tags that are text, whether they come as a list or as its JSON."""
    found = nested(tags)
    if isinstance(found, list):
        yield from (tag.strip() for tag in found if isinstance(tag, str) and tag.strip())


def at_path(row: Row, path: str) -> str | None:
    """The text at a path like `metadata.product` or `request_tags.0`; None when there is none."""
    value: Any = row
    for part in path.split("."):
        value = nested(value)
        if isinstance(value, dict):
            value = value.get(part)
        elif isinstance(value, list) and part.isdecimal() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return word({"it": value}, "it")


def _first(row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    return next((name for name in names if pick(row, name) is not None), names[0])
