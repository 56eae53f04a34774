"""Builds a value for a JSON Schema out of a text: labels by shared words, figures, dates and names as they stand."""

from __future__ import annotations

import itertools
import random
from typing import Any

from msgspec import Struct

from cheapfirst.errors import SimulatorError
from cheapfirst.messages import Wire
from cheapfirst.simulator import clues as read_clues
from cheapfirst.simulator import leaves, sample, schemas
from cheapfirst.simulator.clues import Clues

_DEEP = 4  # levels to which optional parts are filled
_DEEPEST = 24  # levels at all
_TRIES = 4
_MOST_ITEMS = 2_000


class _Work(Struct, frozen=True):
    root: Any
    clues: Clues
    rng: random.Random
    lean: bool  # only what is required


def build(schema: Any, text: str, rng: random.Random) -> Any:
    """A value that is valid under the schema and says what the text says, as far as simple code can tell.

    Enumerations by shared words, strings as spans of the text, numbers, dates and addresses found in it; required
    fields always. Where no valid value is found (the schema allows none, or asks for what is not followed here, such
    as look-around in a pattern) the nearest value built is returned.
    """
    clues = read_clues.read(text)
    nearest: Any = None
    for lean in (False, True):
        for attempt in range(_TRIES):
            value = _value(schema, _Work(schema, clues, rng, lean), "", attempt, 0)
            if schemas.valid(value, schema) is not False:
                return value
            nearest = value if nearest is None else nearest
    try:
        plain = sample.fill(schema, rng)
    except (SimulatorError, RecursionError):
        return nearest
    return plain if schemas.valid(plain, schema) else nearest


def _value(schema: Any, work: _Work, name: str, turn: int, depth: int) -> Any:
    """A value for the schema. `name` is the property it is for; `turn` asks for another value than the turns before."""
    whole = schemas.plain(schema, work.root)
    if whole is None or depth > _DEEPEST:
        return None
    whole = _branched(whole, work, name, turn, depth)
    if "const" in whole:
        return whole["const"]
    if isinstance(whole.get("enum"), list) and whole["enum"]:
        return _chosen(whole["enum"], work, turn)
    value = _typed(whole, work, name, turn, depth)
    if "if" in whole:
        branch = "then" if schemas.valid(value, _rooted(whole["if"], work.root)) else "else"
        further = schemas.plain(whole.get(branch, {}), work.root)
        if further:
            return _value(schemas.joined(_without(whole, "if", "then", "else"), further), work, name, turn, depth + 1)
    return value


def _branched(whole: Wire, work: _Work, name: str, turn: int, depth: int) -> Wire:
    """The schema with one branch of each `anyOf` and `oneOf` taken, also of those inside branches: the one that the
    text speaks of most."""
    for _ in range(_DEEPEST):
        key = next((key for key in ("anyOf", "oneOf") if isinstance(whole.get(key), list) and whole[key]), None)
        if key is None:
            break
        options = [part for part in (schemas.plain(branch, work.root) for branch in whole[key]) if part is not None]
        whole = _without(whole, key)
        if options:
            options.sort(key=lambda part: _rank(part, work, depth))
            whole = schemas.joined(whole, options[turn % len(options)])
        if isinstance(whole.get("allOf"), list):
            whole = schemas.plain(whole, work.root) or whole
    return whole


def _rank(part: Wire, work: _Work, depth: int) -> tuple[bool, bool, int]:
    nothing = part.get("type") == "null" or part.get("const", 0) is None
    endless = depth > 1 and "$ref" in str(part)
    return (endless, nothing, -read_clues.overlap(" ".join(_labels(part)), work.clues))


def _labels(part: Wire) -> list[str]:
    properties = part.get("properties")
    consts = [sub.get("const") for sub in properties.values() if isinstance(sub, dict)] if properties else []
    told = [part.get("title"), part.get("description"), part.get("const"), *(part.get("enum") or []), *consts]
    return [str(label) for label in told if label is not None] + list(properties or ())


def _chosen(options: list[Any], work: _Work, turn: int) -> Any:
    ranked = sorted(options, key=lambda option: (option is None, -read_clues.overlap(str(option), work.clues)))
    return ranked[turn % len(ranked)]


