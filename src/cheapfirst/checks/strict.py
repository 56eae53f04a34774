"""Reads JSON as the standard has it, with every number exact and nothing forgiven."""

from __future__ import annotations

import json
from typing import Any, NoReturn

from msgspec import Struct

from cheapfirst.checks import numbers
from cheapfirst.checks.repair import MAX_DEPTH
from cheapfirst.checks.strings import Broken


class Read(Struct, frozen=True):
    """A value, the offset behind it, and whether an object in it has a key twice (its last member counts)."""

    value: Any
    end: int
    duplicates: bool


def read(text: str, at: int = 0) -> Read | None:
    """The JSON value that begins exactly at `at`; None when there is none. Raises Broken where JSON has no say:

    a number that no float can hold, or more containers inside each other than `MAX_DEPTH`.
    """
    duplicates = False

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        nonlocal duplicates
        found = dict(pairs)
        duplicates = duplicates or len(found) != len(pairs)
        return found

    decoder = json.JSONDecoder(object_pairs_hook=members, parse_float=numbers.exact, parse_constant=_no_value)
    try:
        value, end = decoder.raw_decode(text, at)
    except (json.JSONDecodeError, StopIteration):
        return None
    except ValueError:
        raise Broken("parse.number", "A number has more digits than can be read safely.", at) from None
    except RecursionError:
        raise _too_deep(at) from None
    if _depth(value, text, at, end) > MAX_DEPTH:
        raise _too_deep(at)
    return Read(value, end, duplicates)


def _no_value(name: str) -> NoReturn:
    raise Broken("parse.no_value", f"{name} is no JSON value.", 0)


def _too_deep(at: int) -> Broken:
    return Broken("parse.too_deep", f"More than {MAX_DEPTH} containers stand inside each other.", at)


def _depth(value: Any, text: str, at: int, end: int) -> int:
    """How deep the containers go; not measured where the text has too few brackets to matter."""
    if text.count("[", at, end) + text.count("{", at, end) <= MAX_DEPTH:
        return 0
    depth, level = 0, [value]
    while level := [one for one in level if isinstance(one, dict | list)]:
        depth += 1
        level = [child for one in level for child in (one.values() if isinstance(one, dict) else one)]
    return depth
