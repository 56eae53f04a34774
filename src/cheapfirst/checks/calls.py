"""Reads the tool calls of an answer: from the message's `tool_calls`, or from text when the model wrote them there."""

from __future__ import annotations

import re
from collections.abc import Collection
from functools import lru_cache
from typing import Any

from msgspec import Struct

from cheapfirst.checks import align as alignment
from cheapfirst.checks import candidates, shapes
from cheapfirst.checks.candidates import Candidate
from cheapfirst.checks.parse import Parsed, Unparsed, parse
from cheapfirst.checks.shapes import Call, Shapes, Tools
from cheapfirst.checks.strings import Broken
from cheapfirst.messages import Step

_NESTED = 3
"""How often a call may stand as text inside text."""

_TURN_ENDS = re.compile(r"<\|im_end\|>|<\|eot_id\|>|<\|endoftext\|>|</s>|^[ \t]*#{2,3} ?Instructions?:", re.M)
"""Where a model runs past the end of its answer into a turn it makes up."""

_BETWEEN = re.compile(r"[\s,;`*-]*(?:\d+[.)][\s`]*)?")
_MARKDOWN = re.compile(r"\\([_*\[\]{}#])")


class _Block(Struct):
    """Calls that stand together, with nothing but separators between them."""

    calls: list[Call]
    start: int
    end: int


def read(
    message: dict[str, Any], tools: list[dict[str, Any]], *, align: Collection[str] | None = None
) -> Parsed | Unparsed:
    """The calls in an assistant's message as `[{"name": ..., "arguments": {...}}, ...]`. Never raises.

    `tools` are the declarations of the request; `align` as in `parse.parse`. Names come back as declared. The
    arguments are aligned to the tool's parameters but not judged by them.
    """
    known = shapes.declared(tools)
    try:
        calls, trail = _structured(message, known) or _written(_content(message), known)
    except Broken as broken:
        return Unparsed(broken.code, broken.sentence, broken.position, broken.incomplete)
    except RecursionError:
        return Unparsed("parse.too_deep", "Too many containers stand inside each other.")
    aligned: list[Call] = []
    for place, call in enumerate(calls):
        arguments, steps = alignment.align(call["arguments"], known.parameters[call["name"]], align)
        aligned.append({"name": call["name"], "arguments": arguments})
        trail += [Step(kind=one.kind, note=one.note, path=(place, "arguments", *one.path)) for one in steps]
    return Parsed(aligned, tuple(trail))


def _content(message: dict[str, Any]) -> str:
    content = message.get("content")
    if isinstance(content, list):
        texts = [part.get("text") for part in content if isinstance(part, dict)]
        return "".join(text for text in texts if isinstance(text, str))
    return content if isinstance(content, str) else ""


def _structured(message: dict[str, Any], known: Tools) -> tuple[list[Call], list[Step]] | None:
    """The calls that the wire itself carries; None when it carries none."""
    wired = message.get("tool_calls") or ([{"function": one}] if (one := message.get("function_call")) else [])
    calls: list[Call] = []
    trail: list[Step] = []
    for place, call in enumerate(wired):
        function = call.get("function") if isinstance(call, dict) else None
        function = function if isinstance(function, dict) else {}
        name = known.name(function.get("name"))
        if name is None:
            raise Broken("calls.unknown_tool", "A tool is called that the request does not declare.", place)
        arguments, steps = _arguments(function.get("arguments"))
        calls.append({"name": name, "arguments": arguments})
        trail += [Step(kind=one.kind, note=one.note, path=(place, "arguments"), position=one.position) for one in steps]
    return (calls, trail) if calls else None


def _arguments(written: Any) -> tuple[dict[str, Any], tuple[Step, ...]]:
    if written is None or (isinstance(written, str) and not written.strip()):
        return {}, (Step(kind="call.no_arguments"),)
    if isinstance(written, dict):
        return written, (Step(kind="strict"),)
    result = parse(written) if isinstance(written, str) else Unparsed("calls.arguments", "Arguments are no text.")
    if isinstance(result, Parsed) and isinstance(result.value, str):
        result = parse(result.value)  # encoded twice
    if isinstance(result, Unparsed):
        raise Broken(result.code, result.sentence, result.position or 0, incomplete=result.incomplete)
    if not isinstance(result.value, dict) or any(step.kind == "duplicate_key" for step in result.trail):
        raise Broken("calls.arguments", "The arguments of a call are no object of different members.", 0)
    return result.value, result.trail


