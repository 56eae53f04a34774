"""Watches an answer while it streams, and says as soon as it is doomed: nothing that could follow would pass. Pure.

The first JSON value that an answer begins with, and the arguments of its tool calls, are followed character by
character against the schema. What is written more loosely than JSON, or behind prose, is not followed: it is left to
the verdict at its end. An answer whose first value is doomed is cut although another value might follow it: a model
that was asked for one value and has begun it is held to that one.
"""

from __future__ import annotations

import re
from typing import Any

from cheapfirst.checks import align as alignment
from cheapfirst.checks import arguments, places, shapes
from cheapfirst.checks.prefix import Doom, Tracker
from cheapfirst.checks.repetition import loop
from cheapfirst.checks.schema import Schema
from cheapfirst.errors import RequestError
from cheapfirst.messages import Finding, Shape, Wire
from cheapfirst.policy.checks import ALIGNMENTS, Check, Repetition

_FENCE = re.compile(r"\ufeff?\s*(?:```+|~~~+)[\w+-]*[ \t]*\r?\n\s*")
_OPENING = re.compile(r"\ufeff?\s*(?:(?:`{1,3}|~{1,3})[\w+-]*[ \t]*\r?)?\Z")
_HARMLESS = frozenset({"type", "title", "description", "default", "examples"})

LOOPS = 3
"""So many times the repeats that the check `repetition` allows: a loop from which no model has come back."""

LOOK = 512
"""Characters between looks for a loop."""


