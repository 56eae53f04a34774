"""Reads one quoted string of loosely written JSON or Python, exactly: what was quoted is what comes out."""

from __future__ import annotations

import re
from collections.abc import Callable

CLOSERS = {'"': '"', "'": "'", "“": "”", "‘": "’", "`": "`"}
"""Opening quote -> closing quote."""

STRUCTURE = ",:]})"
"""What may follow a closing quote (after blanks, or the end of the text)."""

_ESCAPES = {'"': '"', "'": "'", "\\": "\\", "/": "/", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_PLAIN = {quote: re.compile(rf"[^{quote}\\\x00-\x1f]+") for quote in "\"'”’`"}
_HEX = {mark: re.compile(rf"[0-9a-fA-F]{{{digits}}}") for mark, digits in (("x", 2), ("u", 4), ("U", 8))}
_BLANKS = re.compile(r"[ \t\r\n]*")


class Broken(Exception):
    """The text cannot be read as a value; where and why, never with the text itself."""

    def __init__(self, code: str, sentence: str, position: int, *, incomplete: bool = False) -> None:
        super().__init__(sentence)
        self.code = code
        self.sentence = sentence
        self.position = position
        self.incomplete = incomplete


Note = Callable[[str, int], None]
"""Takes a kind of repair and its position."""


def read(text: str, start: int, note: Note, *, python: bool = False) -> tuple[str, int]:
    """The string whose opening quote stands at `start`, and the offset after it. Raises Broken.

    A quote inside is taken as text only where exactly one reading is left: an apostrophe between letters, or a pair
    of quotes around words. Escapes that JSON does not have are refused; Python's hexadecimal ones are read in single
    quotes and, with `python`, in all.
    """
    opening = text[start]
    if opening in "\"'" and text.startswith(opening * 3, start):
        return _tripled(text, start, note)
    if opening == "'":
        note("repaired.single_quotes", start)
    elif opening != '"':
        note("repaired.smart_quotes" if opening != "`" else "repaired.backticks", start)
    quote = CLOSERS[opening]
    plain = _PLAIN[quote]
    parts: list[str] = []
    inner = 0
    at = start + 1
    while at < len(text):
        run = plain.match(text, at)
        if run:
            parts.append(run[0])
            at = run.end()
            continue
        here = text[at]
        if here == quote:
            if _closes(text, at, quote):
                if inner % 2:
                    raise Broken("parse.quote", "A quote inside a string leaves more than one reading.", at)
                return "".join(parts), at + 1
            if not _apostrophe(text, at):
                inner += 1
            note("repaired.quote_in_string", at)
            parts.append(here)
            at += 1
        elif here == "\\":
            piece, at = _escape(text, at, python or opening != '"')
            parts.append(piece)
        else:
            note("repaired.newline_in_string" if here in "\n\r" else "repaired.control_character", at)
            parts.append(here)
            at += 1
    raise Broken("parse.incomplete", "The text ends inside a string.", start, incomplete=True)


def _tripled(text: str, start: int, note: Note) -> tuple[str, int]:
    """A Python string in three quotes. Two quotes before a third that closes nothing are an empty string instead."""
    quote = text[start]
    note("repaired.triple_quotes", start)
    parts: list[str] = []
    at = start + 3
    while at < len(text):
        if text.startswith(quote * 3, at):
            return "".join(parts), at + 3
        if text[at] == "\\":
            piece, at = _escape(text, at, True)
            parts.append(piece)
            continue
        run = _PLAIN[quote].match(text, at)
        end = run.end() if run else at + 1
        parts.append(text[at:end])
        at = end
    raise Broken("parse.incomplete", "The text ends inside a string.", start, incomplete=True)


def _closes(text: str, at: int, quote: str) -> bool:
    """Whether the quote at `at` ends its string: structure follows, or nothing that could belong to the string."""
    after = _BLANKS.match(text, at + 1)
    end = after.end() if after else at + 1
    if end >= len(text) or text[end] in STRUCTURE:
        return True
    if "\n" in text[at + 1 : end]:
        return True
    # A word right behind a quote cannot stand outside a string; anything else is for the caller to judge.
    return not (text[end].isalnum() or text[end] in "_$€£-.;?!" or text[end] == "(")


def _apostrophe(text: str, at: int) -> bool:
    return text[at] in "'’" and text[at - 1].isalpha() and text[at + 1 : at + 2].isalpha()


def _escape(text: str, at: int, python: bool) -> tuple[str, int]:
    """The character an escape at `at` stands for, and the offset after it."""
    mark = text[at + 1 : at + 2]
    if not mark:
        raise Broken("parse.incomplete", "The text ends inside an escape.", at, incomplete=True)
    if mark in _ESCAPES:
        return _ESCAPES[mark], at + 2
    digits = _HEX.get(mark)
    if digits is None or (mark != "u" and not python):
        raise Broken("parse.escape", "A backslash stands before a character that JSON does not escape.", at)
    found = digits.match(text, at + 2)
    if found is None:
        cut = text[at + 2 :].isalnum() and len(text) - at < 10
        raise Broken("parse.escape", "An escape lacks its hexadecimal digits.", at, incomplete=cut)
    code = int(found[0], 16)
    end = found.end()
    if mark == "u" and 0xD800 <= code < 0xDC00 and text.startswith("\\u", end):
        low = digits.match(text, end + 2)
        if low and 0xDC00 <= int(low[0], 16) < 0xE000:
            return chr(0x10000 + ((code - 0xD800) << 10) + int(low[0], 16) - 0xDC00), low.end()
    if code > 0x10FFFF:
        raise Broken("parse.escape", "An escape names no character.", at)
    return chr(code), end
