"""Reads one value of loosely written JSON or Python, and notes every liberty that the writer took.

Takes trailing commas, comments, single and smart quotes, Python literals and tuples, unquoted keys and raw newlines
in strings, because each of them has one reading. Raises Broken for everything that has two, or none.
"""

from __future__ import annotations

import re
from typing import Any

from msgspec import Struct

from cheapfirst.checks import numbers, strings
from cheapfirst.checks.strings import Broken
from cheapfirst.messages import Step

MAX_DEPTH = 128
"""Containers inside containers; deeper text is refused."""

_BLANKS = re.compile(r"[\s\ufeff]*")
_WORD = re.compile(r"[A-Za-z_$][\w$]*")
_KEY = re.compile(r"[A-Za-z_$][\w$-]*")
_NAME = re.compile(r"[A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*")
_NUMBER = re.compile(r"[+-]?\.?[0-9](?:[\w.]|(?<=[eE])[+-])*")
_KEYWORD = re.compile(r"([A-Za-z_]\w*)\s*(?:=(?!=)|:)")
_KEY_AHEAD = re.compile(r"\s*(?:\"[^\"\\\n]*\"|'[^'\\\n]*'|[A-Za-z_$][\w$-]*)\s*:")
_LOOSE_TEXT = re.compile(r"[^\n,()\[\]{}\"'`=:<>|*+]+")
_LITERALS = {"true": True, "false": False, "null": None}
_PYTHON = {"True": True, "False": False, "None": None}
_NO_VALUE = {"NaN", "Infinity", "undefined", "inf", "nan"}
_CLOSING = {"[": "]", "(": ")"}


class Called(Struct, frozen=True):
    """A call as written: `name(positional, keyword=value)`."""

    name: str
    positional: tuple[Any, ...]
    keywords: dict[str, Any]
    position: int


class Word(Struct, frozen=True):
    """Text without quotes where a value was due; only a schema can say whether it is a string."""

    text: str
    position: int


