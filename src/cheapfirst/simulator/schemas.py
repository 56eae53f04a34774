"""Reads a JSON Schema for someone who wants to build a value: references followed, `allOf` joined, types told."""

from __future__ import annotations

from typing import Any
from urllib.parse import unquote

from cheapfirst.messages import Wire

_LOWER = ("maxLength", "maxItems", "maxProperties", "maximum", "exclusiveMaximum", "maxContains")
_UPPER = ("minLength", "minItems", "minProperties", "minimum", "exclusiveMinimum", "minContains")
_HINTS = {
    "object": ("properties", "required", "additionalProperties", "patternProperties", "minProperties"),
    "array": ("items", "prefixItems", "minItems", "maxItems", "uniqueItems", "contains"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "string": ("minLength", "maxLength", "pattern", "format"),
}
_FOLLOWED = 32  # references in a row


def plain(schema: Any, root: Any) -> Wire | None:
    """The schema as one object without `$ref` and `allOf`; None where nothing is valid (`false`).

    What is not an object and not a boolean is read as one that allows everything.
    """
    for _ in range(_FOLLOWED):
        if schema is False:
            return None
        if not isinstance(schema, dict):
            return {}
        if not isinstance(schema.get("$ref"), str):
            break
        rest = {key: value for key, value in schema.items() if key != "$ref"}
        found = _find(root, schema["$ref"])
        schema = {**rest, "allOf": [*rest.get("allOf", []), found]} if rest else found
    parts = schema.get("allOf")
    if not isinstance(parts, list):
        return dict(schema)
    whole = {key: value for key, value in schema.items() if key != "allOf"}
    for part in parts[:_FOLLOWED]:
        other = plain(part, root)
        if other is None:
            return None
        whole = joined(whole, other)
    return whole


def joined(one: Wire, other: Wire) -> Wire:
    """A schema that allows what both allow, as far as their keywords can be put together."""
    both = {**one, **other}
    for key in one.keys() & other.keys():
        a, b = one[key], other[key]
        if key == "required":
            both[key] = list(dict.fromkeys([*a, *b]))
        elif key in ("properties", "patternProperties", "$defs", "definitions"):
            shared = {name: {"allOf": [a[name], b[name]]} for name in a.keys() & b.keys() if a[name] != b[name]}
            both[key] = {**a, **b, **shared}
        elif key == "enum":
            both[key] = [entry for entry in a if entry in b]
        elif key == "type":
            both[key] = [
                kind for kind in _listed(a) if kind in _listed(b) or (kind == "integer" and b == "number")
            ] or b
        elif key in _LOWER:
            both[key] = min(a, b)
        elif key in _UPPER:
            both[key] = max(a, b)
        elif key == "additionalProperties" and False in (a, b):
            both[key] = False
        elif key in ("anyOf", "oneOf") and a != b:
            both[key], both["allOf"] = a, [*both.get("allOf", []), {key: b}]
    return both


def kinds(schema: Wire) -> list[str]:
    """The types the schema allows, the most telling first; guessed from other keywords where none is named."""
    named = _listed(schema.get("type"))
    if named:
        return [kind for kind in named if kind != "null"] + [kind for kind in named if kind == "null"]
    for kind, keys in _HINTS.items():
        if any(key in schema for key in keys):
            return [kind]
    return ["string"]


def valid(value: Any, schema: Any) -> bool | None:
    """Whether the value is valid; None where the schema itself cannot be used."""
    import jsonschema_rs

    try:
        return jsonschema_rs.is_valid(schema, value)
    except (ValueError, TypeError, jsonschema_rs.ReferencingError):
        return None


def _listed(kind: Any) -> list[str]:
    if isinstance(kind, list):
        return [name for name in kind if isinstance(name, str)]
    return [kind] if isinstance(kind, str) else []


def _find(root: Any, pointer: str) -> Any:
    if not pointer.startswith("#"):
        return {}
    if pointer != "#" and not pointer.startswith("#/"):
        return _anchored(root, pointer[1:])
    found = root
    for part in pointer[1:].split("/")[1:]:
        name = unquote(part).replace("~1", "/").replace("~0", "~")
        if isinstance(found, dict) and name in found:
            found = found[name]
        elif isinstance(found, list) and name.isdigit() and int(name) < len(found):
            found = found[int(name)]
        else:
            return {}
    return found


def _anchored(root: Any, name: str) -> Any:
    pending = [root]
    while pending:
        node = pending.pop()
        if isinstance(node, dict):
            if node.get("$anchor") == name:
                return node
            pending += node.values()
        elif isinstance(node, list):
            pending += node
    return {}
