"""Finds every value in a text: inside fences, tags and prose, never inside the model's thoughts or another value."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from msgspec import Struct

from cheapfirst.checks import strict
from cheapfirst.checks.repair import Reader
from cheapfirst.checks.strings import Broken
from cheapfirst.messages import Step

EFFORT = 6
"""Characters read for each character of text before the search gives up: the time stays linear."""

THOUGHTS = "think|thinking|thought|thoughts|reasoning|reflection|scratchpad"
CALL_TAGS = "tool_call|tool_calls|tool_use|function_call|function_calls|functioncall|tools"

_MARK = re.compile(
    rf"</?(?P<think>{THOUGHTS})\b[^<>\n]*>"
    rf"|(?P<tag></?(?:{CALL_TAGS})\b[^<>\n]*>|\[/?(?:TOOL_CALLS|TOOL_CALL)\]|<\|(?:tool_call|python_tag)\|>)"
    r"|(?P<fence>```+|~~~+)[\w+-]*|(?P<open>[\[{])|(?P<close>[\]}])",
    re.IGNORECASE,
)
_CONTINUES = re.compile(r"\s*,\s*[\"'\d{\[]")
_KEY_BEFORE = re.compile(r"[\"'”’]\s*:\s*\Z")


class Candidate(Struct, frozen=True):
    """A value found in the text, where, and how it was read."""

    value: Any
    start: int
    end: int
    trail: tuple[Step, ...]
    fenced: bool = False
    tagged: bool = False


class Found(Struct, frozen=True):
    """What a search found: the values in order, and the surroundings that were passed over."""

    candidates: tuple[Candidate, ...]
    thoughts: bool = False
    stray: int | None = None  # offset of the first closing bracket that closes nothing


Names = Callable[[str, int], re.Match[str] | None]
"""Searches from an offset for a call of a declared tool."""

Matters = Callable[[int, int], bool]
"""Whether a stretch of unreadable text, from where it begins and broke, may hold a part of the answer."""


def read(text: str, at: int, *, calls: bool = False) -> tuple[Any, int, tuple[Step, ...]]:
    """The value that begins at `at`, the offset behind it, and the repairs: none where it is JSON. Raises Broken."""
    try:
        exact = strict.read(text, at)
    except Broken as broken:
        if broken.code == "parse.too_deep":
            raise
        exact = None  # the loose reader meets the same number, and knows where
    if exact is not None and not exact.duplicates:
        return exact.value, exact.end, ()
    reader = Reader(text, calls=calls)
    value, end = reader.value(at)
    return value, end, reader.trail()


def search(text: str, *, names: Names | None = None, matters: Matters | None = None) -> Found:
    """Every value in `text`. With `names`, calls of those tools too, as `Called`.

    Raises Broken when something that must be a value cannot be read: reading on behind it would drop it. Without
    `matters` any begun value does matter.
    """
    found: list[Candidate] = []
    at, effort, skipped, fenced, tagged, thoughts = 0, 0, 0, False, False, False
    stray: int | None = None
    mark = _MARK.search(text)
    named = names(text, 0) if names is not None else None
    while True:
        # Only what was passed over is searched for anew: the search stays linear.
        if mark is not None and mark.start() < at:
            mark = _MARK.search(text, at)
        if names is not None and named is not None and named.start() < at:
            named = names(text, at)
        start = mark.start() if mark else len(text)
        if named is not None and named.start() < start:
            start = named.start()
            reader = Reader(text, calls=True)
            call, end = reader.call(start)
            found.append(Candidate(call, start, end, reader.trail(), fenced, tagged))
            at = end
            continue
        if mark is None:
            return Found(tuple(found), thoughts, stray)
        at = mark.end()
        if mark["think"]:
            thoughts = True
            if mark[0].startswith("</"):
                found.clear()  # the opening tag stood in the prompt: all before was thought
                continue
            closing = re.compile(rf"</{mark['think']}\s*>", re.IGNORECASE).search(text, at)
            if closing is None:
                raise Broken("parse.incomplete", "The text ends inside the model's thoughts.", start, incomplete=True)
            at = closing.end()
        elif mark["tag"]:
            tagged = not mark[0].startswith(("</", "[/"))
        elif mark["fence"]:
            fenced = not fenced
        elif mark["close"]:
            skipped -= 1
            if skipped < 0 and stray is None:
                stray = start
        else:
            try:
                value, end, trail = read(text, start, calls=names is not None)
            except Broken as broken:
                reached = len(text) if broken.incomplete else max(broken.position, start + 1)
                effort += reached - start + start // 32  # the standard reader counts the lines before an error
                if _fatal(text, start, broken, matters):
                    raise
                if effort > EFFORT * len(text) + 10_000:
                    raise Broken(
                        "parse.too_hard", "Too many brackets open without a value behind them.", start
                    ) from None
                skipped += 1
                continue
            if skipped > 0 and matters is None:
                raise Broken("parse.nested", "The value stands inside brackets that cannot be read.", start)
            found.append(Candidate(value, start, end, trail, fenced, tagged))
            at = end


def _fatal(text: str, start: int, broken: Broken, matters: Matters | None) -> bool:
    """Whether what cannot be read at `start` may be the answer, so that nothing behind it may be taken instead."""
    if matters is None:
        return broken.incomplete or broken.code in ("parse.too_deep", "parse.elided") or _begun(text, start)
    return matters(start, len(text) if broken.incomplete else max(broken.position, start))


_BEGUN = re.compile(
    r"\{\s*(?:\Z|[\"'“‘]|[A-Za-z_$][\w$-]*\s*:|//|/\*|#)"
    r"|\[\s*(?:\Z|[\"'“‘{\[(]|-?\d[\d.eE+-]*\s*(?:\Z|[,\]])|(?:true|false|null|True|False|None)\b|//|/\*)"
)


def _begun(text: str, start: int) -> bool:
    """Whether the bracket opens a value rather than a remark: what stands behind it could begin a member."""
    return _BEGUN.match(text, start) is not None


def fragment(text: str, one: Candidate) -> bool:
    """Whether more of the same value stands beside a candidate: a key before it, or a member behind it."""
    return bool(_KEY_BEFORE.search(text, max(0, one.start - 20), one.start) or _CONTINUES.match(text, one.end))