class Reader:
    """Reads values out of one text. With `calls`, also call expressions and words without quotes."""

    __slots__ = ("_calls", "_notes", "_text")

    def __init__(self, text: str, *, calls: bool = False) -> None:
        self._text = text
        self._calls = calls
        self._notes: dict[str, tuple[int, int]] = {}

    def trail(self) -> tuple[Step, ...]:
        """The liberties taken so far: one step for each kind, with its first position."""
        return tuple(
            Step(kind=kind, position=first, note=f"{count} times" if count > 1 else "")
            for kind, (count, first) in self._notes.items()
        )

    def value(self, at: int, depth: int = 0) -> tuple[Any, int]:
        """The value that begins at `at` (after blanks and comments), and the offset behind it. Raises Broken."""
        at = self.skip(at)
        here = self._peek(at)
        if here in "{[(":
            if depth >= MAX_DEPTH:
                raise Broken("parse.too_deep", f"More than {MAX_DEPTH} containers stand inside each other.", at)
            return self._object(at, depth) if here == "{" else self._array(at, depth)
        if here in strings.CLOSERS:
            return strings.read(self._text, at, self._note, python=self._calls)
        number = _NUMBER.match(self._text, at)
        if number:
            return self._number(number, at)
        return self._word(at, depth)

    def skip(self, at: int) -> int:
        """The offset of the next character that is neither blank nor comment."""
        text = self._text
        while True:
            blank = _BLANKS.match(text, at)
            if blank and blank.end() > at:
                if blank[0].strip(" \t\r\n"):
                    self._note("repaired.blank", at)
                at = blank.end()
            if text.startswith(("//", "#"), at):
                end = text.find("\n", at)
                end = len(text) if end < 0 else end
            elif text.startswith("/*", at):
                end = text.find("*/", at) + 2
                if end < 2:
                    raise Broken("parse.incomplete", "The text ends inside a comment.", at, incomplete=True)
            else:
                return at
            if text[at:end].lstrip("/*# ").startswith(("...", "…")):
                raise Broken("parse.elided", "A comment says that something was left out.", at)
            self._note("repaired.comment", at)
            at = end

    def _note(self, kind: str, position: int) -> None:
        count, first = self._notes.get(kind, (0, position))
        self._notes[kind] = (count + 1, first)

    def _peek(self, at: int) -> str:
        if at >= len(self._text):
            raise Broken("parse.incomplete", "The text ends inside a value.", at, incomplete=True)
        return self._text[at]

    def _object(self, at: int, depth: int) -> tuple[dict[str, Any], int]:
        found: dict[str, Any] = {}
        at = self.skip(at + 1)
        if self._peek(at) == "}":
            return found, at + 1
        while True:
            key, place = self._key(at), at
            at = self.skip(key[1])
            if self._peek(at) != ":":
                raise Broken("parse.syntax", "A colon was expected behind a key.", at)
            member, at = self.value(at + 1, depth + 1)
            if key[0] in found:
                raise Broken("parse.duplicate_key", "A key stands twice in one object.", place)
            found[key[0]] = member
            at, closed = self._next(at, "}", keys=True)
            if closed:
                return found, at

    def _key(self, at: int) -> tuple[str, int]:
        if self._peek(at) in strings.CLOSERS:
            return strings.read(self._text, at, self._note, python=self._calls)
        word = _KEY.match(self._text, at)
        if word is None:
            raise Broken("parse.syntax", "A key was expected.", at)
        self._note("repaired.unquoted_key", at)
        return word[0], word.end()

    def _array(self, at: int, depth: int) -> tuple[list[Any], int]:
        start, closing = at, _CLOSING[self._text[at]]
        found: list[Any] = []
        commas = 0
        at = self.skip(at + 1)
        closed = self._peek(at) == closing
        at += closed
        while not closed:
            item, at = self.value(at, depth + 1)
            found.append(item)
            commas += self._text.startswith(",", self.skip(at))
            at, closed = self._next(at, closing)
        if closing == ")":
            if found and not commas:
                raise Broken("parse.syntax", "One value in round brackets is not a list.", start)
            self._note("repaired.tuple", start)
        return found, at

    def _next(self, at: int, closing: str, *, keys: bool = False) -> tuple[int, bool]:
        """Past the comma to the next member, or past the closing bracket (and True)."""
        before, at = at, self.skip(at)
        here = self._peek(at)
        if here == closing:
            return at + 1, True
        if here == ",":
            comma, at = at, self.skip(at + 1)
            if self._peek(at) != closing:
                return at, False
            self._note("repaired.trailing_comma", comma)
            return at + 1, True
        if keys and "\n" in self._text[before:at] and _KEY_AHEAD.match(self._text, at):
            self._note("repaired.missing_comma", at)
            return at, False
        raise Broken("parse.syntax", f"A comma or {closing} was expected.", at)

    def _number(self, number: re.Match[str], at: int) -> tuple[Any, int]:
        spelled, end = number[0], number.end()
        if numbers.JSON.fullmatch(spelled):
            if self._calls and self._loose_end(end) is not None:
                return self._loose_text(at)
            return numbers.exact(spelled, at), end
        if self._calls and spelled[-1].isalpha():
            return self._loose_text(at)
        try:
            value = numbers.loose(spelled, at)
        except Broken:
            if end < len(self._text):
                raise
            raise Broken("parse.incomplete", "The text ends inside a number.", at, incomplete=True) from None
        self._note("repaired.number", at)
        return value, end

    def _loose_end(self, at: int) -> int | None:
        """Where words go on behind a number (`10 miles`); None when the number stands alone."""
        text = _LOOSE_TEXT.match(self._text, at)
        return text.end() if text and text[0].strip() and not text[0].strip().startswith(("#", "//", "/*")) else None

    def _word(self, at: int, depth: int) -> tuple[Any, int]:
        if self._calls:
            called = self._call(at, depth)
            if called is not None:
                return called
        word = _WORD.match(self._text, at)
        if word is None:
            if self._calls:
                return self._loose_text(at)
            cut = len(self._text) - at <= 2 and self._text[at:] in ("-", "+", ".", "-.")
            raise Broken("parse.incomplete" if cut else "parse.syntax", "A value was expected.", at, incomplete=cut)
        if word.end() == len(self._text) and depth:
            raise Broken("parse.incomplete", "The text ends inside a value.", at, incomplete=True)
        if self._calls and self._loose_end(word.end()) is not None:
            return self._loose_text(at)
        if word[0] in _LITERALS:
            return _LITERALS[word[0]], word.end()
        if word[0] in _PYTHON:
            self._note("repaired.python_literal", at)
            return _PYTHON[word[0]], word.end()
        if word[0] in _NO_VALUE:
            raise Broken("parse.no_value", "A word stands here that is no JSON value.", at)
        if self._calls:
            return self._loose_text(at)
        raise Broken("parse.word", "A word without quotes stands where a value was expected.", at)

    def _loose_text(self, at: int) -> tuple[Word, int]:
        text = _LOOSE_TEXT.match(self._text, at)
        if text is None:
            raise Broken("parse.syntax", "A value was expected.", at)
        if text.end() == len(self._text):
            raise Broken("parse.incomplete", "The text ends inside a value.", at, incomplete=True)
        return Word(text[0].strip(), at), text.end()

    def call(self, at: int) -> tuple[Called, int]:
        """The call that begins at `at`: an expression, or a name with an object behind it. Raises Broken."""
        found = self._call(at, 0)
        name = _NAME.match(self._text, at)
        if found is None and name is not None and self._text.startswith("{", self.skip(name.end())):
            arguments, end = self._object(self.skip(name.end()), 0)
            return Called(name[0], (arguments,), {}, at), end
        if found is None:
            raise Broken("parse.syntax", "A call was expected.", at)
        return found

    def _call(self, at: int, depth: int) -> tuple[Called, int] | None:
        name = _NAME.match(self._text, at)
        opening = self.skip(name.end()) if name else 0
        if name is None or not self._text.startswith("(", opening):
            return None
        if depth >= MAX_DEPTH:
            raise Broken("parse.too_deep", f"More than {MAX_DEPTH} containers stand inside each other.", at)
        positional: list[Any] = []
        keywords: dict[str, Any] = {}
        start, at = at, self.skip(opening + 1)
        closed = self._peek(at) == ")"
        at += closed
        while not closed:
            keyword = _KEYWORD.match(self._text, at)
            if keyword is None:
                value, at = self.value(at, depth + 1)
                positional.append(value)
            else:
                value, end = self.value(keyword.end(), depth + 1)
                if keyword[1] in keywords:
                    raise Broken("parse.duplicate_key", "An argument is given twice.", at)
                keywords[keyword[1]] = value
                at = end
            at, closed = self._next(at, ")")
        return Called(name[0], tuple(positional), keywords, start), at
