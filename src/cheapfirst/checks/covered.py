"""Notices forgotten parts: a figure, a quoted name or a tool of the source that the answer does not use."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import Any

from cheapfirst.checks.context import Context
from cheapfirst.checks.declared import functions
from cheapfirst.checks.numerals import numbers, plain
from cheapfirst.checks.paths import leaves, shown
from cheapfirst.messages import Finding, Wire
from cheapfirst.policy.checks import Covered

_UNITS = tuple(
    Decimal(factor) for factor in ("1", "100", "1000", "1e6", "1e9", "60", "3600", "7", "12", "24", "30", "365")
)
"""Factors between units that people convert: percent, kilo and milli, minutes, weeks, dozens, years."""

_FIGURE = re.compile(r"(?<![\w.^:/@#])(\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?)(?![\w^:]*[\d^]|[:.]\d)")
_NO_INPUT = re.compile(r"(?:st|nd|rd|th)\b|\s?(?:pi\b|π|feet\b|foot\b|ft\b|inch(?:es)?\b|['′″])|in\b")
_MARKER = re.compile(r"(?:^|[\n.?!:;,])\s*$")
_QUOTED = re.compile(r"(?<!\w)['\"‘“«„](?=\S)([^'\"’”»“]{2,60})(?<=\S)['\"’”»“](?!\w)")
_GAP = re.compile(r"[\W_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
_COMMON = (
    "get set find search calculate calculator compute info information detail details data the of by in for to from "
    "and list check fetch retrieve track create lookup look nearby nearest closest locate predict estimate analyze "
    "analyse generate play make value price determine convert book order display best new latest show add update"
)
"""Words that tools of every kind have in their names, and that tell none from another."""


def covered(value: Any, context: Context, options: Covered) -> Sequence[Finding]:
    """The answer uses every figure and quoted name of the source, and every tool the source names.

    Codes: covered.figure, covered.quote, covered.tool. Exempt are figures that are no inputs (ordinals, exponents,
    list markers, clock minutes, version numbers, zero, feet and inches), figures and quotes that the schema itself
    mentions, and figures that appear in another unit (percent, thousands, minutes, weeks, months).

    One call of the only tool there is says what it can: there, a name or figure too many is mere context. So quotes
    count where several tools are declared, and figures where several are declared or several calls were made.
    """
    if context.source is None or not context.parsed:
        return ()
    several_tools = not context.called or len(list(functions(context.tools))) > 1
    several_calls = context.called and len(value) > 1
    declared = _declared(context)
    found: list[Finding] = []
    if options.figures and (several_tools or several_calls):
        known = _used(value, context) | numbers(declared)
        found += [
            _finding("figure", f"The source gives {figure}, and nothing in the answer uses it.")
            for figure in _unused(context.source, known)
        ]
    if options.quotes and several_tools:
        solid = _GAP.sub("", plain(_spoken(value, context) + declared))
        found += [
            _finding("quote", f"The source names {shown(quote)}, and nothing in the answer mentions it.")
            for quote in dict.fromkeys(_QUOTED.findall(context.source.strip("\"'")))
            if (word := _GAP.sub("", plain(quote))) and word not in solid
        ]
    if options.tools and context.called and several_tools:
        found += [
            _finding("tool", f"The source asks for what the tool {name!r} does, and it was not called.")
            for name in _uncalled(value, context)
        ]
    return found


def figures(text: str) -> Iterator[str]:
    """The figures of a text that look like inputs, as they are written."""
    for match in _FIGURE.finditer(text):
        before, after = text[max(0, match.start() - 8) : match.start()], text[match.end() : match.end() + 8]
        marker = (after[:1] == ")" and "(" not in before) or (re.match(r"\.\s", after) and _MARKER.search(before))
        if not marker and not _NO_INPUT.match(after):
            yield match[1]


def _unused(source: str, known: frozenset[Decimal]) -> Iterator[str]:
    sizes = {abs(number) for number in known}
    for figure in dict.fromkeys(figures(source)):
        number = Decimal(figure.replace(",", ""))
        # "more than five" may become six, and "under" one less.
        near = {number - 1, number, number + 1}
        if number and not near & sizes and not any(number * unit in sizes or number / unit in sizes for unit in _UNITS):
            yield figure


def _used(value: Any, context: Context) -> frozenset[Decimal]:
    exact = {
        Decimal(repr(leaf)) for _, leaf in leaves(value) if isinstance(leaf, int | float) and not isinstance(leaf, bool)
    }
    return numbers(_spoken(value, context)) | exact


def _spoken(value: Any, context: Context) -> str:
    """Everything the answer says, keys and all: a grade book may keep its subjects as keys."""
    if isinstance(value, str):
        return value
    said = [call.get("arguments") for call in value] if context.called else value
    return json.dumps(said, ensure_ascii=False, default=str)


def _declared(context: Context) -> str:
    declared = context.tools if context.called else context.schema
    return json.dumps(declared, ensure_ascii=False, default=str) if declared else ""


def _uncalled(value: Any, context: Context) -> Iterator[str]:
    """Tools that the source names and no call uses; tools that share a parameter with a called one are its rivals."""
    asked = _stems(context.source or "")
    called = {call.get("name") for call in value}
    told = set().union(*(_stems(str(name)) for name in called))
    served = {name for function in functions(context.tools) if function["name"] in called for name in _inputs(function)}
    for function in functions(context.tools):
        telling = _stems(function["name"]) - told - _stems(_COMMON)
        rival = function["name"] in called or served & _inputs(function)
        if telling and telling <= asked and not rival:
            yield function["name"]


def _inputs(function: Wire) -> set[str]:
    parameters = function.get("parameters")
    properties = parameters.get("properties") if isinstance(parameters, dict) else None
    return set(properties) if isinstance(properties, dict) else set()


def _stems(text: str) -> frozenset[str]:
    words = _GAP.sub(" ", plain(_CAMEL.sub(" ", text))).split()
    return frozenset(re.sub(r"(?:ing|ed|es|ies|s|e|y)$", "", word) if len(word) > 3 else word for word in words)


def _finding(what: str, sentence: str) -> Finding:
    return Finding(check="covered", code=f"covered.{what}", sentence=sentence)