def _written(text: str, known: Tools, depth: int = 0) -> tuple[list[Call], list[Step]]:
    """The calls that stand in a text. Raises Broken when there is none, or more than one reading."""
    if depth >= _NESTED or not known.parameters:
        raise Broken("calls.none", "The answer holds no call of a declared tool.", 0)
    end = _TURN_ENDS.search(text)
    steps = [Step(kind="turn", position=end.start())] if end and text[: end.start()].strip() else []
    text = text[: end.start()] if end and steps else text
    pattern = _pattern(tuple(known.parameters))
    if _MARKDOWN.search(text) and not pattern.search(text) and pattern.search(_MARKDOWN.sub(r"\1", text)):
        text = _MARKDOWN.sub(r"\1", text)
        steps.append(Step(kind="repaired.markdown"))
    shaped = Shapes(known, lambda inner: _written(inner, known, depth + 1)[0])
    words = _mentions(tuple(known.parameters))
    found = candidates.search(text, names=pattern.search, matters=lambda part: words.search(part) is not None)
    blocks: list[_Block] = []
    used: list[Candidate] = []
    for one in found.candidates:
        calls = shaped.calls(one.value, one.start)
        if not calls:
            continue
        used.append(one)
        if blocks and _BETWEEN.fullmatch(text, blocks[-1].end, one.start):
            blocks[-1].calls += calls
            blocks[-1].end = one.end
        else:
            blocks.append(_Block(calls, one.start, one.end))
    if not blocks:
        raise Broken("calls.none", "The answer holds no call of a declared tool.", 0)
    kinds = {
        "think": found.thoughts,
        "unfenced": any(one.fenced for one in used),
        "tool_call": any(one.tagged for one in used),
        "prose": len(text[: used[0].start].split()) > 0 or len(text[used[-1].end :].split()) > 0,
    }
    steps += [Step(kind=kind, position=used[0].start) for kind, there in kinds.items() if there]
    steps += [step for one in used for step in one.trail]
    steps += [Step(kind=kind, position=place) for kind, place in shaped.notes.items()]
    return _one(blocks), [Step(kind="call.text"), *{step.kind: step for step in reversed(steps)}.values()]


def _one(blocks: list[_Block]) -> list[Call]:
    """The calls of the one reading that several blocks leave. Raises Broken when they leave more."""
    distinct = list({repr(block.calls): block for block in reversed(blocks)}.values())[::-1]
    if len(distinct) == 1:
        return distinct[0].calls
    *earlier, last = distinct
    joined = [call for block in earlier for call in block.calls]
    if joined == last.calls:
        return joined
    raise Broken("calls.ambiguous", "The answer holds several calls, and nothing says which are meant.", last.start)


@lru_cache(maxsize=256)
def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    """Where one of these tools is called: its name, with dots or underscores, and an opening bracket."""
    prefixes = "|".join(map(re.escape, shapes.NAMESPACES))
    return re.compile(rf"(?<![\w.])(?<!def )(?P<name>(?:{prefixes})?(?:{_spellings(names)}))\s*(?:\(|\n\s*\{{)")


@lru_cache(maxsize=256)
def _mentions(names: tuple[str, ...]) -> re.Pattern[str]:
    """Where one of these tools is named as in a call or an object."""
    return re.compile(rf"(?<![\w])(?:{_spellings(names)})\s*[\"'(`\\]")


def _spellings(names: tuple[str, ...]) -> str:
    longest_first = sorted({name for one in names for name in (one, one.replace(".", "_"))}, key=len, reverse=True)
    return "|".join(re.sub(r"_|\\\.", "[._]", re.escape(name)) for name in longest_first)
