"""What a JSON Schema says about one place of a value: the subschemas that describe it, through local references."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cheapfirst.checks.context import Context
from cheapfirst.messages import Path, Wire

_MOST = 64
"""Subschemas looked at for one place; deeper nests of alternatives say nothing more."""


def described(schema: Wire | None, path: Path) -> list[Wire]:
    """The subschemas that speak about the place `path`; empty when none does. Never follows a reference outside."""
    if schema is None:
        return []
    current = _alternatives(schema, schema)
    for step in path:
        current = [
            alternative
            for part in current
            for child in _step(part, step)
            for alternative in _alternatives(schema, child)
        ]
        current = current[:_MOST]
    return current


def functions(tools: list[Any] | None) -> Iterator[Wire]:
    """The declared functions of a request's tools, whatever else stands among them."""
    for tool in tools or ():
        function = tool.get("function", tool) if isinstance(tool, dict) else None
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            yield function


def tool(tools: list[Any] | None, name: object) -> Wire | None:
    """The parameters' schema of a tool; empty when it declares none, None when no tool has that name."""
    for function in functions(tools):
        if function["name"] == name:
            found = function.get("parameters")
            return found if isinstance(found, dict) else {}
    return None


def schema_for(value: Any, context: Context, path: Path) -> tuple[Wire | None, Path]:
    """The schema that governs `path`, and the path inside it: a tool's parameters for calls, else the answer's own."""
    if not context.called:
        return context.schema, path
    if len(path) >= 2 and path[1] == "arguments":
        return tool(context.tools, value[path[0]].get("name")), path[2:]
    return None, ()


def named(place: list[Wire], value: Any) -> bool:
    """Whether the schema itself names this value: an enum member, a const, a default or an example."""
    for part in place:
        choices = part.get("enum")
        examples = part.get("examples")
        if isinstance(choices, list) and value in choices:
            return True
        if isinstance(examples, list) and value in examples:
            return True
        if any(key in part and part[key] == value for key in ("const", "default")):
            return True
    return False


def _alternatives(root: Wire, part: Any) -> list[Wire]:
    found: list[Wire] = []
    waiting = [part]
    seen: set[int] = set()
    while waiting and len(found) < _MOST:
        node = waiting.pop(0)
        if not isinstance(node, dict) or id(node) in seen:
            continue
        seen.add(id(node))
        found.append(node)
        reference = node.get("$ref")
        if isinstance(reference, str) and reference.startswith("#"):
            waiting.append(_resolve(root, reference))
        for key in ("anyOf", "oneOf", "allOf"):
            waiting += node[key] if isinstance(node.get(key), list) else []
        waiting += [node[key] for key in ("then", "else") if key in node]
    return found


def _resolve(root: Wire, reference: str) -> Any:
    node: Any = root
    for step in reference.removeprefix("#").strip("/").split("/"):
        if step:
            node = node.get(step.replace("~1", "/").replace("~0", "~")) if isinstance(node, dict) else None
    return node


def _step(part: Wire, step: str | int) -> Iterator[Any]:
    if isinstance(step, int):
        first = part.get("prefixItems")
        items = part.get("items")
        if isinstance(first, list) and step < len(first):
            yield first[step]
        elif isinstance(items, list):
            yield items[step] if step < len(items) else part.get("additionalItems")
        else:
            yield items
        return
    properties = part.get("properties")
    if isinstance(properties, dict) and step in properties:
        yield properties[step]
    else:
        yield part.get("additionalProperties")
        patterned = part.get("patternProperties")
        yield from patterned.values() if isinstance(patterned, dict) else ()
