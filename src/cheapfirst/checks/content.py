"""Checks on what an answer says: its length, a pattern, allowed values, fields that must be filled."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

from cheapfirst.checks import schema
from cheapfirst.checks.context import Context
from cheapfirst.checks.paths import dotted, missing, select, shown
from cheapfirst.errors import RequestError
from cheapfirst.messages import Finding, Path
from cheapfirst.policy.checks import Enum, Length, Regex, Required

# Scripts written without spaces count one word per character; elsewhere a word is what stands between spaces.
_WORD = re.compile(
    r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]|[^\s\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+"
)


def words(text: str) -> int:
    """How many words a text has: runs between white space, and one for each Chinese or Japanese character."""
    return sum(1 for _ in _WORD.finditer(text))


def length(value: Any, context: Context, options: Length) -> Sequence[Finding]:
    """The answer's characters, words and items stay within the bounds. Codes: length.<unit>, length.not_text."""
    found: list[Finding] = []
    for path, node in _places(value, context, options.path):
        text = node if isinstance(node, str) else context.text if options.path is None else None
        if text is not None:
            text = text.strip()
            found += _bounds("chars", len(text), options.min_chars, options.max_chars, path)
            if options.min_words is not None or options.max_words is not None:
                found += _bounds("words", words(text), options.min_words, options.max_words, path)
        if isinstance(node, list | dict):
            found += _bounds("items", len(node), options.min_items, options.max_items, path)
        elif options.min_items is not None or options.max_items is not None:
            found.append(_finding("length.not_list", f"{_at(path)} has no items to count: {shown(node)}.", path))
    return found


def regex(value: Any, context: Context, options: Regex) -> Sequence[Finding]:
    """Each string at `path` (or the text) matches the pattern, or none does when `forbid`. Linear-time engine.

    Codes: regex.no_match, regex.forbidden, regex.not_text, regex.pattern (the pattern itself cannot be used).
    """
    try:
        wanted = schema.read({"type": "string", "pattern": options.pattern})
    except RequestError:
        return (_finding("regex.pattern", f"The pattern {shown(options.pattern)} cannot be used.", ()),)
    assert wanted is not None
    found = []
    for path, node in _places(value, context, options.path):
        text = node if isinstance(node, str) else context.text if options.path is None else None
        if text is None:
            found.append(_finding("regex.not_text", f"{_at(path)} is not text: {shown(node)}.", path))
        elif (not wanted.findings(text)) == options.forbid:
            what = ("regex.forbidden", "contains the forbidden") if options.forbid else ("regex.no_match", "lacks the")
            found.append(_finding(what[0], f"{_at(path)} {what[1]} pattern {shown(options.pattern)}.", path))
    return found


def enum(value: Any, context: Context, options: Enum) -> Sequence[Finding]:
    """What stands at `path` (or the whole answer) is one of the values. Code: enum.unknown."""
    found = []
    for path, node in _places(value, context, options.path):
        node = node.strip() if isinstance(node, str) and context.shape != "json" else node
        if not any(_same(node, allowed) for allowed in options.values):
            allowed_values = ", ".join(shown(allowed, 40) for allowed in options.values[:12])
            found.append(_finding("enum.unknown", f"{_at(path)} is {shown(node)}; allowed: {allowed_values}.", path))
    return found


def required(value: Any, context: Context, options: Required) -> Sequence[Finding]:
    """Every listed path is present and says something. Codes: required.missing, required.blank."""
    found = []
    for written in options.fields:
        found += [
            _finding("required.missing", f"`{dotted(path)}` is missing.", path) for path in missing(value, written)
        ]
        for path, node in select(value, written):
            if node is None or node in ([], {}) or (isinstance(node, str) and not node.strip()):
                found.append(_finding("required.blank", f"{_at(path)} is blank: {shown(node)}.", path))
    return found


def _places(value: Any, context: Context, written: str | None) -> Iterator[tuple[Path, Any]]:
    if written is None:
        yield (), value
    else:
        yield from select(value, written)


def _bounds(unit: str, size: int, least: int | None, most: int | None, path: Path) -> Iterator[Finding]:
    if least is not None and size < least:
        yield _finding(f"length.{unit}", f"{_at(path)} has {size} {unit}; at least {least} are wanted.", path)
    if most is not None and size > most:
        yield _finding(f"length.{unit}", f"{_at(path)} has {size} {unit}; at most {most} are allowed.", path)


def _same(value: Any, allowed: Any) -> bool:
    # JSON tells true from 1; Python does not.
    return isinstance(value, bool) == isinstance(allowed, bool) and bool(value == allowed)


def _at(path: Path) -> str:
    return f"`{dotted(path)}`" if path else "The answer"


def _finding(code: str, sentence: str, path: Path) -> Finding:
    return Finding(check=code.partition(".")[0], code=code, sentence=sentence, path=path)