class Guard:
    """One answer. `feed` takes the wire's chunks in order and returns the finding that dooms it, or None.

    The arguments are those of `judge`; `align` lists the alignments allowed (None: all).
    """

    def __init__(
        self,
        *,
        shape: Shape,
        schema: Schema | None = None,
        checks: tuple[Check, ...] = (),
        tools: list[Any] | None = None,
        source: str | None = None,
        align: tuple[str, ...] | None = None,
    ) -> None:
        self._allowed = frozenset(ALIGNMENTS if align is None else align)
        self._align = align
        self._schema = schema
        self._known = shapes.declared(tools, source) if tools else None
        self._tools = tools
        self._source = source
        self._text = ""  # until it is known how the answer begins
        self._value: Tracker | None = None
        # Nothing to be followed, or it is known how it begins. Where tools may be called, text may come before a call.
        self._begun = shape != "json" or schema is None or bool(tools)
        self._calls: dict[int, _Call] = {}
        self._fitting: dict[int, Schema | None] = {}
        repeats = [check.max_repeats for check in checks if isinstance(check, Repetition)]
        self._repeats = min(repeats) * LOOPS if repeats else None
        self._tail = ""
        self._unseen = 0  # characters since the last look for a loop

    def feed(self, chunk: Wire) -> Finding | None:
        """Take one chunk of the stream."""
        choices = chunk.get("choices")
        for choice in choices if isinstance(choices, list) else ():
            if not isinstance(choice, dict) or choice.get("index", 0) != 0:
                continue
            delta = choice.get("delta")
            if not isinstance(delta, dict):
                continue
            calls = delta.get("tool_calls")
            if isinstance(calls, list) and self._known is not None:
                for call in calls:
                    if isinstance(call, dict) and (found := self._call(call)) is not None:
                        return found
            content = delta.get("content")
            if isinstance(content, str) and content and (found := self._content(content)) is not None:
                return found
        return None

    def _content(self, text: str) -> Finding | None:
        if self._calls:
            return None  # the calls are the answer
        if self._repeats is not None:
            self._tail = (self._tail + text)[-4096:]
            self._unseen += len(text)
            if self._unseen >= LOOK:
                self._unseen = 0
                if (found := self._loop(self._repeats)) is not None:
                    return found
        if not self._begun:
            self._text += text
            text = self._beginning()
        if self._value is None or self._value.done or not text:
            return None
        return _finding(self._value.feed(text), "schema")

    def _beginning(self) -> str:
        """What is to be followed of the text so far, once it is clear how the answer begins."""
        fence = _FENCE.match(self._text)
        start = fence.end() if fence else len(self._text) - len(self._text.lstrip(" \t\r\n\ufeff"))
        if start == len(self._text) or (fence is None and _OPENING.match(self._text)):
            return ""
        self._begun = True
        assert self._schema is not None
        place = places.root(self._schema.json, self._allowed)
        kind = {"{": "object", "[": "array"}.get(self._text[start])
        # Prose may begin with a bracket: only what can be the value wanted is followed.
        if kind is not None and place.starts(kind):  # type: ignore[arg-type]  # one of the kinds
            whole = self._schema

            def finished(value: Any, at: places.Place) -> str | None:
                return self._unfit(value, whole.json, whole) if at is place else self._own(value, at)

            self._value = Tracker(place, finished)
        text, self._text = self._text[start:], ""
        return text

    def _call(self, wire: Wire) -> Finding | None:
        index = wire.get("index")
        if not isinstance(index, int):
            last = max(self._calls, default=-1)
            index = last + 1 if wire.get("id") or last < 0 else last
        call = self._calls.setdefault(index, _Call())
        function = wire.get("function")
        if not isinstance(function, dict):
            return None
        name, written = function.get("name"), function.get("arguments")
        if isinstance(name, str) and not call.name:
            call.name = name
        if not isinstance(written, str) or not written:
            return None
        if call.tracker is None:
            if not call.name:
                return None
            assert self._known is not None
            known = self._known.name(call.name)
            if known is None:
                sentence = "A tool is called that the request does not declare."
                return Finding(check="calls", code="calls.unknown_tool", sentence=sentence, path=(index,))
            call.tracker = self._arguments(known)
        return _finding(call.tracker.feed(written), "calls", (index, "arguments"))

    def _arguments(self, name: str) -> Tracker:
        assert self._known is not None
        parameters = self._known.parameters[name]
        place = places.root(parameters, self._allowed)

        def finished(value: Any, at: places.Place) -> str | None:
            if at is not place:
                return self._own(value, at)
            if not isinstance(value, dict):
                return None
            aligned, _ = alignment.align(value, parameters, self._align)
            found = arguments.findings(aligned, parameters)
            return found[0].code if found else None

        usable = True
        try:
            Schema(parameters).findings({})
        except RequestError:
            usable = False
        return Tracker(place if usable else places.root(None, self._allowed), finished, declared_only=usable)

    def _own(self, value: Any, place: places.Place) -> str | None:
        """What is wrong with a finished part of the value, where one schema alone speaks of it."""
        own = place.own
        if own is None or (own.keys() <= _HARMLESS and own.get("type") in (None, places.kind_of(value))):
            return None
        if id(own) not in self._fitting:
            try:
                made = Schema({**place.shared(), **own})
                made.findings(None)
            except RequestError:
                made = None
            self._fitting[id(own)] = made
        schema = self._fitting[id(own)]
        return None if schema is None else self._unfit(value, schema.json, schema)

    def _unfit(self, value: Any, schema: Wire, ready: Schema) -> str | None:
        aligned, _ = alignment.align(value, schema, self._align, ready=ready)
        found = ready.findings(aligned)
        return found[0].code if found else None

    def _loop(self, repeats: int) -> Finding | None:
        if loop(self._tail, repeats) is None:
            return None
        if self._source is not None and self._tail.rstrip()[-64:] in self._source:
            return None
        return Finding(check="repetition", code="repetition.loop", sentence="The answer runs in a loop.")


class _Call:
    """A tool call as far as it has come."""

    def __init__(self) -> None:
        self.name = ""
        self.tracker: Tracker | None = None


def _finding(doom: Doom | None, check: str, before: tuple[str | int, ...] = ()) -> Finding | None:
    if doom is None:
        return None
    code = doom.code if check == "schema" else "calls." + doom.code.partition(".")[2]
    return Finding(check=check, code=code, sentence=doom.sentence, path=(*before, *doom.path))
