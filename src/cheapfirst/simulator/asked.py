"""Reads what a chat-completions request asks for: which text, which schema, which tools, and whether it asks again."""

from __future__ import annotations

import json
import re
from typing import Any, Literal, TypeAlias

from msgspec import Struct

from cheapfirst.messages import Wire
from cheapfirst.simulator import corpus
from cheapfirst.simulator.answerer import text_of
from cheapfirst.simulator.corpus import Item

Form: TypeAlias = Literal["json_schema", "json_object", "prompt", "none"]

ANY_OBJECT: Wire = {"type": "object", "properties": {"answer": {"type": "string"}}, "required": ["answer"]}
"""What is answered where JSON is asked for and no schema is given."""

_AGAIN = re.compile(
    r"not (?:acceptable|valid|correct)|invalid|incorrect|rejected|did not pass|does not match|is (?:wrong|missing)"
    r"|answer again|try again|correct (?:it|that|your)|fix (?:it|that|your)",
    re.I,
)
_SCHEMA_AHEAD = re.compile(r"\bschema\b[^{}]{0,200}(?=\{)", re.I)
_JSON_ASKED = re.compile(r"\b(?:one|a|only|valid|as|in|with|return|reply in|answer in) json\b", re.I)


class Asked(Struct, frozen=True, kw_only=True):
    """A request as the answer's maker sees it."""

    text: str  # the user's text to answer
    system: str = ""
    form: Form = "none"
    schema: Any = None  # absent: free text
    tools: tuple[Wire, ...] = ()  # functions that may be called; the named one only, where one is named
    again: bool = False  # an earlier answer was refused with a verdict
    room: int | None = None  # tokens the answer may take; absent: not said
    item: Item | None = None  # the sample request this is; absent: another text


def read(body: Wire) -> Asked:
    """Read a request. Never raises on a well-formed chat-completions body."""
    messages = [message for message in body.get("messages") or [] if isinstance(message, dict)]
    system = "\n".join(text_of(m.get("content")) for m in messages if m.get("role") in ("system", "developer"))
    said = [(at, text_of(m.get("content"))) for at, m in enumerate(messages) if m.get("role") == "user"]
    text, again = _asked_text(said, messages)
    form, schema = _form(body, system, text)
    item = corpus.find(text)
    if item is not None and schema is not None and schema != item.schema:
        item = None
    elif item is not None and item.schema is not None and schema is None:
        form, schema = "prompt", item.schema
    room = body.get("max_completion_tokens", body.get("max_tokens"))
    return Asked(
        text=text,
        system=system,
        form=form,
        schema=schema,
        tools=_tools(body, messages),
        again=again,
        room=room if isinstance(room, int) and room > 0 else None,
        item=item,
    )


def _asked_text(said: list[tuple[int, str]], messages: list[Wire]) -> tuple[str, bool]:
    """The text to answer, and whether the last message only finds fault with an earlier answer to it."""
    if not said:
        return "", False
    at, last = said[-1]
    follows = at > 0 and messages[at - 1].get("role") == "assistant"
    if follows and len(said) > 1 and _AGAIN.search(last) and corpus.find(last) is None:
        return said[-2][1], True
    return last, False


def _form(body: Wire, system: str, text: str) -> tuple[Form, Any]:
    wanted = body.get("response_format")
    kind = wanted.get("type") if isinstance(wanted, dict) else None
    if isinstance(wanted, dict) and kind == "json_schema":
        inner = wanted.get("json_schema")
        schema = inner.get("schema") if isinstance(inner, dict) else None
        return "json_schema", ANY_OBJECT if schema is None else schema
    written = _written_schema(system) or _written_schema(text)
    if kind == "json_object":
        return "json_object", written or ANY_OBJECT
    if written is not None:
        return "prompt", written
    return ("prompt", ANY_OBJECT) if _JSON_ASKED.search(system) else ("none", None)


def _written_schema(text: str) -> Any:
    """A JSON Schema that stands in the instructions behind the word schema; None when there is none."""
    for found in _SCHEMA_AHEAD.finditer(text):
        try:
            schema, _ = json.JSONDecoder().raw_decode(text, found.end())
        except (ValueError, RecursionError):
            continue
        if isinstance(schema, dict):
            return schema
    return None


def _tools(body: Wire, messages: list[Wire]) -> tuple[Wire, ...]:
    functions = tuple(
        tool["function"]
        for tool in body.get("tools") or []
        if isinstance(tool, dict) and isinstance(tool.get("function"), dict) and tool["function"].get("name")
    )
    choice = body.get("tool_choice", "auto")
    if choice == "none" or (choice == "auto" and messages and messages[-1].get("role") == "tool"):
        return ()
    if isinstance(choice, dict):
        name = (choice.get("function") or {}).get("name")
        return tuple(function for function in functions if function["name"] == name)
    return functions
