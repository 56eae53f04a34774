"""Reads the tool calls of an answer: from the message's `tool_calls`, or from text when the model wrote them there."""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Callable, Collection
from functools import lru_cache
from itertools import pairwise
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

_TURN_ENDS = re.compile(
    r"<\|im_end\|>|<\|eot_id\|>|<\|endoftext\|>|</s>|^[ \t]*#{2,3} ?(?:Instruction|Response)s?\b"
    r"|^(?:user|User|USER|Human|assistant)(?: \d+)?(?::|[ \t]*$)",
    re.M,
)
"""Where a model runs past the end of its answer into a turn it makes up."""

_BETWEEN = re.compile(
    r"[\s,;`*)\]-]+|(?<=\n)\d+[.)](?=\s)|</?tool_calls?>|#[^\n]*|print\((?:\w+\))?|[A-Za-z_]\w*\s*=(?=\s*[A-Za-z_])"
)
"""A piece of what may stand between two calls of one block: separators, tags, comments, the rest of an assignment or
print."""

_OWN_LINE = re.compile(r"[\s>*`\[-]*+(?:\d+[.)]\s*+)?+`*+(?:[A-Za-z_]\w*+\s*+=\s*+)?+(?:print\()?+`*+\Z")
"""What stands before a call on its line where the line is the call's own."""

_ALTERNATIVE = re.compile(
    r"\b(?:or|alternatively|instead|correct|corrected|correction|modif\w+|should|another|however|rather|revised|updated|"
    r"fixed|improved|better|apolog\w+|sorry|wrong|mistake|incorrect|same|equivalent|again|e\.g|example|if|would|could|might|else|otherwise)\b",
    re.IGNORECASE,
)
"""Words between two blocks that may make the later one a second try instead of a second call."""

_UNREAL = re.compile(
    r"\b(?:not possible to|impossible to|cannot|can't|could not|unable to) (?:make|call|invoke)\b"
    r"|\bif [^.\n]{0,60}\b(?:was|were|is|are|had been) (?:provided|known|given|available)\b"
    r"|\bplease (?:provide|specify)\b",
    re.IGNORECASE,
)
"""Words that say that a call is not made, but shown as it would be."""
_MARKDOWN = re.compile(r"\\([_*\[\]{}#])")


class _Block(Struct):
    """Calls that stand together, with nothing but separators between them."""

    calls: list[Call]
    start: int
    end: int


def read(
    message: dict[str, Any],
    tools: list[dict[str, Any]],
    *,
    align: Collection[str] | None = None,
    source: str | None = None,
) -> Parsed | Unparsed:
    """The calls in an assistant's message as `[{"name": ..., "arguments": {...}}, ...]`. Never raises.

    `tools` are the declarations of the request; `align` as in `parse.parse`. Names come back as declared. The
    arguments are aligned to the tool's parameters but not judged by them. A name without quotes that the request's
    own text, `source`, hands over is that name.
    """
    known = shapes.declared(tools, source)
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
    if _MARKDOWN.search(text) and len(pattern.findall(plain := _MARKDOWN.sub(r"\1", text))) > len(
        pattern.findall(text)
    ):
        text = plain
        steps.append(Step(kind="repaired.markdown"))
    shaped = Shapes(known, lambda inner: _inside(inner, known, depth + 1))
    found = candidates.search(text, names=pattern.search, matters=_mentioned(text, known))
    blocks: list[_Block] = []
    used: list[Candidate] = []
    for one in found.candidates:
        shaped.unquoted = shaped.unquoted or shapes.writes_words(one.value)
        calls = shaped.calls(one.value, one.start)
        if not calls:
            if one.tagged and isinstance(one.value, dict):
                raise Broken("calls.unknown_tool", "A call stands in tags, but names no declared tool.", one.start)
            continue
        used.append(one)
        if blocks and _joined(text, blocks[-1].end, one.start):
            if any(call in blocks[-1].calls for call in calls):
                raise Broken("calls.repeated", "The answer repeats a call, as in a loop.", one.start)
            blocks[-1].calls += calls
            blocks[-1].end = one.end
        else:
            blocks.append(_Block(calls, one.start, one.end))
    if not blocks:
        raise Broken("calls.none", "The answer holds no call of a declared tool.", 0)
    if blocks[0].start and (unreal := _UNREAL.search(text[: blocks[0].start])):
        raise Broken("calls.unreal", "The answer shows a call and says that it cannot be made.", unreal.start())
    kinds = {
        "think": found.thoughts,
        "unfenced": any(one.fenced for one in used),
        "tool_call": any(one.tagged for one in used),
        "prose": len(text[: used[0].start].split()) > 0 or len(text[used[-1].end :].split()) > 0,
    }
    steps += [Step(kind=kind, position=used[0].start) for kind, there in kinds.items() if there]
    steps += [step for one in used for step in one.trail]
    steps += [Step(kind=kind, position=place) for kind, place in shaped.notes.items()]
    return _one(blocks, text), [Step(kind="call.text"), *{step.kind: step for step in reversed(steps)}.values()]


