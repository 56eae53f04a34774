"""Fills a JSON Schema with plain valid values: what stands in for an answer when nobody made one up."""

from __future__ import annotations

import random
from typing import Any

from cheapfirst.errors import SimulatorError
from cheapfirst.messages import Wire

_DEPTH = 8
_ITEMS = 100
_CHARACTERS = 10_000
_STRINGS = {
    "date": "2026-01-31",
    "date-time": "2026-01-31T12:00:00Z",
    "time": "12:00:00",
    "email": "someone@example.com",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


def fill(schema: Any, rng: random.Random) -> Any:
    """A value for the schema: required properties, first types, smallest sizes. Unknown keywords are ignored.

    Raises SimulatorError for something that is not a JSON Schema.
    """
    try:
        return _value(schema, rng, root=schema, depth=0)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise SimulatorError(f"this JSON schema cannot be filled: {error}") from error


def _value(schema: Any, rng: random.Random, *, root: Any, depth: int) -> Any:
    if not isinstance(schema, dict) or depth > _DEPTH:
        return None
    if isinstance(schema.get("$ref"), str):
        return _value(_find(root, schema["$ref"]), rng, root=root, depth=depth + 1)
    if "const" in schema:
        return schema["const"]
    if schema.get("enum"):
        return rng.choice(schema["enum"])
    for name in ("anyOf", "oneOf", "allOf"):
        if schema.get(name):
            return _value(schema[name][0], rng, root=root, depth=depth + 1)
    return _typed(schema, rng, root, depth)


def _typed(schema: Wire, rng: random.Random, root: Any, depth: int) -> Any:
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object":
        properties = schema.get("properties") or {}
        wanted = schema.get("required") or list(properties)
        return {name: _value(properties.get(name, {}), rng, root=root, depth=depth + 1) for name in wanted}
    if kind == "array":
        size = max(1, schema.get("minItems", 1))
        return [_value(schema.get("items", {}), rng, root=root, depth=depth + 1) for _ in range(min(size, _ITEMS))]
    if kind in ("integer", "number"):
        low = schema.get("minimum", schema.get("exclusiveMinimum", 0) + ("exclusiveMinimum" in schema))
        return min(low + rng.randrange(10), schema.get("maximum", low + 10))
    if kind == "boolean":
        return rng.random() < 0.5
    if kind == "null":
        return None
    text = _STRINGS.get(schema.get("format", ""), "simulated")
    return text.ljust(min(schema.get("minLength", 0), _CHARACTERS), "x")[: schema.get("maxLength", _CHARACTERS)]


def _find(root: Any, pointer: str) -> Any:
    found: Any = root
    for part in pointer.lstrip("#").strip("/").split("/"):
        found = found.get(part) if isinstance(found, dict) and part else found
    return found
