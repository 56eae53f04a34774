"""The verdict on one answer: reads it, runs the schema and every check, and reports everything that is wrong.

Pure: no I/O, no model call. It never raises on a strange answer; a strange answer is a finding.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from msgspec import Struct

from cheapfirst.checks import arguments, calls, declared, parse
from cheapfirst.checks import custom as functions
from cheapfirst.checks.context import Context
from cheapfirst.checks.schema import Schema
from cheapfirst.messages import Finding, Outcome, Shape, Step, Verdict
from cheapfirst.policy.checks import Check, Custom, Python, name_of

_CONTENT = frozenset({"length", "regex", "enum", "required"})

ON_TEXT = frozenset({"refusal", "language", "repetition"})
"""Checks that can say something about a text from which no value could be read."""


class Judgment(Struct, frozen=True, kw_only=True):
    """What was read from an answer and what the checks say about it."""

    value: Any  # parsed JSON, or the text itself for free text; None when unreadable
    text: str
    trail: tuple[Step, ...] = ()
    verdict: Verdict
    incomplete: bool = False  # the text stops inside its JSON, whatever the finish reason says


class _Reading(Struct, frozen=True, kw_only=True):
    value: Any = None
    trail: tuple[Step, ...] = ()
    findings: tuple[Finding, ...] = ()
    checked: tuple[str, ...] = ()
    called: bool = False
    parsed: bool = True
    incomplete: bool = False


def judge(
    outcome: Outcome,
    *,
    shape: Shape,
    schema: Schema | None = None,
    checks: tuple[Check, ...] = (),
    tools: list[Any] | None = None,
    source: str | None = None,
    align: tuple[str, ...] | None = None,
    custom: Mapping[str, functions.Function] | None = None,
) -> Judgment:
    """Read one answer and judge it. All checks run and all failures are reported.

    Shape `json` is parsed (against `schema` when given); tool calls are read and each one's arguments are held
    against the tool's parameters; any other shape is its text. `align` lists the alignments allowed (None: all).
    `custom` maps the names of `Custom` and the paths of `Python` checks to functions. A cut-off answer is
    accepted only when its whole text is one complete JSON container.
    """
    reading = _read(outcome, shape, schema, tools, align, source)
    context = Context(
        text=outcome.text,
        shape=shape,
        source=source,
        schema=schema.json if schema is not None and not reading.called else None,
        tools=tools,
        called=reading.called,
        parsed=reading.parsed,
        message=outcome.message,
    )
    findings = [*_declined(outcome), *reading.findings]
    ran = [*reading.checked]
    typed = reading.value
    if schema is not None and reading.parsed and not reading.called and not reading.findings:
        typed, refused = schema.typed(reading.value)
        findings += refused
    for check in checks:
        name = name_of(check)
        if not reading.parsed and name not in ON_TEXT:
            continue
        ran.append(name)
        if isinstance(check, Custom | Python):
            findings += functions.run(typed, context, check, custom or {})
        else:
            findings += function(name)(reading.value, context, check)
    verdict = Verdict(accept=not findings, findings=tuple(findings), checked=tuple(dict.fromkeys(ran)))
    return Judgment(
        value=reading.value, text=outcome.text, trail=reading.trail, verdict=verdict, incomplete=reading.incomplete
    )


@lru_cache(maxsize=32)
def function(name: str) -> Callable[[Any, Context, Any], Sequence[Finding]]:
    """The function behind a check's name in the table: `(value, context, options)` -> findings.

    Imported when first used: the word lists and patterns of checks that no route names cost no start-up time.
    """
    module = importlib.import_module(f"cheapfirst.checks.{'content' if name in _CONTENT else name}")
    found: Callable[[Any, Context, Any], Sequence[Finding]] = getattr(module, name)
    return found


def _read(
    outcome: Outcome,
    shape: Shape,
    schema: Schema | None,
    tools: list[Any] | None,
    align: tuple[str, ...] | None,
    source: str | None,
) -> _Reading:
    cut = outcome.kind == "cut-off"
    if tools and (outcome.message.get("tool_calls") or (shape == "json" and schema is None)):
        return _calls(outcome, tools, align, source, cut)
    if shape == "json":
        return _json(outcome, schema, align, cut)
    if not outcome.text.strip() and not outcome.message.get("refusal"):
        return _unreadable("parse.empty", "The answer has no text.")
    if cut:
        return _unreadable("parse.cut_off", "The text was cut off.", value=outcome.text)
    return _Reading(value=outcome.text, checked=())


def _json(outcome: Outcome, schema: Schema | None, align: tuple[str, ...] | None, cut: bool) -> _Reading:
    result = parse.parse(outcome.text, schema.json if schema is not None else None, align=align, ready=schema)
    if isinstance(result, parse.Unparsed):
        code = "parse.incomplete" if result.incomplete else result.code
        return _unreadable(code, result.sentence, incomplete=result.incomplete)
    if cut and not _whole(result):
        return _unreadable("parse.cut_off", "The answer was cut off, and what came is not one complete JSON value.")
    found = schema.findings(result.value) if schema is not None else ()
    checked = ("parse", "schema") if schema is not None else ("parse",)
    return _Reading(value=result.value, trail=result.trail, findings=found, checked=checked)


def _calls(
    outcome: Outcome, tools: list[Any], align: tuple[str, ...] | None, source: str | None, cut: bool
) -> _Reading:
    result = calls.read(outcome.message, tools, align=align, source=source)
    if isinstance(result, parse.Unparsed):
        return _unreadable(result.code, result.sentence, incomplete=result.incomplete, checked="calls")
    if cut and not _whole(result):
        return _unreadable("calls.cut_off", "The answer was cut off inside its tool calls.", checked="calls")
    found = [
        _of_call(finding, number)
        for number, call in enumerate(result.value)
        for finding in arguments.findings(call["arguments"], declared.tool(tools, call["name"]))
    ]
    return _Reading(value=result.value, trail=result.trail, findings=tuple(found), called=True, checked=("calls",))


def _of_call(finding: Finding, number: int) -> Finding:
    """The same finding, told about a call's arguments."""
    code = "calls." + finding.code.partition(".")[2]
    return Finding(check="calls", code=code, sentence=finding.sentence, path=(number, "arguments", *finding.path))


def _whole(result: parse.Parsed) -> bool:
    """Whether the text was one container, read without any repair: nothing can be missing from it."""
    harmless = ("strict", "unfenced", "aligned")
    return isinstance(result.value, dict | list) and all(
        step.kind.partition(".")[0] in harmless for step in result.trail
    )


def _unreadable(
    code: str, sentence: str, *, value: Any = None, incomplete: bool = False, checked: str = "parse"
) -> _Reading:
    finding = Finding(check=code.partition(".")[0], code=code, sentence=sentence)
    return _Reading(value=value, findings=(finding,), checked=(checked,), parsed=False, incomplete=incomplete)


def _declined(outcome: Outcome) -> tuple[Finding, ...]:
    """The provider's own word that the model refused."""
    said = outcome.message.get("refusal")
    if outcome.kind != "refusal" and not said:
        return ()
    return (Finding(check="refusal", code="refusal.structured", sentence="The model refused, and said so."),)
