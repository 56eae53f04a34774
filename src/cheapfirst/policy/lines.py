"""Finds the line of a key in TOML text, because the standard parser does not tell."""

from __future__ import annotations

import re
from collections.abc import Iterator

Key = tuple[str, ...]

_PART = re.compile(r"""\s*(?:([A-Za-z0-9_-]+)|"((?:[^"\\\n]|\\.)*)"|'([^'\n]*)')\s*""")
_CLOSERS = {'"""': re.compile(r'(?:\\.|[^\\])*?"{3,5}', re.DOTALL), "'''": re.compile(r".*?'{3,5}", re.DOTALL)}
_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'')


def find(text: str) -> dict[Key, int]:
    """Line number (from 1) of every table header and key in valid TOML. Keys inside inline tables are left out.

    The first `[[name]]` is ("name", "[0]"), the next ("name", "[1]").
    """
    found: dict[Key, int] = {}
    counts: dict[Key, int] = {}
    table: Key = ()
    for start, statement in _statements(text):
        line = text.count("\n", 0, start) + 1
        header = statement.startswith("[")
        key = _key(statement.lstrip("["))
        if statement.startswith("[["):
            counts[key] = counts.get(key, -1) + 1
            table = (*key, f"[{counts[key]}]")
        elif header:
            table = key
        path = table if header else table + key
        for length in range(1, len(path) + 1):
            found.setdefault(path[:length], line)
        if header:  # a table may be opened first by a deeper one
            found[path] = line
    return found


def line_of(lines: dict[Key, int], path: Key) -> int | None:
    """The line of that key, or of the nearest thing around it that has one; None when nothing has."""
    for length in range(len(path), 0, -1):
        if path[:length] in lines:
            return lines[path[:length]]
    return None


def _key(statement: str) -> Key:
    parts: list[str] = []
    position = 0
    while (match := _PART.match(statement, position)) is not None:
        bare, double, single = match.groups()
        parts.append(next(part for part in (bare, double, single) if part is not None))
        position = match.end()
        if statement[position : position + 1] != ".":
            break
        position += 1
    return tuple(parts)


def _statements(text: str) -> Iterator[tuple[int, str]]:
    """Each `key = ...` and `[table]` with its offset: lines outside of multi-line strings, arrays and comments."""
    position = 0
    while position < len(text):
        if text[position] in " \t\r\n":
            position += 1
        elif text[position] == "#":
            position = _line_end(text, position)
        else:
            end = _statement_end(text, position)
            yield position, text[position:end]
            position = end


def _statement_end(text: str, position: int) -> int:
    depth = 0
    while position < len(text):
        character = text[position]
        if text[position : position + 3] in _CLOSERS:
            closed = _CLOSERS[text[position : position + 3]].match(text, position + 3)
            position = closed.end() if closed else len(text)
        elif character in "\"'":
            string = _STRING.match(text, position)
            position = string.end() if string else position + 1
        elif character == "#":
            position = _line_end(text, position)
        elif character == "\n" and depth <= 0:
            return position
        else:
            depth += (character in "[{") - (character in "]}")
            position += 1
    return position


def _line_end(text: str, position: int) -> int:
    end = text.find("\n", position)
    return len(text) if end < 0 else end
