"""Reads the rows of exported logs, JSON Lines, JSON and CSV, without holding a whole file in memory."""

from __future__ import annotations

import csv
import gzip
import io
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from cheapfirst.errors import LedgerError
from cheapfirst.ledger.importing.cells import DECODE
from cheapfirst.ledger.importing.entry import Row

LONGEST = 64 * 2**20
"""Bytes of one row, and of a JSON document that is neither a list nor lines; a longer one is not read."""

CHUNK = 2**18  # bytes of a JSON list read at once

PAGES = ("data", "logs", "observations", "results")
"""Where the pages of an API have their rows."""

_SIGNS = re.compile(rb'["{}\[\],]')
_TEXT = re.compile(rb'(?:[^"\\]|\\.)*"', re.DOTALL)


def rows(path: Path) -> Iterator[tuple[int, Row | str]]:
    """Yield each row with the number of the line that it begins in; text instead of a row: why it cannot be read.

    `.gz` files are unpacked on the way. Raises LedgerError when the file cannot be read at all.
    """
    try:
        with _open(path) as file:
            yield from _form(path, file)
    except (OSError, EOFError, gzip.BadGzipFile) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise LedgerError(f"{path} cannot be read: {why}. Rows up to there are in.") from error


def _open(path: Path) -> IO[bytes]:
    return cast(IO[bytes], gzip.open(path, "rb")) if path.suffix == ".gz" else path.open("rb")


def _form(path: Path, file: IO[bytes]) -> Iterator[tuple[int, Row | str]]:
    """The file's form: by its name where that says it, else by how it begins."""
    suffix = (path.with_suffix("") if path.suffix == ".gz" else path).suffix.lower()
    first = second = b""
    while not first and (line := file.readline(LONGEST)):
        first = line.removeprefix(b"\xef\xbb\xbf").strip()
    while not second and (line := file.readline(LONGEST)):
        second = line.rstrip()
    file.seek(0)
    if suffix == ".csv" or (suffix not in (".jsonl", ".ndjson", ".json") and first[:1] not in (b"{", b"[")):
        return _csv(file)
    if suffix in (".jsonl", ".ndjson"):
        return _lines(file)
    if first[:1] == b"[":
        return _list(file)
    # A document over several lines begins with a line that is no object, and goes on indented.
    return _lines(file) if second[:1] == b"{" else _document(file)


def _lines(file: IO[bytes]) -> Iterator[tuple[int, Row | str]]:
    number = 0
    while line := file.readline(LONGEST):
        number += 1
        if len(line) == LONGEST and not line.endswith(b"\n"):
            while (rest := file.readline(LONGEST)) and not rest.endswith(b"\n"):
                pass
            yield number, f"the line is longer than {LONGEST // 2**20} MB"
            continue
        line = line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line
        if line.strip():
            yield number, _object(line)


def _document(file: IO[bytes]) -> Iterator[tuple[int, Row | str]]:
    text = file.read(LONGEST + 1)
    if len(text) > LONGEST:
        yield 1, f"a JSON document longer than {LONGEST // 2**20} MB; give its rows as a list, or one a line"
        return
    if not text.strip():
        return
    found = _object(text.removeprefix(b"\xef\xbb\xbf"))
    if isinstance(found, dict):
        for name in PAGES:
            if isinstance(found.get(name), list):
                for row in found[name]:
                    yield 1, row if isinstance(row, dict) else "not a JSON object"
                return
    yield 1, found


def _list(file: IO[bytes]) -> Iterator[tuple[int, Row | str]]:
    """The elements of a JSON list. One that is not JSON costs itself only, as long as its brackets and quotes close."""
    held, at, line = b"", 0, 1  # what is read and not done, how far it is scanned, the line that it begins in
    depth, begin = 0, 0  # open brackets; where the element begins in `held`
    while more := file.read(max(CHUNK, len(held))):
        held += more
        while found := _SIGNS.search(held, at):
            sign, end = found[0], found.end()
            if sign == b'"':
                closed = _TEXT.match(held, end)
                if closed is None:
                    break  # the text goes on in the next chunk
                at = closed.end()
                continue
            at = end
            depth += (sign in b"{[") - (sign in b"}]")
            if (depth == 1 and sign == b",") or depth == 0:
                yield from _element(held[begin : found.start()], line + held.count(b"\n", 0, begin))
            if depth <= 1 and sign in b",[":
                begin = end
            if depth == 0:
                if held[end:].strip() or file.read(CHUNK).strip():
                    yield line + held.count(b"\n", 0, end), "the list ends before the file does: the rest is not read"
                return
        else:
            at = len(held)
        if len(held) - begin > LONGEST:
            yield line + held.count(b"\n", 0, begin), f"an element is longer than {LONGEST // 2**20} MB, or never ends"
            return
        line += held.count(b"\n", 0, begin)
        held, at, begin = held[begin:], at - begin, 0
    if depth == 1:
        yield from _element(held, line)
    yield line, "the list ends in the middle: what follows is not read"


def _element(text: bytes, line: int) -> Iterator[tuple[int, Row | str]]:
    if text.strip():
        yield line + text.count(b"\n", 0, len(text) - len(text.lstrip())), _object(text)


def _csv(file: IO[bytes]) -> Iterator[tuple[int, Row | str]]:
    limit = csv.field_size_limit(min(LONGEST, sys.maxsize))
    try:
        reader = csv.reader(io.TextIOWrapper(file, encoding="utf-8-sig", errors="replace", newline=""))
        names = next(reader, None)
        while names is not None:
            begin = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                return
            except csv.Error as error:
                yield begin, f"not CSV: {error}"
                continue
            if len(cells) == len(names):
                yield begin, dict(zip(names, cells, strict=True))
            elif cells:
                yield begin, f"{len(cells)} cells under {len(names)} columns"
    finally:
        csv.field_size_limit(limit)


def _object(text: bytes) -> Row | str:
    found = _decoded(text)
    if isinstance(found, dict):
        return found
    return found if isinstance(found, str) else "not a JSON object"


def _decoded(text: bytes) -> Any:
    """The value; text says why it is not JSON (a JSON text itself is no row, so the two cannot be confused)."""
    try:
        value = DECODE.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        return f"not JSON: {error}"
    except RecursionError:
        return "too many values stand inside each other"
    return None if isinstance(value, str) else value
