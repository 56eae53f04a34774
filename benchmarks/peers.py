"""Other parsers of loose JSON, each as one function from text to value, and the plain ladder that makes calls of it."""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Callable
from typing import Any

from benchmarks import strict

Load = Callable[[str], Any]
Call = tuple[str, dict[str, Any]]

_LISTS = ("tool_calls", "function_calls", "functions", "calls")
_NAMES = ("name", "function", "function_name", "tool", "func_name")
_ARGUMENTS = ("arguments", "parameters", "params", "args", "input", "kwargs")
_TAG = re.compile(r"<tool_call>(.*?)(?:</tool_call>|<\||$)", re.S)
_FENCE = re.compile(r"```[a-zA-Z]*\s*\n?(.*?)(?:```|$)", re.S)
_CALL_LINE = re.compile(r"^\s*[\w.]+\s*\(")


def loaders() -> tuple[dict[str, Load], list[str]]:
    """The parsers that are installed, by name, and a sentence for each that is not."""
    found: dict[str, Load] = {"strict json": json.loads}
    absent = []
    for name, module, make in (
        ("json_repair", "json_repair", lambda peer: peer.loads),
        ("json5", "json5", lambda peer: peer.loads),
        ("dirtyjson", "dirtyjson", lambda peer: lambda text: _plain(peer.loads(text))),
        ("demjson3", "demjson3", lambda peer: lambda text: _plain(peer.decode(text))),
        ("partial-json-parser", "partial_json_parser", lambda peer: peer.loads),
        ("jiter (partial)", "jiter", lambda peer: lambda text: peer.from_json(text.encode(), partial_mode=True)),
        ("pydantic-core", "pydantic_core", lambda peer: peer.from_json),
    ):
        try:
            found[name] = make(importlib.import_module(module))
        except ImportError:
            absent.append(f"{name} is not installed and is left out; pip install {module.replace('_', '-')} adds it.")
    return found, absent


def _plain(value: Any) -> Any:
    """A parser's own kinds of object and list as Python's."""
    if isinstance(value, dict):
        return {key: _plain(part) for key, part in value.items()}
    return [_plain(item) for item in value] if isinstance(value, list | tuple) else value


def attempt(load: Load, text: str) -> tuple[bool, Any]:
    """Whether a parser read a text at all, and its value. Peers raise whatever they like."""
    try:
        return True, load(text)
    except (Exception, RecursionError):  # noqa: BLE001 - a measured stranger
        return False, None


def calls(load: Load, text: str, *, bare: bool = False) -> list[Call]:
    """The calls in a text, by stripping fences and tags, Python's own parser, and then `load`; or by `load` alone."""
    if bare:
        read, value = attempt(load, text)
        return _shaped(value) if read else []
    found: list[Call] = []
    parts = _TAG.findall(text) or [part for part in _FENCE.findall(text) if part.strip()] or [text]
    for part in map(str.strip, parts):
        here = strict.decode(part) or _lines(part)
        if not here:
            read, value = attempt(load, part)
            here = _shaped(value) if read else []
        found += here
    return found


def _lines(part: str) -> list[Call]:
    lines = [line.strip().rstrip(",;") for line in part.splitlines() if _CALL_LINE.match(line)]
    decoded = [strict.decode(line) for line in lines]
    return [call for one in decoded for call in one or []] if all(decoded) else []


def _shaped(value: Any) -> list[Call]:
    """The calls of the usual JSON shapes."""
    if isinstance(value, list):
        return [
            call for item in value for call in ((strict.decode(item) or []) if isinstance(item, str) else _shaped(item))
        ]
    if not isinstance(value, dict):
        return []
    for key in _LISTS:
        if isinstance(value.get(key), list):
            return _shaped(value[key])
    for key in _NAMES:
        name = value.get(key)
        if isinstance(name, dict):
            return _shaped(name)
        if isinstance(name, str):
            return [(name, _arguments(value, key))]
    return list(value.items()) if value and all(isinstance(part, dict) for part in value.values()) else []


def _arguments(value: dict[str, Any], key: str) -> dict[str, Any]:
    for one in _ARGUMENTS:
        given = value.get(one)
        if isinstance(given, str):
            given = attempt(json.loads, given)[1]
        if isinstance(given, dict):
            return given
    return {name: part for name, part in value.items() if name not in (key, "type", "id")}
