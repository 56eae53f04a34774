"""Reads one TOML table into one of the policy's structs: names, types and ranges, every problem noted."""

from __future__ import annotations

import types
from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import msgspec
from msgspec import Struct, structs

from cheapfirst.catalog.model import ModelOverride
from cheapfirst.policy.checks import Length, Repetition
from cheapfirst.policy.lines import Key
from cheapfirst.policy.problems import Problems
from cheapfirst.policy.table import (
    BreakerOptions,
    Budget,
    GatewayOptions,
    Limits,
    LongPrompt,
    Rate,
    Route,
    Timeouts,
    Upstream,
)

S = TypeVar("S", bound=Struct)

DEAREST = 1_000_000  # USD: beyond any price, and far within what costs can be counted in
LARGEST = 1_000_000_000  # tokens

RANGES: dict[tuple[type[Struct], str], tuple[float, float | None, str]] = {
    (Limits, "max_attempts"): (1, 100, "attempts"),
    (Limits, "retries"): (0, 20, "retries"),
    (Limits, "room"): (1, 100, "times the room"),
    (Limits, "escalations"): (0, 20, "tiers up"),
    (Limits, "deadline"): (0.001, None, "seconds"),
    (Limits, "max_cost"): (0, DEAREST, "USD"),
    (Limits, "concurrency"): (1, 10_000, "requests at once"),
    (Limits, "backoff"): (0, 60, "seconds"),
    (Timeouts, "connect"): (0.001, None, "seconds"),
    (Timeouts, "first_token"): (0.001, None, "seconds"),
    (Timeouts, "silence"): (0.001, None, "seconds"),
    (Timeouts, "total"): (0.001, None, "seconds"),
    (Upstream, "concurrency"): (1, 100_000, "calls at once"),
    (Upstream, "queue"): (0, 100_000, "calls"),
    (BreakerOptions, "window"): (0.001, 3600, "seconds"),
    (BreakerOptions, "share"): (0.001, 1, ""),
    (BreakerOptions, "least"): (1, 1_000_000, "calls"),
    (BreakerOptions, "pause"): (0.001, 3600, "seconds"),
    (GatewayOptions, "requests"): (1, 100_000, "requests"),
    (GatewayOptions, "queue"): (0, 100_000, "requests"),
    (GatewayOptions, "queue_wait"): (0, 600, "seconds"),
    (GatewayOptions, "max_body"): (1000, 1_000_000_000, "bytes"),
    (GatewayOptions, "body_wait"): (0.001, 600, "seconds"),
    (GatewayOptions, "keep_alive"): (0.001, 600, "seconds"),
    (GatewayOptions, "drain"): (0, 3600, "seconds"),
    (Budget, "limit"): (0, DEAREST, "USD"),
    (Budget, "step_down"): (0, 1, "of the limit"),
    (Rate, "requests"): (1, LARGEST, "requests a minute"),
    (Rate, "tokens"): (1, LARGEST, "tokens a minute"),
    (Rate, "concurrent"): (1, 100_000, "requests at once"),
    (Route, "max_tokens"): (1, LARGEST, "tokens"),
    (Route, "temperature"): (0, 2, ""),
    (LongPrompt, "tokens"): (1, None, "tokens"),
    (ModelOverride, "input"): (0, DEAREST, "USD per million tokens"),
    (ModelOverride, "output"): (0, DEAREST, "USD per million tokens"),
    (ModelOverride, "cache_read"): (0, DEAREST, "USD per million tokens"),
    (ModelOverride, "cache_write"): (0, DEAREST, "USD per million tokens"),
    (ModelOverride, "request"): (0, DEAREST, "USD per request"),
    (ModelOverride, "context"): (1, LARGEST, "tokens"),
    (ModelOverride, "max_output"): (1, LARGEST, "tokens"),
    (Repetition, "max_repeats"): (2, None, "repeats"),
    **{(Length, field.name): (0, None, field.name[4:]) for field in structs.fields(Length) if field.name != "path"},
}
"""Least, most and unit of the numbers; "0.001" stands for anything above zero."""

_KINDS: dict[Any, str] = {
    str: "a text",
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    Decimal: "a number",
    list: "a list",
    tuple: "a list",
    dict: "a table",
}


