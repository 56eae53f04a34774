"""The schema-aligned parsing cases of BAML as JSON Schema, and why a case is left out."""

from __future__ import annotations

import re
from typing import Any

_CLASS = re.compile(r"class\s+(\w+)\s*\{(.*?)\}", re.S)
_ENUM = re.compile(r"enum\s+(\w+)\s*\{(.*?)\}", re.S)
_TARGET = re.compile(r'FieldType::[Cc]lass\("(\w+)"(?:\.to_string\(\))?\)')
_LIST_TARGET = re.compile(r'FieldType::[Ll]ist\(FieldType::[Cc]lass\("(\w+)"(?:\.to_string\(\))?\)(?:\.into\(\))?\)')
_PLAIN = {"int": "integer", "float": "number", "bool": "boolean", "string": "string", "null": "null"}
_PLAIN_TARGET = re.compile(r"FieldType::(int|float|bool)\(\)(\.as_list\(\))?")


def usable(row: dict[str, Any]) -> tuple[dict[str, Any] | None, str]:
    """The schema of a case; or None and the reason why it is no test of reading one whole JSON value."""
    if row["macro"] != "test_deserializer":
        return None, "expects a failure or a value completed from a cut-off text"
    if not row["expected_parsed"]:
        return None, "has no expected value"
    text = row["baml_schema"] or ""
    if "@" in text:
        return None, "uses aliases or descriptions of BAML's own"
    target = row["target_type"]
    named, listed, plain = _TARGET.fullmatch(target), _LIST_TARGET.fullmatch(target), _PLAIN_TARGET.fullmatch(target)
    try:
        definitions = _definitions(text)
        if named:
            schema: dict[str, Any] = {"$ref": f"#/$defs/{named[1]}"}
        elif listed:
            schema = {"type": "array", "items": {"$ref": f"#/$defs/{listed[1]}"}}
        elif plain:
            inner = {"type": _PLAIN[plain[1]]}
            schema = {"type": "array", "items": inner} if plain[2] else inner
        else:
            return None, "asks for free text, a literal, an enum or a union"
    except KeyError:
        return None, "uses types of BAML's own"
    return {**schema, "$defs": definitions}, ""


def _definitions(text: str) -> dict[str, Any]:
    names = {name for name, _ in _CLASS.findall(text)} | {name for name, _ in _ENUM.findall(text)}
    found: dict[str, Any] = {name: {"enum": body.split()} for name, body in _ENUM.findall(text)}
    for name, body in _CLASS.findall(text):
        fields = [line.split(None, 1) for line in map(str.strip, body.splitlines()) if line and line[:2] != "//"]
        properties = {field[0]: _kind(field[1].strip(), names) for field in fields}
        required = [field[0] for field in fields if not field[1].strip().endswith("?")]
        found[name] = {"type": "object", "properties": properties, "required": required}
    return found


def _kind(written: str, names: set[str]) -> dict[str, Any]:
    """One BAML type; raises KeyError for those that JSON Schema has no plain word for."""
    if written.endswith("?"):
        return {"anyOf": [_kind(written[:-1], names), {"type": "null"}]}
    if written.startswith("(") and written.endswith(")[]"):
        return {"type": "array", "items": _kind(written[1:-3], names)}
    if "|" in written:
        return {"anyOf": [_kind(part.strip(), names) for part in written.split("|")]}
    if written.endswith("[]"):
        return {"type": "array", "items": _kind(written[:-2], names)}
    if written in names:
        return {"$ref": f"#/$defs/{written}"}
    return {"type": _PLAIN[written]}
