"""Follows one JSON value while it is being written, and says as soon as no ending can make it fit its schema. Pure.

Only JSON as the standard has it is followed. At the first liberty (a comment, a single quote, a word without quotes)
the value is let go: the tolerant reader may still make something of it. Work is linear in the text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from cheapfirst.checks import numbers
from cheapfirst.checks.align import folded
from cheapfirst.checks.places import Kind, Place
from cheapfirst.checks.repair import MAX_DEPTH
from cheapfirst.checks.strings import Broken
from cheapfirst.messages import Path

_BLANKS = re.compile(r"[ \t\r\n]*")
_RUN = re.compile(r'[^"\\\x00-\x1f]*')
_TOKEN = re.compile(r"[-+.0-9A-Za-z]*")
_WORDS: dict[str, Any] = {"true": True, "false": False, "null": None}
_LITERALS = ("true", "false", "null", "True", "False", "None")
_KINDS: dict[str, Kind] = {"{": "object", "[": "array", '"': "string", "t": "boolean", "f": "boolean", "n": "null"}
_CUT_ESCAPE = re.compile(r"\\(?:u[0-9A-Fa-f]{0,3})?\Z")


class Doom(Struct, frozen=True):
    """Why no ending helps: a reason as the verdict would name it, and where in the value."""

    code: str
    sentence: str
    path: Path


class _Frame(Struct):
    """A container that is not closed yet."""

    place: Place
    value: Any  # dict or list, as far as it has come
    key: str | None = None  # of the member under way


Finished = Callable[[Any, Place], str | None]
"""Says what is wrong with a finished value at its place, as a reason code; None: nothing."""


class Tracker:
    """One value. `feed` takes its text in any pieces; behind the value's end it takes no notice."""

    def __init__(self, place: Place, finished: Finished, *, declared_only: bool = False) -> None:
        self._place = place  # of the value that is due
        self._finished = finished
        self._declared_only = declared_only
        self._frames: list[_Frame] = []
        self._due = "value"  # value, first (or the container's end), key, colon, next, string, token
        self._token = ""
        self._raw: list[str] = []  # of the string under way
        self._raw_size = 0
        self._looked = 0  # its size when it was last looked at
        self._escaped = False  # the string's last character was a backslash that counts
        self._is_key = False
        self.done = False  # the value is complete, or is not followed any more
        self.value: Any = None
        self.complete = False

    def feed(self, text: str) -> Doom | None:
        """Take more of the text."""
        at, size = 0, len(text)
        while at < size and not self.done:
            if self._due == "string":
                at, doom = self._string(text, at)
            elif self._due == "token":
                end = _TOKEN.match(text, at).end()  # type: ignore[union-attr]  # matches nothing at least
                self._token += text[at:end]
                at = end
                doom = self._ended() if at < size else None
            else:
                at = _BLANKS.match(text, at).end()  # type: ignore[union-attr]
                if at == size:
                    break
                doom = self._mark(text[at])
                at += self._due != "token"
            if doom is not None:
                self.done = True
                return doom
        if self._due == "string" and not self.done:
            return self._partial_key() if self._is_key else self._partial()
        return self._partial_word() if self._due == "token" and not self.done else None

    def _mark(self, mark: str) -> Doom | None:
        """Take one character that is no blank, outside of strings and words."""
        frame = self._frames[-1] if self._frames else None
        listed = frame is not None and isinstance(frame.value, list)
        if frame is not None and self._due in ("next", "first") and mark == ("]" if listed else "}"):
            self._frames.pop()
            return self._finish(frame.value, frame.place)
        if self._due == "colon" and mark == ":":
            self._due = "value"
        elif self._due == "next" and mark == ",":
            self._due = "value" if listed else "key"
        elif self._due == "key" or (self._due == "first" and not listed):
            if mark != '"':
                return self._let_go()
            self._due, self._is_key = "string", True
        elif self._due in ("value", "first"):
            return self._begin(mark, frame if listed else None)
        else:
            return self._let_go()
        return None

    def _begin(self, mark: str, items: _Frame | None) -> Doom | None:
        """A value begins; `items` is the array that it is an item of."""
        kind = _KINDS.get(mark, "number" if mark in "-0123456789" else None)
        if kind is None and mark.isascii() and mark.isalpha():
            self._due, self._token = "token", ""  # no value in JSON; the next look says what it can become
            return None
        if kind is None or len(self._frames) >= MAX_DEPTH:
            return self._let_go()
        if items is not None:
            place = items.place.item(len(items.value))
            if place is None:
                return self._doom("schema.max_items", "The array has more items than the schema allows.")
            self._place = place
        if not self._place.starts(kind):
            return self._doom("schema.type", f"A value of type {kind} begins where the schema wants another type.")
        if kind in ("object", "array"):
            self._frames.append(_Frame(self._place, {} if kind == "object" else []))
            self._due = "first"
        elif kind == "string":
            self._due, self._is_key = "string", False
        else:
            self._due, self._token = "token", ""
        return None

    def _string(self, text: str, at: int) -> tuple[int, Doom | None]:
        if self._escaped:
            self._escaped = False
            self._add(text[at])
            return at + 1, None
        end = _RUN.match(text, at).end()  # type: ignore[union-attr]
        self._add(text[at:end])
        if end == len(text):
            return end, None
        mark = text[end]
        if mark == "\\":
            self._add(mark)
            self._escaped = True
            return end + 1, None
        if mark != '"':  # a raw line break: a liberty
            self._let_go()
            return end + 1, None
        try:
            value = json.loads(f'"{"".join(self._raw)}"')
        except ValueError:
            self._let_go()
            return end + 1, None
        self._raw, self._raw_size, self._looked = [], 0, 0
        return end + 1, self._key(value) if self._is_key else self._finish(value, self._place)

    def _add(self, piece: str) -> None:
        if piece:
            self._raw.append(piece)
            self._raw_size += len(piece)

    def _key(self, key: str) -> Doom | None:
        frame = self._frames[-1]
        frame.key = key
        place = frame.place.member(key, declared_only=self._declared_only and len(self._frames) == 1)
        if place is None:
            return self._doom("schema.additional", "A property begins that the schema does not allow.")
        self._place = place
        self._due = "colon"
        return None

    def _partial_key(self) -> Doom | None:
        """What is known of a property's name that has not ended."""
        place = self._frames[-1].place
        names = place.names(declared_only=self._declared_only and len(self._frames) == 1)
        if names is None or (begun := self._begun_string()) is None or _may_become(begun, names):
            return None
        return self._doom("schema.additional", "A property begins that the schema does not allow.")

    def _partial_word(self) -> Doom | None:
        """What is known of a word without quotes that has not ended: most can become nothing that is a value."""
        word = self._token
        if not word[:1].isalpha() or any(known.startswith(word) for known in _LITERALS) or not self._committed():
            return None
        return self._doom("parse.word", "A word without quotes stands where a value was expected.")

    def _committed(self) -> bool:
        """Whether the outermost container has begun like a value: the tolerant reader does not pass it over."""
        return len(self._frames) > 1 or bool(self._frames and (self._frames[0].value or self._frames[0].key))

    def _begun_string(self) -> str | None:
        """The string under way as far as it has come; None when that cannot be said."""
        try:
            begun = json.loads(f'"{_CUT_ESCAPE.sub("", "".join(self._raw))}"')
        except ValueError:
            return None
        assert isinstance(begun, str)
        return begun

    def _partial(self) -> Doom | None:
        """What is known of a string that has not ended."""
        longest, words = self._place.longest(), self._place.words()
        if longest is None and words is None:
            return None
        bound = longest if longest is not None else max(map(len, words or ("",)))
        if (words is None and self._raw_size <= bound) or self._raw_size * 8 < self._looked * 9:
            return None  # looked at anew only when it has grown by an eighth: the work stays linear
        self._looked = self._raw_size
        if words is not None and self._raw_size > 12 * bound + 64:
            return self._doom("schema.enum", "The string can become none of those that the schema allows.")
        begun = self._begun_string()
        if begun is None:
            return None
        half = "\ud800" <= begun[-1:] <= "\udbff"  # of a pair, whose other half may join it yet
        if longest is not None and len(begun) - half > longest:
            return self._doom("schema.max_length", "The string is longer than the schema allows.")
        if words is not None and not _may_become(begun, words):
            return self._doom("schema.enum", "The string can become none of those that the schema allows.")
        return None

    def _ended(self) -> Doom | None:
        """A word or a number is complete."""
        word, self._token = self._token, ""
        if word in _WORDS:
            return self._finish(_WORDS[word], self._place)
        if not numbers.JSON.fullmatch(word):
            if word[:1].isalpha() and word not in _LITERALS and self._committed():
                return self._doom("parse.word", "A word without quotes stands where a value was expected.")
            return self._let_go()
        try:
            return self._finish(numbers.exact(word), self._place)
        except Broken:
            return self._let_go()

    def _finish(self, value: Any, place: Place) -> Doom | None:
        """A value is complete: hold it against its schema, and put it into its container."""
        code = self._finished(value, place)
        if code is not None:
            return self._doom(code, "A finished value does not fit its schema.")
        if not self._frames:
            self.value, self.complete, self.done = value, True, True
            return None
        frame = self._frames[-1]
        if isinstance(frame.value, dict):
            frame.value[frame.key or ""] = value
        else:
            frame.value.append(value)
        self._due = "next"
        return None

    def _let_go(self) -> Doom | None:
        """Follow the value no further: it is left to the verdict."""
        self.done = True
        return None

    def _doom(self, code: str, sentence: str) -> Doom:
        path: list[str | int] = []
        for frame in self._frames:
            if isinstance(frame.value, list):
                path.append(len(frame.value))
            elif frame.key is not None:
                path.append(frame.key)
        return Doom(code, sentence, tuple(path))


def _may_become(begun: str, words: tuple[str, ...]) -> bool:
    """Whether a string that begins so can become one of the words, in the spelling of the schema or another."""
    start = folded(begun)
    return any(word.startswith(begun) or folded(word).startswith(start) for word in words)