def _joined(text: str, start: int, end: int) -> bool:
    """Whether only separators stand between two calls. No piece is tried in a second way: the time is linear."""
    while start < end and (piece := _BETWEEN.match(text, start, end)):
        start = piece.end()
    return start == end


def _mentioned(text: str, known: Tools) -> Callable[[int, int], bool]:
    """Whether a tool is named as in a call between an offset and the paragraph's end behind another."""
    mentions = [one.start() for one in _mentions(tuple(known.parameters)).finditer(text)]
    ends = [one.start() for one in re.finditer("\n\n", text)]

    def matters(start: int, broke: int) -> bool:
        following = bisect_left(ends, broke)
        end = ends[following] if following < len(ends) else len(text)
        return bisect_left(mentions, start) < bisect_left(mentions, end)

    return matters


def _inside(text: str, known: Tools, depth: int) -> list[Call]:
    """The calls that stand in a string of the answer; none when it only speaks of a tool."""
    try:
        return _written(text, known, depth)[0]
    except Broken as broken:
        if broken.code == "calls.none":
            return []
        raise


def _one(blocks: list[_Block], text: str) -> list[Call]:
    """The calls of the one reading that several blocks leave. Raises Broken when they leave more.

    The same block again is the same calls. Different blocks are one sequence where each has lines of its own, none
    repeats a call of another, and no word between them speaks of a second try; or where the last one is all others.
    """
    distinct = list({repr(block.calls): block for block in reversed(blocks)}.values())[::-1]
    if len(distinct) == 1:
        return distinct[0].calls
    *earlier, last = distinct
    if [call for block in earlier for call in block.calls] == last.calls:
        return last.calls
    each = [repr(call) for block in blocks for call in block.calls]
    own = all(_OWN_LINE.match(text, text.rfind("\n", 0, block.start) + 1, block.start) for block in blocks)
    between = "\n".join(text[one.end : two.start] for one, two in pairwise(blocks))
    if own and len(set(each)) == len(each) and not _ALTERNATIVE.search(between):
        return [call for block in blocks for call in block.calls]
    raise Broken("calls.ambiguous", "The answer holds several calls, and nothing says which are meant.", last.start)


@lru_cache(maxsize=256)
def _pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    """Where one of these tools is called: its name, with dots or underscores, and an opening bracket."""
    prefixes = "|".join(map(re.escape, shapes.NAMESPACES))
    name = rf"(?P<name>(?:{prefixes})?(?:{_spellings(names)}))"
    return re.compile(rf"(?<![\w.])(?<!def ){name}\s*\(|(?<!\w){name.replace('<name>', '<title>')}\n\s*\{{")


@lru_cache(maxsize=256)
def _mentions(names: tuple[str, ...]) -> re.Pattern[str]:
    """Where one of these tools is named as in a call or an object."""
    return re.compile(rf"(?<![\w])(?:{_spellings(names)})\s*[\"'(`\\]")


def _spellings(names: tuple[str, ...]) -> str:
    longest_first = sorted({name for one in names for name in (one, one.replace(".", "_"))}, key=len, reverse=True)
    return "|".join(re.sub(r"_|\\\.", "[._]", re.escape(name)) for name in longest_first)
