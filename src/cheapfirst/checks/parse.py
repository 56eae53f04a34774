"""Reads a JSON value out of an answer's text, from strict to repaired, and says in a trail how it was read.

Never completes a cut-off answer, and never invents, drops or changes a value: where the text has two readings it
refuses and says where.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from msgspec import Struct

from cheapfirst.checks import align as alignment
from cheapfirst.checks import candidates, strict
from cheapfirst.checks.candidates import CALL_TAGS, THOUGHTS, Candidate, Found
from cheapfirst.checks.repair import Reader
from cheapfirst.checks.schema import Schema
from cheapfirst.checks.strings import CLOSERS, Broken
from cheapfirst.messages import Step


class Parsed(Struct, frozen=True):
    """A value that the text holds, and the steps by which it was read (always at least one)."""

    value: Any
    trail: tuple[Step, ...]


class Unparsed(Struct, frozen=True):
    """Why no value was read: a machine-readable code, a sentence without the text, and where (characters)."""

    code: str
    sentence: str
    position: int | None = None
    incomplete: bool = False  # the text ends inside its value: more room may mend it


BOM = "\ufeff"
_FENCE = re.compile(r"(`{3,}|~{3,})[\w+-]*[ \t]*\r?\n?")
_TAG = re.compile(rf"<(?:{CALL_TAGS})\b[^<>\n]*>", re.I)
_END_TAG = re.compile(rf"</(?:{CALL_TAGS})>\Z", re.I)
_THOUGHT = re.compile(rf"\s*<(?P<tag>{THOUGHTS})\b[^<>\n]*>", re.I)
_MARKUP = re.compile(rf"(?:```+|~~~+)[\w+-]*|</?(?:{THOUGHTS}|{CALL_TAGS})\b[^<>\n]*>|\[/?TOOL_CALLS?\]", re.I)


def parse(
    text: str,
    schema: dict[str, Any] | None = None,
    *,
    align: Collection[str] | None = None,
    ready: Schema | None = None,
) -> Parsed | Unparsed:
    """Read the one JSON value that `text` holds; with a schema, choose and align by it. Never raises.

    `ready` is the schema ready for use, where there is one. `align` names the alignments allowed (see
    `policy.checks.ALIGNMENTS`); None allows all, an empty one none. A text that is JSON as it stands means what any
    JSON reader says: of a key that stands twice the last member counts, and the trail says so. Everywhere else such a
    key is refused.
    """
    try:
        value, trail = _exact(text) or _whole(text) or _chosen(text, schema, align)
    except Broken as broken:
        return Unparsed(broken.code, broken.sentence, broken.position, broken.incomplete)
    if schema is None:
        return Parsed(value, trail)
    aligned, steps = alignment.align(value, schema, align, ready=ready)
    return Parsed(aligned, trail + steps)


def _exact(text: str) -> tuple[Any, tuple[Step, ...]] | None:
    """The text as JSON and nothing else, but for a byte order mark."""
    body = text.removeprefix(BOM)
    start = len(body) - len(body.lstrip(" \t\r\n"))
    try:
        found = strict.read(body, start)
    except Broken as broken:
        if broken.code == "parse.too_deep":
            raise
        return None
    if found is None or body[found.end :].strip(" \t\r\n"):
        return None
    trail = (Step(kind="strict"), *([Step(kind="bom", position=0)] if body is not text else []))
    return found.value, (*trail, Step(kind="duplicate_key")) if found.duplicates else trail


def _whole(text: str) -> tuple[Any, tuple[Step, ...]] | None:
    """A value that is the whole text but for its wrapping; the only way in which a value without brackets is read."""
    body, steps = _unwrapped(text)
    if not body or body[0] in "{[<":
        return None
    offset = text.rfind(body)
    try:
        value, end, repairs = candidates.read(text[: offset + len(body)], offset)
        reader = Reader(text[: offset + len(body)])
        rest = reader.skip(end)
    except Broken as broken:
        if body[0] in "\"“'" and (broken.incomplete or body[-1] == CLOSERS[body[0]]):
            raise
        return None
    if rest < offset + len(body) or (body[0] == "(" and isinstance(value, list) and not value):
        return None
    trail = (*steps, *repairs, *reader.trail())
    return value, trail or (Step(kind="strict"),)


def _unwrapped(text: str) -> tuple[str, tuple[Step, ...]]:
    """The text without the thoughts before it and the fence and tags around it."""
    steps: list[Step] = []
    if text.startswith(BOM):
        steps.append(Step(kind="bom", position=0))
    body = text.removeprefix(BOM).strip()
    thought = _THOUGHT.match(body)
    if thought:
        steps.append(Step(kind="think"))
        _, _, body = body.partition(f"</{thought['tag']}>")
    for _ in range(2):
        fence, tag, end = _FENCE.match(body), _TAG.match(body), _END_TAG.search(body, max(0, len(body) - 20))
        if fence and body.endswith(fence[1][:3]) and len(body) >= fence.end() + 3:
            steps.append(Step(kind="unfenced"))
            body = body[fence.end() :].rstrip(fence[1][0]).strip()
        elif tag and end:
            steps.append(Step(kind="tool_call"))
            body = body[tag.end() : end.start()].strip()
    return body.strip(), tuple(steps)


def _chosen(text: str, schema: dict[str, Any] | None, allowed: Collection[str] | None) -> tuple[Any, tuple[Step, ...]]:
    """The one value among those in the text, by the schema where there are several. Raises Broken."""
    found = candidates.search(text)
    if not found.candidates:
        raise Broken("parse.none", "The text holds no JSON value.", 0)
    if found.stray is not None and not _alone(text, found):
        raise Broken("parse.unbalanced", "A closing bracket closes nothing.", found.stray)
    options = _distinct(found.candidates)
    if schema is not None:
        options = [_opened(one, schema, allowed) for one in options]
    if len(options) > 1 and schema is not None:
        options = [one for one in options if alignment.fits(alignment.align(one.value, schema, allowed)[0], schema)]
    if len(options) != 1:
        place = (options or found.candidates)[-1].start
        raise Broken("parse.ambiguous", "The text holds several values, and nothing says which one is meant.", place)
    one = options[0]
    if candidates.fragment(text, one):
        raise Broken("parse.fragment", "More of the same value stands beside it.", one.end)
    return one.value, (*_surroundings(text, found, one), *one.trail)


def _alone(text: str, found: Found) -> bool:
    """Whether a value opens the text and only closing brackets follow: then one bracket was written too many."""
    first = found.candidates[0]
    before, after = _MARKUP.sub("", text[: first.start]), _MARKUP.sub("", text[first.end :])
    return len(found.candidates) == 1 and not before.strip(f"{BOM} \t\r\n") and not after.strip("]} \t\r\n")


def _distinct(found: Sequence[Candidate]) -> list[Candidate]:
    """The candidates without repetitions of the same value; a container's spelling decides, so 1 is not 1.0."""
    return list({repr(one.value): one for one in reversed(found)}.values())[::-1]


