"""Brings a parsed value to the spelling its schema wants, where only one reading is possible, and notes each change."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection
from typing import Any

from cheapfirst.checks import numbers
from cheapfirst.checks.paths import leaves
from cheapfirst.checks.schema import Schema
from cheapfirst.checks.strings import Broken
from cheapfirst.errors import RequestError
from cheapfirst.messages import Path, Step
from cheapfirst.policy.checks import ALIGNMENTS

_SEPARATORS = re.compile(r"[\s_.\-]+")
_EXACT_INTEGER = 2**53
_REFERENCES = 32
"""`$ref`s followed without coming to a schema of its own."""


def align(
    value: Any, schema: dict[str, Any], allowed: Collection[str] | None = None, *, ready: Schema | None = None
) -> tuple[Any, tuple[Step, ...]]:
    """The value as `schema` spells it, with one step per change; a valid value comes back equal.

    `allowed` names the alignments that may be used (see `policy.checks.ALIGNMENTS`); None allows all. `ready` is the
    same schema ready for use, where there is one. The one change
    to a valid value is 5.0 to 5 where an integer is asked, which JSON Schema holds for the same number.
    """
    names = frozenset(ALIGNMENTS if allowed is None else allowed)
    if names and (fits(value, schema) if ready is None else not ready.findings(value)):
        whole = any(isinstance(leaf, float) and leaf.is_integer() for _, leaf in leaves(value))
        names &= {"integer"} if whole else set()
    if not names:
        return value, ()
    aligner = _Aligner(schema, names)
    try:
        return aligner.at(value, schema, ()), tuple(aligner.steps)
    except RecursionError:
        return value, ()


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Whether `value` is valid against `schema`; never, when the schema cannot be used."""
    try:
        return not Schema(schema).findings(value)
    except RequestError:
        return False


def folded(name: str) -> str:
    """A name without what spelling variants differ in: case, blanks, hyphens, underscores and dots."""
    return _SEPARATORS.sub("", name).casefold()


