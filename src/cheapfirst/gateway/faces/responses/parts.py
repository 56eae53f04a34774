"""Reads the parts of a chat completion, and makes the items of a response out of them. Pure; bears odd input."""

from __future__ import annotations

from typing import Any

import msgspec

from cheapfirst.gateway.faces.responses.details import pack
from cheapfirst.messages import Wire

_DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"  # of a request id
_EMPTY: tuple[object, ...] = (None, "", [], {})
_KNOWN = frozenset(
    [
        "role",
        "content",
        "refusal",
        "reasoning",
        "reasoning_content",
        "reasoning_details",
        "tool_calls",
        "annotations",
        "id",
        "type",
        "status",
    ]
)


def made_at(request_id: str) -> int:
    """Unix seconds at which a request's id was made; 0 for an id that does not tell."""
    number = 0
    for digit in request_id.removeprefix("req_")[:10]:
        place = _DIGITS.find(digit)
        if place < 0:
            return 0
        number = number * 32 + place
    return number // 1000


def item_id(kind: str, request_id: str, index: int) -> str:
    """The id of the output item at an index."""
    return f"{kind}_{request_id.removeprefix('req_')}_{index}"


def first(choices: Any) -> Wire:
    """The judged choice; an empty one when there is none."""
    for choice in choices if isinstance(choices, list) else ():
        if isinstance(choice, dict) and choice.get("index", 0) in (0, None):
            return choice
    return {}


def text(content: Any) -> str:
    """The text of a message's content, also where an upstream sends it in parts."""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    texts = [part.get("text") for part in content if isinstance(part, dict)]
    return "".join(piece for piece in texts if isinstance(piece, str))


def reasoning(message: Wire) -> tuple[str, list[Any]]:
    """The text that a message (or a delta) reasons with, and its reasoning details."""
    given = message.get("reasoning_details")
    details = given if isinstance(given, list) else []
    for name in ("reasoning", "reasoning_content"):
        said = message.get(name)
        if isinstance(said, str) and said:
            return said, details
    told = [detail.get("text") or detail.get("summary") for detail in details if isinstance(detail, dict)]
    return "".join(piece for piece in told if isinstance(piece, str)), details


def citations(message: Wire) -> list[Wire]:
    """A message's citations, as this protocol has them: not nested under their type."""
    given = message.get("annotations")
    made = []
    for one in given if isinstance(given, list) else ():
        if isinstance(one, dict):
            kind = one.get("type")
            inner = one.get(kind) if isinstance(kind, str) else None
            made.append({"type": kind, **inner} if isinstance(inner, dict) else one)
    return made


def logprobs(choice: Wire) -> list[Any]:
    """The log probabilities of a choice's text."""
    given = choice.get("logprobs")
    found = given.get("content") if isinstance(given, dict) else None
    return found if isinstance(found, list) else []


def unknown(message: Wire) -> Wire:
    """Fields of a message that this protocol has no word for: they stay on the message item."""
    return {name: value for name, value in message.items() if name not in _KNOWN and value not in _EMPTY}


def calls(given: Any) -> list[Wire]:
    """The tool calls that are calls."""
    return [call for call in given if isinstance(call, dict)] if isinstance(given, list) else []


def arguments(function: Any) -> str:
    """A call's arguments as text."""
    given = function.get("arguments") if isinstance(function, dict) else None
    if given is None:
        return ""
    return given if isinstance(given, str) else msgspec.json.encode(given).decode()


def text_part(said: str, cited: list[Wire], odds: list[Any]) -> Wire:
    return {"type": "output_text", "text": said, "annotations": cited, "logprobs": odds}


def refusal_part(said: str) -> Wire:
    return {"type": "refusal", "refusal": said}


def message_item(id: str, content: list[Wire], *, status: str = "completed") -> Wire:
    return {"id": id, "type": "message", "status": status, "role": "assistant", "content": content}


def reasoning_item(id: str, said: str, details: list[Any], *, status: str = "completed") -> Wire:
    summary = [{"type": "summary_text", "text": said}] if said else []
    return {
        "id": id,
        "type": "reasoning",
        "status": status,
        "summary": summary,
        "encrypted_content": pack(details),
    }


def call_item(id: str, call: Wire, *, status: str = "completed") -> Wire:
    """A function call; one that came without an id of its own goes by its item's."""
    function = call.get("function")
    name = function.get("name") if isinstance(function, dict) else None
    own = call.get("id")
    return {
        "id": id,
        "type": "function_call",
        "status": status,
        "call_id": own if isinstance(own, str) and own else id.replace("fc_", "call_", 1),
        "name": name if isinstance(name, str) else "",
        "arguments": arguments(function),
    }