def _typed(whole: Wire, work: _Work, name: str, turn: int, depth: int) -> Any:
    options = schemas.kinds(whole)
    kind = options[turn % len(options)] if turn else options[0]
    if kind == "object":
        return _object(whole, work, turn, depth)
    if kind == "array":
        return _array(whole, work, name, turn, depth)
    if kind in ("integer", "number"):
        return leaves.number(whole, work.clues, name, turn, whole_number=kind == "integer")
    if kind == "boolean":
        return leaves.boolean(whole, work.clues, name, turn)
    return None if kind == "null" else leaves.text(whole, work.clues, name, turn)


def _object(whole: Wire, work: _Work, turn: int, depth: int) -> Wire:
    properties = whole.get("properties") or {}
    required = [name for name in whole.get("required") or () if isinstance(name, str)]
    wanted = list(dict.fromkeys(required))
    if depth < _DEEP and not work.lean:
        wanted = list(dict.fromkeys([*properties, *required]))[: max(whole.get("maxProperties", 10**6), len(required))]
    for name, needs in (whole.get("dependentRequired") or {}).items():
        wanted += [need for need in needs if name in wanted and need not in wanted]
    made = {}
    for name in wanted:
        schema = _of_property(whole, name)
        if name not in required and schemas.plain(schema, work.root) is None:
            continue
        made[name] = _value(schema, work, name, turn, depth + 1)
    spare = [name for name in properties if name not in made]
    for name in itertools.chain(spare, leaves.names(whole)):
        if len(made) >= whole.get("minProperties", 0):
            break
        if name not in made:
            made[name] = _value(_of_property(whole, name), work, name, turn, depth + 1)
    for name, further in (whole.get("dependentSchemas") or {}).items():
        part = schemas.plain(further, work.root)
        if name in made and part:
            rest = _without(whole, "dependentSchemas")
            return _object(schemas.joined(rest, part), work, turn, depth)
    return made


def _of_property(whole: Wire, name: str) -> Any:
    parts = [whole["properties"][name]] if name in (whole.get("properties") or {}) else []
    parts += [schema for pattern, schema in (whole.get("patternProperties") or {}).items() if leaves.has(pattern, name)]
    if not parts:
        return whole.get("additionalProperties", {})
    return parts[0] if len(parts) == 1 else {"allOf": parts}


def _array(whole: Wire, work: _Work, name: str, turn: int, depth: int) -> list[Any]:
    fixed = whole.get("prefixItems") or (whole["items"] if isinstance(whole.get("items"), list) else [])
    items = whole.get("additionalItems", {}) if isinstance(whole.get("items"), list) else whole.get("items", {})
    least = min(whole.get("minItems", 0), _MOST_ITEMS)
    most = whole.get("maxItems", 10**6)
    usual = 2 if work.rng.random() < 0.5 else 1
    size = max(least, min(usual if depth < _DEEP and not work.lean else 0, most), min(len(fixed), most))
    made = [_value(fixed[at], work, name, turn, depth + 1) for at in range(min(len(fixed), size))]
    if "contains" in whole:
        needed = max(1, whole.get("minContains", 1))
        made += [_value({"allOf": [items, whole["contains"]]}, work, name, turn + n, depth + 1) for n in range(needed)]
    if len(made) < size and schemas.plain(items, work.root) is None:
        return made
    for offset in range(_MOST_ITEMS):
        if len(made) >= size:
            break
        item = _value(items, work, name, turn + offset, depth + 1)
        if not whole.get("uniqueItems") or not any(_same(item, other) for other in made):
            made.append(item)
        elif offset > 50 and len(made) >= least:
            break
    return made


def _same(one: Any, other: Any) -> bool:
    """Whether JSON takes two values as equal: 1 and 1.0 are, 1 and true are not."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return bool(one == other)


def _rooted(schema: Any, root: Any) -> Any:
    """A part of a schema as one of its own, its references still leading somewhere."""
    if not isinstance(schema, dict) or not isinstance(root, dict):
        return schema
    shared = {key: root[key] for key in ("$defs", "definitions") if key in root}
    return {**shared, **schema}


def _without(whole: Wire, *keys: str) -> Wire:
    return {key: value for key, value in whole.items() if key not in keys}