def read(kind: type[S], table: object, path: Key, problems: Problems, *, skip: Iterable[str] = ()) -> dict[str, Any]:
    """The values of `table` that are right for the struct's fields; everything else becomes a problem.

    `skip` names fields that the table cannot set or that the caller reads itself.
    """
    if not isinstance(table, Mapping):
        problems.add(path, f"must be a table, not {kind_of(table)}")
        return {}
    skipped = set(skip)
    fields = {field.encode_name: field for field in structs.fields(kind) if field.name not in skipped}
    values: dict[str, Any] = {}
    for name, value in table.items():
        if name in skipped and name in kind.__struct_fields__:
            continue
        if name not in fields:
            problems.unknown((*path, name), "key", name, sorted({*fields, *skipped & set(kind.__struct_fields__)}))
            continue
        read_value = convert(value, fields[name].type, (*path, name), problems)
        if read_value is not None and in_range(kind, name, read_value, (*path, name), problems):
            values[name] = read_value
    return values


def make(kind: type[S], table: object, path: Key, problems: Problems) -> S:
    """The struct read from `table`, with defaults where something is missing or wrong."""
    values = read(kind, table, path, problems)
    required = [field for field in structs.fields(kind) if field.required and field.name not in values]
    for field in required:
        if isinstance(table, Mapping) and field.name not in table:
            choices = ", ".join(_choices(field.type))
            problems.add(path, f"needs {field.name} = {f'one of {choices}' if choices else _kind(field.type)}")
    return kind(**values, **{field.name: _stand_in(field.type) for field in required})


def convert(value: object, wanted: Any, path: Key, problems: Problems) -> Any:
    """`value` as the wanted type, or None with a problem noted."""
    choices = _choices(wanted)
    if choices and isinstance(value, str):
        if value in choices:
            return value
        problems.unknown(path, "value", value, choices)
        return None
    ready = value if _takes(wanted, Decimal) else plain(value)
    if type(value) is int and _takes(wanted, Decimal):
        ready = Decimal(value)
    elif type(value) is int and _takes(wanted, float) and not _takes(wanted, int):
        ready = float(value)
    try:
        return msgspec.convert(ready, wanted, strict=True)
    except msgspec.ValidationError:
        expected = f"one of {', '.join(choices)}" if choices else _kind(wanted)
        found = kind_of(value)
        problems.add(path, f"must be {expected}" if found in expected else f"must be {expected}, not {found}")
        return None


def plain(value: Any) -> Any:
    """A TOML value with its exact decimals as floats, at any depth."""
    if isinstance(value, Decimal):
        return float(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(item) for key, item in value.items()}
    return value


def in_range(kind: type[Struct], name: str, value: Any, path: Key, problems: Problems) -> bool:
    """Whether a number is within its bounds; notes a problem when it is not."""
    if (kind, name) not in RANGES or not isinstance(value, int | float | Decimal):
        return True
    low, high, unit = RANGES[kind, name]
    finite = value == value and abs(value) != float("inf")
    if finite and value >= low and (high is None or value <= high):
        return True
    least = "above 0" if low == 0.001 else f"{low:g} or more" if high is None else f"between {low:g} and {high:,}"
    problems.add(path, f"must be {least}{f' {unit}' if unit else ''}, not {value}")
    return False


def kind_of(value: object) -> str:
    """What a TOML value is, in words; the value itself is not repeated."""
    if isinstance(value, bool):
        return "true or false"
    return next((words for kind, words in _KINDS.items() if isinstance(value, kind)), "a date or time")


def _members(wanted: Any) -> tuple[Any, ...]:
    if get_origin(wanted) in (Union, types.UnionType):
        return tuple(member for member in get_args(wanted) if member is not type(None))
    return (wanted,)


def _choices(wanted: Any) -> tuple[str, ...]:
    return tuple(choice for member in _members(wanted) if get_origin(member) is Literal for choice in get_args(member))


def _takes(wanted: Any, kind: type) -> bool:
    return kind in _members(wanted)


def _kind(wanted: Any) -> str:
    names = []
    for member in _members(wanted):
        origin = get_origin(member) or member
        inner = [item for item in get_args(member) if item is not Ellipsis]
        words = _KINDS.get(origin, "a table")
        if origin in (list, tuple) and inner == [str]:
            words = "a list of texts"
        elif origin in (list, tuple) and inner and get_origin(inner[0]) is Literal:
            words = f"a list of {', '.join(get_args(inner[0]))}"
        names.append(words)
    return " or ".join(dict.fromkeys(names))


def _stand_in(wanted: Any) -> Any:
    """Something of that type, so that reading can go on after a problem was noted."""
    return {str: "", int: 1, Decimal: Decimal(0)}.get(wanted, [])
