"""Makes a short text that a regular expression matches, for the `pattern` keyword of JSON Schema."""

from __future__ import annotations

import re
import string
from collections.abc import Iterable
from importlib import import_module
from typing import Any

_parser = import_module("re._parser")  # the one reader of Python's own syntax; type stubs disagree about it

_LETTERS = string.ascii_lowercase + string.ascii_uppercase + string.digits + " -_.@/:+#,"
_MOST = 60
"""Characters at most; bounded repeats above it are not attempted."""


def matching(pattern: str, candidates: Iterable[str], *, least: int = 0, most: int | None = None) -> str | None:
    """The first candidate that the pattern matches, else a text made for it; None where neither is found.

    Sizes are characters. Look-around and back-references are not followed.
    """
    try:
        compiled = re.compile(pattern)
        parsed = _parser.parse(pattern)
    except (re.error, RecursionError, OverflowError):
        return None
    made = (_made(parsed, more) for more in (0, 1, least, max(0, least - 1), least // 2))
    for text in (*candidates, *(text for text in made if text is not None)):
        for sized in (text, text.ljust(least, "x"), text.rjust(least, "x")):
            if least <= len(sized) and (most is None or len(sized) <= most) and compiled.search(sized):
                return sized
    return None


def _made(parsed: Any, more: int) -> str | None:
    try:
        return "".join(_part(str(code), argument, more) for code, argument in parsed)
    except (ValueError, TypeError):
        return None


def _part(code: str, argument: Any, more: int) -> str:
    if code == "LITERAL":
        return chr(argument)
    if code == "NOT_LITERAL":
        return next(letter for letter in _LETTERS if ord(letter) != argument)
    if code == "ANY":
        return "x"
    if code == "IN":
        return _member(argument)
    if code == "BRANCH":
        return _text(argument[1][0], more)
    if code == "SUBPATTERN":
        return _text(argument[3], more)
    if code == "ATOMIC_GROUP":
        return _text(argument, more)
    if code in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
        low, high, inner = argument
        if low > _MOST:
            raise ValueError("too long")
        return _text(inner, more) * min(max(int(low), more), int(high), max(_MOST, int(low)))
    if code == "AT":
        return ""
    raise ValueError(f"not followed: {code}")


def _text(parsed: Any, more: int) -> str:
    made = _made(parsed, more)
    if made is None:
        raise ValueError("not followed")
    return made


def _member(entries: Any) -> str:
    """A character of a set such as `[a-z\\d]` or `[^<]`."""
    negated = str(entries[0][0]) == "NEGATE"
    first = entries[0]
    if not negated and str(first[0]) == "LITERAL":
        return chr(first[1])
    if not negated and str(first[0]) == "RANGE":
        return chr(first[1][0])
    inside = "".join(_class(str(code), argument) for code, argument in entries[int(negated) :])
    for letter in _LETTERS:
        if (letter in inside) != negated:
            return letter
    raise ValueError("an empty set")


def _class(code: str, argument: Any) -> str:
    if code == "LITERAL":
        return chr(argument)
    if code == "RANGE":
        low, high = argument
        return "".join(letter for letter in _LETTERS if low <= ord(letter) <= high)
    name = str(argument)
    known = {"DIGIT": string.digits, "WORD": string.ascii_letters + string.digits + "_", "SPACE": " "}
    kind = name.removeprefix("CATEGORY_")
    if kind.removeprefix("NOT_") not in known:
        raise ValueError(f"not followed: {name}")
    listed = known[kind.removeprefix("NOT_")]
    return "".join(letter for letter in _LETTERS if letter not in listed) if kind.startswith("NOT_") else listed
