"""Recorded function-calling answers (BFCL): declarations as tools, and grading against the possible answers.

The grading follows the published AST rules of BFCL's Python categories. `possible_answer` is for grading only; nothing
that routes, parses or checks may see it.
"""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

Row = dict[str, Any]
Call = dict[str, Any]

LANGUAGES = ("java", "javascript")
"""Tasks whose values are written in another language's types; they cannot be graded by the Python rules."""

_JSON_TYPES = {
    "dict": "object",
    "object": "object",
    "float": "number",
    "number": "number",
    "tuple": "array",
    "array": "array",
    "string": "string",
    "integer": "integer",
    "boolean": "boolean",
}
_KEPT = ("description", "enum", "default")
_PYTHON: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "float": (float, int),
    "boolean": (bool,),
    "array": (list, tuple),
    "tuple": (list, tuple),
    "dict": (dict,),
    "any": (object,),
}
_MARKS = re.compile(r"[ ,./\-_*^]")


def rows(path: Path) -> Iterator[Row]:
    """The rows of a gzipped JSON Lines file."""
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        for line in lines:
            yield json.loads(line)


def functions(row: Row) -> list[Row]:
    """The declarations of a row, which some files hold as text."""
    declared = row["functions"]
    if isinstance(declared, str):
        import ast

        declared = ast.literal_eval(declared)
    return declared if isinstance(declared, list) else [declared]


def tools(declared: list[Row], task: str = "simple") -> list[Row]:
    """BFCL declarations as chat-completions tools with JSON Schema parameters.

    Values of the Java and JavaScript tasks are language literals, so their parameters have no type.
    """
    return [
        {
            "type": "function",
            "function": {
                "name": function["name"],
                "description": function.get("description", ""),
                "parameters": {**_schema(function["parameters"], task not in LANGUAGES), "additionalProperties": False},
            },
        }
        for function in declared
    ]


def _schema(spec: Any, typed: bool, *, top: bool = True) -> Row:
    """One declaration's type as JSON Schema; words of other dialects are dropped."""
    if not isinstance(spec, dict):
        return {}
    schema: Row = {key: spec[key] for key in _KEPT if key in spec}
    if "enum" in schema and not isinstance(schema["enum"], list):
        del schema["enum"]
    kind = _JSON_TYPES.get(str(spec.get("type")))
    if kind and (typed or top):
        schema["type"] = kind
    properties = spec.get("properties")
    if isinstance(properties, dict) and schema.get("type") == "object":
        schema["properties"] = {name: _schema(part, typed, top=False) for name, part in properties.items()}
        required = spec.get("required")
        if isinstance(required, list):
            schema["required"] = [name for name in required if name in properties]
    if isinstance(spec.get("items"), dict) and schema.get("type") == "array":
        schema["items"] = _schema(spec["items"], typed, top=False)
    return schema


def grade(calls: list[Call], possible: Any, declared: list[Row]) -> bool:
    """Whether `calls` (as `calls.read` gives them) are one of the possible answers, in any order."""
    names = {function["name"] for function in declared}
    wanted = _wanted(possible, names)
    if not calls or len(calls) != len(wanted):
        return False
    for call in calls:
        match = next((one for one in wanted if _call_fits(call, one, declared)), None)
        if match is None:
            return False
        wanted.remove(match)
    return True


def _wanted(possible: Any, names: set[str]) -> list[tuple[str, Row]]:
    parts = possible if isinstance(possible, list) else [possible] if isinstance(possible, dict) else []
    # One object may hold several calls of a function: "name", "name 1", "name_2".
    return [
        (name if name in names else re.sub(r"[ _]\d+$", "", name), arguments)
        for part in parts
        for name, arguments in part.items()
    ]


def _call_fits(call: Call, wanted: tuple[str, Row], declared: list[Row]) -> bool:
    name, allowed = wanted
    if call["name"] not in (name, name.replace(".", "_")):
        return False
    function = next((one for one in declared if one["name"] == name), None)
    if function is None:
        return False
    properties = function["parameters"].get("properties", {})
    arguments = call["arguments"]
    if any(key not in arguments for key in function["parameters"].get("required", [])):
        return False
    if any(key not in properties or key not in allowed for key in arguments):
        return False
    if not all(_value_fits(value, allowed[key], properties[key]) for key, value in arguments.items()):
        return False
    return all(key in arguments or "" in options for key, options in allowed.items())


def _value_fits(value: Any, options: list[Any], spec: Row) -> bool:
    kind = spec.get("type")
    if isinstance(value, str) and kind != "string" and kind in _PYTHON:
        return value != "" and value in [option for option in options if isinstance(option, str)]
    if kind == "float" and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind in _PYTHON and not isinstance(value, _PYTHON[kind]):
        return False
    if kind == "integer" and isinstance(value, bool):
        return False
    if kind in ("array", "tuple") and not _items_fit(value, options, (spec.get("items") or {}).get("type")):
        return False
    if isinstance(value, dict):
        return any(_object_fits(value, option) for option in options if isinstance(option, dict))
    if isinstance(value, list | tuple) and value and isinstance(value[0], dict):
        return any(
            all(_value_fits(item, [one], {"type": "dict"}) for item, one in zip(value, option, strict=True))
            for option in options
            if isinstance(option, list) and len(option) == len(value)
        )
    return _plain(value) in [_plain(option) for option in options]


def _items_fit(value: Any, options: list[Any], kind: Any) -> bool:
    if kind not in _PYTHON:
        return True
    lists = [option for option in options if isinstance(option, list | tuple)]
    floats = any(isinstance(item, float) for option in lists for item in option)
    for item in value:
        if kind == "float" and isinstance(item, int) and floats:
            return False
        if not isinstance(item, list | tuple | dict) and not isinstance(item, _PYTHON[kind]):
            return False
    return True


def _object_fits(value: Row, option: Row) -> bool:
    choices = {key: one if isinstance(one, list) else [one] for key, one in option.items()}
    return all(key in choices and _plain(part) in map(_plain, choices[key]) for key, part in value.items()) and all(
        key in value or "" in choices[key] for key in choices
    )


def _plain(value: Any) -> Any:
    """A value without the differences that BFCL forgives: case, spaces and punctuation of strings."""
    if isinstance(value, str):
        return _MARKS.sub("", value).lower().replace("'", '"')
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return value
