"""What a JSON Schema lets stand at one place of a value that is still being written. Pure.

Every answer here errs on the side of "possible": what the schema says in ways that are not read (patterns of names,
`if`, `not`) is taken to allow anything, and alternatives are only dropped where each of them forbids it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, TypeAlias

from cheapfirst.checks.align import folded
from cheapfirst.checks.arguments import OPEN
from cheapfirst.messages import Wire

Kind: TypeAlias = Literal["object", "array", "string", "number", "boolean", "null"]

MOST = 64
"""Alternatives told apart at one place; beyond them everything is possible."""

DEEPEST = 16
"""References and combinations followed for one place."""

_COMBINED = ("allOf", "anyOf", "oneOf", "if", "not", "dependentSchemas", "unevaluatedProperties", "unevaluatedItems")

All: TypeAlias = tuple[Wire, ...]
"""Schemas that all count at once."""


class Place:
    """One place of a value: the alternatives that the schema leaves for it."""

    def __init__(
        self, alternatives: list[All] | None, root: Wire, allowed: frozenset[str], *, own: Wire | None = None
    ) -> None:
        self._alternatives = alternatives  # None: anything is possible
        self._root = root
        self._allowed = allowed
        self.own = own  # the one schema that a finished value here must fit; None: there is no such one

    def starts(self, kind: Kind) -> bool:
        """Whether a value of that kind may begin here."""
        return self._alternatives is None or any(
            all(_starts(node, kind, self._allowed) for node in every) for every in self._alternatives
        )

    def member(self, key: str, *, declared_only: bool = False) -> Place | None:
        """The place of a member; None when no object here may have it.

        `declared_only`: a tool's arguments, which may hold only what the tool declares.
        """
        if self._alternatives is None:
            return self._anything()
        children: list[All] = []
        possible = free = False
        for every in self._alternatives:
            found = [_member(node, key, self._allowed, declared_only) for node in every]
            if any(child is False for child in found):
                continue
            possible = True
            grown = self._grown(child for child in found if child is not None)
            if grown is None:
                free = True
            else:
                children += grown
        if not possible:
            return None
        own = None
        if self.own is not None and isinstance(properties := self.own.get("properties"), dict):
            own = properties.get(key)
        return self._below(None if free or len(children) > MOST else children, own)

    def item(self, number: int) -> Place | None:
        """The place of an item; None when no array here may have so many."""
        if self._alternatives is None:
            return self._anything()
        children: list[All] = []
        possible = free = False
        for every in self._alternatives:
            found = [_item(node, number) for node in every]
            if any(child is False for child in found):
                continue
            possible = True
            grown = self._grown(child for child in found if child is not None)
            if grown is None:
                free = True
            else:
                children += grown
        if not possible:
            return None
        own = self.own.get("items") if self.own is not None and "prefixItems" not in self.own else None
        return self._below(None if free or len(children) > MOST else children, own)

    def names(self, *, declared_only: bool = False) -> tuple[str, ...] | None:
        """The names that members here may have; None when they cannot be listed."""
        if self._alternatives is None:
            return None
        found: list[str] = []
        for every in self._alternatives:
            lists = [names for node in every if (names := _names(node, declared_only)) is not None]
            if not lists:
                return None
            found += lists[0]
        return tuple(found)

    def words(self) -> tuple[str, ...] | None:
        """The strings that may stand here; None when they cannot be listed."""
        if self._alternatives is None:
            return None
        found: list[str] = []
        for every in self._alternatives:
            lists = [members for node in every if (members := _listed(node)) is not None]
            if not lists:
                return None
            found += lists[0]
        return tuple(found)

    def longest(self) -> int | None:
        """The most characters that a string here may have; None when there is no bound."""
        if self._alternatives is None:
            return None
        bounds = [_longest(every) for every in self._alternatives]
        known = [bound for bound in bounds if bound is not None]
        return max(known) if bounds and len(known) == len(bounds) else None

    def shared(self) -> Wire:
        """What the root schema lends to its parts: the definitions that they refer to."""
        return {key: self._root[key] for key in ("$defs", "definitions", "$schema") if key in self._root}

    def _grown(self, schemas: Iterable[Any]) -> list[All] | None:
        grown: list[All] = [()]
        for schema in schemas:
            more = alternatives(schema, self._root)
            if more is None or len(grown) * len(more) > MOST:
                return None
            grown = [one + other for one in grown for other in more]
        return grown

    def _below(self, children: list[All] | None, own: Any) -> Place:
        plain = isinstance(own, dict) and not any(key in own for key in _COMBINED)
        return Place(children, self._root, self._allowed, own=own if plain else None)

    def _anything(self) -> Place:
        return Place(None, self._root, self._allowed)


def root(schema: Wire | None, allowed: frozenset[str]) -> Place:
    """The place of the whole value."""
    if schema is None:
        return Place(None, {}, allowed)
    plain = not any(key in schema for key in _COMBINED) and "$ref" not in schema
    return Place(alternatives(schema, schema), schema, allowed, own=schema if plain else None)


def alternatives(schema: Any, root: Wire, depth: int = 0) -> list[All] | None:
    """The schema as alternatives without combinations; None when there are too many to tell apart."""
    if schema is False:
        return []
    if not isinstance(schema, dict) or not schema:
        return [()]
    if depth > DEEPEST:
        return None
    found: list[All] = [(schema,)]
    groups: list[list[Any]] = []
    if isinstance(reference := schema.get("$ref"), str):
        groups.append([_resolved(reference, root)])
    groups += [[part] for part in schema.get("allOf") or ()]
    groups += [list(schema[key]) for key in ("anyOf", "oneOf") if isinstance(schema.get(key), list) and schema[key]]
    for group in groups:
        more: list[All] = []
        for part in group:
            grown = alternatives(part, root, depth + 1)
            if grown is None:
                return None
            more += grown
        found = [one + other for one in found for other in more]
        if len(found) > MOST:
            return None
    return found


def kind_of(value: Any) -> Kind:
    """The kind of a finished value."""
    if isinstance(value, bool):
        return "boolean"
    if value is None:
        return "null"
    if isinstance(value, str):
        return "string"
    if isinstance(value, dict):
        return "object"
    return "array" if isinstance(value, list) else "number"


def _resolved(reference: str, root: Wire) -> Any:
    """What a reference points to; anything where that is unknown."""
    if not reference.startswith("#"):
        return True
    target: Any = root
    for part in reference.removeprefix("#").split("/")[1:]:
        part = part.replace("~1", "/").replace("~0", "~")
        if not isinstance(target, dict) or part not in target:
            return True
        target = target[part]
    return target


def _types(node: Wire) -> set[str] | None:
    types = node.get("type")
    if isinstance(types, str):
        return {types}
    return {one for one in types if isinstance(one, str)} if isinstance(types, list) else None


def _starts(node: Wire, kind: Kind, allowed: frozenset[str]) -> bool:
    types = _types(node)
    if types is None:
        members = node.get("enum") if isinstance(node.get("enum"), list) else None
        if "const" in node:
            members = [node["const"]]
        return members is None or any(kind_of(member) == kind for member in members)
    if kind in types or (kind == "number" and "integer" in types):
        return True
    if kind == "string":
        return bool(
            ("number" in allowed and types & {"number", "integer"}) or ("boolean" in allowed and "boolean" in types)
        )
    return kind == "object" and "array" in types and "list" in allowed


def _member(node: Wire, key: str, allowed: frozenset[str], declared_only: bool) -> Any:
    """The schema of a member; None: nothing is said about it; False: it may not be there."""
    types = _types(node)
    if types is not None and "object" not in types:
        return None if "array" in types else False  # one object may become a list of one
    properties = node.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    if key in properties:
        return properties[key]
    if "patternProperties" in node or ("key" in allowed and folded(key) in map(folded, properties)):
        return None
    others = node.get("additionalProperties")
    if others is None:
        undeclared = declared_only and isinstance(node.get("properties"), dict)
        return False if undeclared and not any(name in node for name in OPEN) else None
    return others if isinstance(others, dict) or others is False else None


def _names(node: Wire, declared_only: bool) -> list[str] | None:
    types = _types(node)
    if (types is not None and "object" not in types) or "patternProperties" in node:
        return None
    properties = node.get("properties")
    properties = properties if isinstance(properties, dict) else {}
    closed = node.get("additionalProperties") is False or (
        declared_only and "properties" in node and not any(name in node for name in OPEN)
    )
    return list(properties) if closed else None


def _item(node: Wire, number: int) -> Any:
    types = _types(node)
    if types is not None and "array" not in types:
        return False
    most = node.get("maxItems")
    if isinstance(most, int) and number >= most:
        return False
    first, items = node.get("prefixItems"), node.get("items")
    if isinstance(items, list):
        first, items = items, node.get("additionalItems")
    if isinstance(first, list) and number < len(first):
        return first[number]
    return items


def _listed(node: Wire) -> list[str] | None:
    members = [node["const"]] if "const" in node else node.get("enum")
    if not isinstance(members, list) or not all(isinstance(member, str) for member in members):
        return None
    return members


def _longest(every: All) -> int | None:
    bounds = []
    for node in every:
        types = _types(node)
        most = node.get("maxLength")
        if isinstance(most, int) and (types is None or "string" in types) and _listed(node) is None:
            bounds.append(most)
    return min(bounds, default=None)
