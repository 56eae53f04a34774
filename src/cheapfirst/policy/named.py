"""Reads the checks that a route names: a name, a one-key table, or a shorthand for the main option."""

from __future__ import annotations

import importlib
import re
from collections.abc import Collection, Mapping
from typing import Any

from cheapfirst.policy import fields
from cheapfirst.policy.checks import CHECKS, Check, Custom, Enum, Language, Length, Python, Regex, Required
from cheapfirst.policy.lines import Key
from cheapfirst.policy.problems import Problems

MAIN = {
    "regex": "pattern",
    "enum": "values",
    "required": "fields",
    "language": "expect",
    "repetition": "max_repeats",
    "python": "call",
    "unique": "path",
}
"""The option that a check's bare value stands for: `{ regex = "^[A-Z]" }` is `{ regex = { pattern = "^[A-Z]" } }`."""


def read(items: object, custom: Collection[str], path: Key, problems: Problems) -> tuple[Check, ...]:
    """The checks of a route's `checks` list; what is wrong is noted and left out."""
    if not isinstance(items, list):
        problems.add(path, f"must be a list of checks, not {fields.kind_of(items)}")
        return ()
    found = (_read(item, custom, (*path, f"[{number}]"), problems) for number, item in enumerate(items))
    return tuple(check for check in found if check is not None)


def _read(item: object, custom: Collection[str], path: Key, problems: Problems) -> Check | None:
    if isinstance(item, str):
        name, options = item, None
    elif isinstance(item, Mapping) and len(item) == 1:
        name, options = next(iter(item.items()))
    else:
        problems.add(path, "must be a check's name or a table with one key, like { length = { max_words = 120 } }")
        return None
    if name in custom and name not in CHECKS:
        if options is not None:
            problems.add(path, f'the registered check "{name}" takes no options: write "{name}"')
        return Custom(name=name)
    if name not in CHECKS:
        hint = 'A check of your own: { python = "package.module:function" }, or Router(checks={"name": function})'
        problems.unknown(path, "check", name, [*CHECKS, *custom], hint)
        return None
    return _options(name, options, path, problems)


def _options(name: str, options: object, path: Key, problems: Problems) -> Check | None:
    kind = CHECKS[name]
    if options is not None and not isinstance(options, Mapping):
        if name not in MAIN:
            example = next(iter(kind.__struct_fields__), None)
            how = f"{{ {name} = {{ {example} = ... }} }}" if example else f'"{name}"'
            problems.add(path, f"{name} needs its options by name: write {how}")
            return None
        options = {MAIN[name]: options}
    before = len(problems)
    check: Check = fields.make(kind, options or {}, (*path, name), problems)
    if len(problems) == before and (wrong := _wrong(check)) is not None:
        problems.add((*path, name), wrong)
    return check if len(problems) == before else None


def _wrong(check: Check) -> str | None:
    """What is wrong with options that have the right types; None when nothing is."""
    match check:
        case Length():
            return _wrong_length(check)
        case Regex(pattern=pattern):
            try:
                re.compile(pattern)
            except re.error as error:
                return f"the pattern is not a regular expression: {error}"
        case Enum(values=[]) | Required(fields=[]):
            return "the list must not be empty"
        case Language(expect=expect) if expect != "source" and not re.fullmatch("[a-z]{2}", expect):
            return 'expect must be "source" or a two-letter ISO 639-1 code such as "en"'
        case Python(call=call):
            return _wrong_call(call)
    return None


def _wrong_length(check: Length) -> str | None:
    bounds = {
        unit: (getattr(check, f"min_{unit}"), getattr(check, f"max_{unit}")) for unit in ("chars", "words", "items")
    }
    if all(bound is None for pair in bounds.values() for bound in pair):
        return "needs a bound: min_chars, max_chars, min_words, max_words, min_items or max_items"
    for unit, (least, most) in bounds.items():
        if least is not None and most is not None and least > most:
            return f"min_{unit} = {least} is more than max_{unit} = {most}"
    return None


def _wrong_call(call: str) -> str | None:
    module, _, name = call.partition(":")
    if not module or not name:
        return f'"{call}" must have the form "package.module:function"'
    found: Any
    try:
        found = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except Exception as error:  # noqa: BLE001 - the user's module may raise anything when it is imported
        return f'"{call}" cannot be imported ({type(error).__name__}); is its package installed or on PYTHONPATH?'
    return None if callable(found) else f'"{call}" is not a function'