def _opened(one: Candidate, schema: dict[str, Any], allowed: Collection[str] | None) -> Candidate:
    """The arguments of a call written out as text, where the schema describes them and not the call."""
    value = one.value
    if not (isinstance(value, dict) and isinstance(value.get("name"), str)):
        return one
    if len(value) != 2 or alignment.fits(alignment.align(value, schema, allowed)[0], schema):
        return one
    inner = value.get("arguments", value.get("parameters"))
    if not isinstance(inner, dict) or not alignment.fits(alignment.align(inner, schema, allowed)[0], schema):
        return one
    return Candidate(inner, one.start, one.end, (Step(kind="arguments", position=one.start), *one.trail))


def _surroundings(text: str, found: Found, one: Candidate) -> tuple[Step, ...]:
    """What was passed over to reach the value."""
    outside = _MARKUP.sub("", text[: one.start] + text[one.end :])
    kinds = {
        "bom": text.startswith(BOM),
        "think": found.thoughts,
        "unfenced": one.fenced,
        "tool_call": one.tagged,
        "prose": not found.thoughts and bool(outside.strip(BOM + " \t\r\n]}")),
        "candidate": len(found.candidates) > 1,
        "repaired.extra_bracket": found.stray is not None,
    }
    return tuple(Step(kind=kind, position=one.start) for kind, there in kinds.items() if there)
