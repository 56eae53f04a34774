"""Recognises a tool call in the many shapes in which models write one, and never guesses what an argument means."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from msgspec import Struct

from cheapfirst.checks import candidates
from cheapfirst.checks.repair import Called, Word
from cheapfirst.checks.strings import Broken

Call = dict[str, Any]
"""`{"name": ..., "arguments": {...}}`"""

NAMESPACES = ("default_api.", "functions.", "tools.")
"""Prefixes that providers' own prompts put before a tool's name."""

_LISTS = ("tool_calls", "function_calls", "functions", "calls")
_NAMES = ("name", "function", "function_name", "tool", "tool_name", "func_name", "action")
_ARGUMENTS = ("arguments", "parameters", "params", "args", "input", "kwargs", "action_input")
_OTHER = {"type", "id", "index"}
_OPERATORS = {"and", "or", "not", "in", "is", "if", "else", "for", "lambda"}
_WORDS = re.compile(r"[A-Za-z][\w.'&-]*(?: [\w.'&-]+)+")
_NAME = re.compile(r"[A-Za-z_]\w*(?:\.\w+)*")
_PROPER = re.compile(r"[A-Z][A-Za-z]+")
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")


class Tools(Struct, frozen=True):
    """The declared tools: name -> JSON Schema of the parameters, and every spelling of a name -> the declared one."""

    parameters: dict[str, dict[str, Any]]
    spellings: dict[str, str]
    source: str = ""  # the request's own text

    def name(self, written: Any) -> str | None:
        """The declared name that is meant: the same, or with dots and underscores exchanged, or None."""
        if not isinstance(written, str):
            return None
        for prefix in ("", *NAMESPACES):
            bare = written.removeprefix(prefix)
            if bare in self.parameters:
                return bare
            if bare.replace(".", "_") in self.spellings:
                return self.spellings[bare.replace(".", "_")]
        return None


def declared(tools: Iterable[Any], source: str | None = None) -> Tools:
    """The tools of a request; two whose names differ in dots and underscores only must be spelled exactly."""
    parameters: dict[str, dict[str, Any]] = {}
    for tool in tools:
        function = tool.get("function") if isinstance(tool, dict) else None
        if isinstance(function, dict) and isinstance(function.get("name"), str):
            schema = function.get("parameters")
            parameters[function["name"]] = schema if isinstance(schema, dict) else {}
    forms: dict[str, list[str]] = {}
    for name in parameters:
        forms.setdefault(name.replace(".", "_"), []).append(name)
    return Tools(parameters, {form: names[0] for form, names in forms.items() if len(names) == 1}, source or "")


class Shapes:
    """Reads calls out of values. `text` reads those that stand in a string; `notes` collects what was assumed."""

    def __init__(self, tools: Tools, text: Callable[[str], list[Call]]) -> None:
        self._tools = tools
        self._text = text
        self.notes: dict[str, int | None] = {}
        self.unquoted = False  # this writer leaves the quotes of strings away

    def calls(self, value: Any, place: int) -> list[Call] | None:
        """The calls that a value is; None when it is none. Raises Broken when it is one that cannot be read."""
        if isinstance(value, Called):
            return self._called(value)
        if isinstance(value, dict):
            return self._object(value, place)
        if isinstance(value, list):
            return self._list(value, place)
        if isinstance(value, str) and any(name in value for name in self._spelled()):
            return self._text(value) or None
        return None

    def _spelled(self) -> Iterable[str]:
        yield from self._tools.parameters
        yield from self._tools.spellings

    def _list(self, items: list[Any], place: int) -> list[Call] | None:
        names = [self._tools.name(item) for item in items[::2]]
        if len(items) % 2 == 0 and all(names) and all(isinstance(item, dict) for item in items[1::2]):
            self._note("call.pair", place)
            return [self._made(name, item, place) for name, item in zip(names, items[1::2], strict=True) if name]
        found = [self.calls(item, place) for item in items]
        if not any(found):
            return None
        if any(part is None and not isinstance(item, str) for item, part in zip(items, found, strict=True)):
            raise Broken("calls.mixed", "A list holds calls and something else.", place)
        for item, part in zip(items, found, strict=True):
            if part is None and self._tools.name(item):
                raise Broken("calls.mixed", "A list holds calls and the bare name of a tool.", place)
        return [call for part in found for call in part or ()]

    def _object(self, value: dict[str, Any], place: int) -> list[Call] | None:
        for key in _LISTS:
            if isinstance(value.get(key), list):
                return self._list(value[key], place)
        for key in _NAMES:
            named = value.get(key)
            if key == "function" and isinstance(named, dict):
                return self._object(named, place)
            name = self._tools.name(named)
            if name is not None:
                return [self._named(name, value, key, place)]
        names = [self._tools.name(key) for key in value]
        if names and all(names):
            return [self._made(name, part, place) for name, part in zip(names, value.values(), strict=True) if name]
        if isinstance(value.get("name"), str) and any(key in value for key in _ARGUMENTS):
            raise Broken("calls.unknown_tool", "A tool is called that the request does not declare.", place)
        return None

    def _named(self, name: str, value: dict[str, Any], key: str, place: int) -> Call:
        """A call with its name in a member: the arguments stand in another one, or beside it."""
        held = [one for one in _ARGUMENTS if one in value and one != key]
        if len(held) == 1 and isinstance(value[held[0]], dict | str | None):
            return self._made(name, value[held[0]], place)
        beside = {one: part for one, part in value.items() if one != key and one not in _OTHER}
        if not beside.keys() <= self._properties(name).keys() or key in self._properties(name):
            raise Broken("calls.arguments", "The arguments of a call cannot be told from what stands around.", place)
        if beside:
            self._note("call.flat", place)
        return self._made(name, beside, place)

    def _made(self, name: str, arguments: Any, place: int) -> Call:
        if isinstance(arguments, str):
            arguments = candidates.read(arguments, 0)[0] if arguments.strip() else {}
        if arguments is None:
            arguments = {}
        if not isinstance(arguments, dict):
            raise Broken("calls.arguments", "The arguments of a call are no object.", place)
        properties = self._properties(name)
        return {
            "name": name,
            "arguments": {key: self._settled(part, properties.get(key), place) for key, part in arguments.items()},
        }

    def _called(self, called: Called) -> list[Call] | None:
        name = self._tools.name(called.name)
        if name is None:
            inner = called.positional[0] if len(called.positional) == 1 and not called.keywords else None
            return self.calls(inner, called.position) if called.name == "print" else None
        arguments = dict(called.keywords)
        if called.positional:
            arguments = {**self._placed(name, called), **arguments}
        return [self._made(name, arguments, called.position)]

    def _placed(self, name: str, called: Called) -> dict[str, Any]:
        """Arguments without a name: one object of them all, or values in the order of the declaration."""
        properties = self._properties(name)
        first = called.positional[0]
        alone = len(called.positional) == 1 and not called.keywords
        if alone and isinstance(first, dict) and first.keys() <= properties.keys():
            self._note("call.object", called.position)
            return first
        places = list(properties)[: len(called.positional)]
        required = self._tools.parameters[name].get("required")
        leading = list(properties)[: len(required)] if isinstance(required, list) else []
        like_a_signature = isinstance(required, list) and set(leading) == set(required)
        if len(places) < len(called.positional) or set(places) & called.keywords.keys() or not like_a_signature:
            raise Broken("calls.positional", "An argument without a name fits no one parameter.", called.position)
        self._note("call.positional", called.position)
        return dict(zip(places, called.positional, strict=True))

    def _settled(self, value: Any, schema: Any, place: int) -> Any:
        """The value of an argument; words without quotes become strings only where nothing else is possible."""
        schema = schema if isinstance(schema, dict) else {}
        if isinstance(value, Called):
            raise Broken("calls.expression", "An argument is an expression, not a value.", value.position)
        if isinstance(value, Word):
            texts = schema.get("type", "string") == "string"
            meant = (texts and self._handed_over(value.text)) or (
                schema.get("type") == "string" and self._quotable(value.text, schema)
            )
            if not meant:
                raise Broken("calls.expression", "An argument is an expression, not a value.", value.position)
            self._note("repaired.unquoted_string", value.position)
            return value.text
        if isinstance(value, list):
            return [self._settled(item, schema.get("items"), place) for item in value]
        if isinstance(value, dict):
            inner = schema.get("properties")
            parts = inner if isinstance(inner, dict) else {}
            return {key: self._settled(part, parts.get(key), place) for key, part in value.items()}
        return value

    def _quotable(self, text: str, schema: dict[str, Any]) -> bool:
        """Whether words without quotes can be nothing but a string: no variable, no expression."""
        if text in (schema.get("enum") or ()):
            return True
        if set(text.split()) & _OPERATORS:
            return False
        if self.unquoted and text.isidentifier():
            return True
        return bool(_WORDS.fullmatch(text) or _PROPER.fullmatch(text) or _DATE.fullmatch(text))

    def _handed_over(self, text: str) -> bool:
        """Whether a name without quotes stands in the request's own text: then that name is what is meant."""
        return bool(_NAME.fullmatch(text)) and bool(
            re.search(rf"(?<![\w.]){re.escape(text)}(?![\w(]|\.\w)", self._tools.source)
        )

    def _properties(self, name: str) -> dict[str, Any]:
        properties = self._tools.parameters[name].get("properties")
        return properties if isinstance(properties, dict) else {}

    def _note(self, kind: str, place: int | None) -> None:
        self.notes.setdefault(kind, place)


def writes_words(value: Any) -> bool:
    """Whether several words stand without quotes somewhere: a writer of such leaves the quotes of all strings away."""
    if isinstance(value, Word):
        return bool(_WORDS.fullmatch(value.text)) and not set(value.text.split()) & _OPERATORS
    if isinstance(value, Called):
        return any(map(writes_words, [*value.positional, *value.keywords.values()]))
    if isinstance(value, list | dict):
        return any(map(writes_words, value.values() if isinstance(value, dict) else value))
    return False