class _Aligner:
    """One alignment: the root schema for references, what is allowed, and the steps so far."""

    def __init__(self, root: dict[str, Any], allowed: frozenset[str]) -> None:
        self.root = root
        self.allowed = allowed
        self.steps: list[Step] = []

    def at(self, value: Any, schema: Any, path: Path) -> Any:
        """The value at `path` as its part of the schema spells it."""
        schema = self._resolved(schema)
        if not isinstance(schema, dict):
            return value
        for part in schema.get("allOf") or ():
            value = self.at(value, part, path)
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                value = self._branch(value, schema[key], path)
        value = self._kind(value, schema, path)
        value = self._listed(value, schema, path)
        if isinstance(value, dict):
            return self._object(value, schema, path)
        if isinstance(value, list):
            return self._array(value, schema, path)
        return value

    def _step(self, name: str, note: str, path: Path) -> None:
        self.steps.append(Step(kind=f"aligned.{name}", note=note, path=path))

    def _resolved(self, schema: Any) -> Any:
        for _ in range(_REFERENCES):
            if not isinstance(schema, dict) or not isinstance(schema.get("$ref"), str):
                return schema
            target: Any = self.root
            for part in schema["$ref"].removeprefix("#").split("/")[1:]:
                part = part.replace("~1", "/").replace("~0", "~")
                target = target.get(part) if isinstance(target, dict) else None
            beside = {key: part for key, part in schema.items() if key != "$ref"}
            schema = {**target, **beside} if isinstance(target, dict) else None
        return None

    def _fits(self, value: Any, schema: Any) -> bool:
        if not isinstance(schema, dict):
            return schema is not False
        shared: dict[str, Any] = {
            key: self.root[key] for key in ("$defs", "definitions", "$schema") if key in self.root
        }
        return fits(value, {**shared, **schema})

    def _branch(self, value: Any, branches: list[Any], path: Path) -> Any:
        """The one reading that makes exactly one branch valid; unchanged when none or several do, or it is valid."""
        fitting = [branch for branch in branches if self._fits(value, branch)]
        if fitting:
            return self.at(value, fitting[0], path) if len(fitting) == 1 else value
        readings = []
        for branch in branches:
            trial = _Aligner(self.root, self.allowed)
            reading = trial.at(value, branch, path)
            if self._fits(reading, branch):
                readings.append((reading, trial.steps))
        if len({repr(reading) for reading, _ in readings}) != 1:
            return value
        self.steps += readings[0][1]
        return readings[0][0]

    def _kind(self, value: Any, schema: dict[str, Any], path: Path) -> Any:
        """A number or boolean out of its quotes, a whole float as integer, an object into its list."""
        types = schema.get("type")
        kinds = {types} if isinstance(types, str) else set(types or ())
        if isinstance(value, str) and kinds and "string" not in kinds:
            return self._unquoted(value, kinds, path)
        if isinstance(value, float) and "integer" in kinds and "number" not in kinds and "integer" in self.allowed:
            if value.is_integer() and abs(value) <= _EXACT_INTEGER:
                self._step("integer", "a whole number lost its point", path)
                return int(value)
        elif isinstance(value, dict) and "array" in kinds and "object" not in kinds and "list" in self.allowed:
            self._step("list", "one object became a list of one", path)
            return [value]
        return value

    def _unquoted(self, value: str, kinds: set[str], path: Path) -> Any:
        if "boolean" in kinds and "boolean" in self.allowed and value.lower() in ("true", "false"):
            self._step("boolean", "a boolean lost its quotes", path)
            return value.lower() == "true"
        if "number" in self.allowed and kinds & {"number", "integer"} and numbers.JSON.fullmatch(value):
            try:
                number = numbers.exact(value)
            except Broken:
                return value
            if isinstance(number, int) or "number" in kinds:
                self._step("number", "a number lost its quotes", path)
                return number
        return value

    def _listed(self, value: Any, schema: dict[str, Any], path: Path) -> Any:
        """The one enum member that differs from the value in case or separators only."""
        members = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
        if not isinstance(value, str) or "enum" not in self.allowed or value in members:
            return value
        same = {one for one in members if isinstance(one, str) and folded(one) == folded(value)}
        if len(same) != 1:
            return value
        self._step("enum", "a choice took the spelling of the schema", path)
        return same.pop()

    def _object(self, value: dict[str, Any], schema: dict[str, Any], path: Path) -> dict[str, Any]:
        properties = schema.get("properties")
        properties = properties if isinstance(properties, dict) else {}
        if "key" in self.allowed and not value.keys() <= properties.keys() and not self._fits(value, schema):
            value = self._renamed(value, properties, path)
        others = schema.get("additionalProperties")
        return {key: self.at(member, properties.get(key, others), (*path, key)) for key, member in value.items()}

    def _renamed(self, value: dict[str, Any], properties: dict[str, Any], path: Path) -> dict[str, Any]:
        absent = [name for name in properties if name not in value]
        meant = Counter(map(folded, absent))
        written = Counter(folded(key) for key in value if key not in properties)
        names = {folded(name): name for name in absent}
        renamed = {}
        for key, member in value.items():
            form = folded(key)
            unique = key not in properties and form and meant[form] == 1 and written[form] == 1
            name = names[form] if unique else key
            if unique:
                self._step("key", "a property took the spelling of the schema", (*path, name))
            renamed[name] = member
        return renamed

    def _array(self, value: list[Any], schema: dict[str, Any], path: Path) -> list[Any]:
        items = schema.get("items")
        first = schema.get("prefixItems") or (items if isinstance(items, list) else [])
        rest = items if not isinstance(items, list) else schema.get("additionalItems")
        return [
            self.at(item, first[place] if place < len(first) else rest, (*path, place))
            for place, item in enumerate(value)
        ]
