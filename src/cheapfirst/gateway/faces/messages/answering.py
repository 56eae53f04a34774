"""Turns a chat completion into a `message` object. Pure; bears odd input."""

from __future__ import annotations

from typing import Any

import msgspec

from cheapfirst.gateway.faces.responses import parts
from cheapfirst.gateway.faces.responses.details import pack
from cheapfirst.messages import Wire

_CHAT = frozenset(["id", "object", "created", "model", "choices", "usage", "cheapfirst", "error"])
_OURS = frozenset(["type", "role", "content", "stop_reason", "stop_sequence"])
_STOPS = {"length": "max_tokens", "tool_calls": "tool_use", "function_call": "tool_use", "content_filter": "refusal"}
_COUNTED = ("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details")


def whole(answer: Wire, asked: Wire, request_id: str) -> Wire:
    """Return the message that a chat completion makes. Only its first choice counts: the protocol has no others."""
    choice = parts.first(answer.get("choices"))
    given = choice.get("message")
    message = given if isinstance(given, dict) else {}
    content: list[Wire] = []
    thought, details = parts.reasoning(message)
    if thought or details:
        content.append({"type": "thinking", "thinking": thought, "signature": pack(details) or ""})
    said = parts.text(message.get("content")) + refused(message)
    if said:
        content.append({"type": "text", "text": said})
    for call in parts.calls(message.get("tool_calls")):
        content.append(use(call, len(content), request_id, parsed(parts.arguments(call.get("function")))))
    made: Wire = {
        **extras(message, choice),
        **rest(answer),
        **begun(answer, asked, request_id),
        "content": content,
        "stop_reason": stopped(choice, called=any(block["type"] == "tool_use" for block in content), message=message),
        "usage": usage(answer.get("usage")),
    }
    if "cheapfirst" in answer:
        made["cheapfirst"] = answer["cheapfirst"]
    return made


def begun(answer: Wire, asked: Wire, request_id: str) -> Wire:
    """The message before it has content."""
    model = answer.get("model") or asked.get("model")
    return {
        "id": "msg_" + request_id.removeprefix("req_"),
        "type": "message",
        "role": "assistant",
        "model": model if isinstance(model, str) else "",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": usage(None),
    }


def use(call: Wire, index: int, request_id: str, input: Any) -> Wire:
    """The tool_use block at an index."""
    function, id = call.get("function"), call.get("id")
    name = function.get("name") if isinstance(function, dict) else None
    return {
        "type": "tool_use",
        "id": id if isinstance(id, str) and id else parts.item_id("toolu", request_id, index),
        "name": name if isinstance(name, str) else "",
        "input": input,
    }


def parsed(arguments: str) -> Wire:
    """A call's arguments as the object that this protocol wants; what is none stands under `arguments`."""
    if not arguments:
        return {}
    try:
        value = msgspec.json.decode(arguments)
    except (ValueError, RecursionError):
        value = None
    return value if isinstance(value, dict) else {"arguments": arguments}


def refused(message: Wire) -> str:
    """The words of a refusal."""
    said = message.get("refusal")
    return said if isinstance(said, str) else ""


def stopped(choice: Wire, *, called: bool, message: Wire) -> str:
    """The stop reason. One that the protocol has no word for stays as it is: nobody may take it for a clean end."""
    finish, native = choice.get("finish_reason"), choice.get("native_finish_reason")
    if refused(message):
        return "refusal"
    if called and finish in (None, "stop"):
        return "tool_use"
    if finish in (None, "stop"):
        return "stop_sequence" if native == "stop_sequence" else "end_turn"
    return _STOPS.get(finish, finish) if isinstance(finish, str) else "end_turn"


def usage(given: Any) -> Wire:
    """The tokens as Anthropic counts them: `input_tokens` are those that no cache had a part in."""
    table = given if isinstance(given, dict) else {}
    came, went = table.get("prompt_tokens_details"), table.get("completion_tokens_details")
    found, kept = count(came, "cached_tokens"), count(came, "cache_write_tokens")
    made: Wire = {name: value for name, value in table.items() if name not in _COUNTED}
    made["input_tokens"] = max(0, count(table, "prompt_tokens") - found - kept)
    made["output_tokens"] = count(table, "completion_tokens")
    made["cache_read_input_tokens"] = found
    made["cache_creation_input_tokens"] = kept
    if thinking := count(went, "reasoning_tokens"):
        made["output_tokens_details"] = {"thinking_tokens": thinking}
    return made


def count(table: Any, name: str) -> int:
    value = table.get(name) if isinstance(table, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else 0


def extras(message: Wire, choice: Wire) -> Wire:
    """What the protocol has no word for: it stays beside the content."""
    made = {name: value for name, value in parts.unknown(message).items() if name not in _OURS}
    for name, value in (("annotations", message.get("annotations")), ("logprobs", choice.get("logprobs"))):
        if value:
            made[name] = value
    return made


def rest(answer: Wire) -> Wire:
    """The answer's own fields that the protocol has no word for."""
    return {name: value for name, value in answer.items() if name not in _CHAT | _OURS and value is not None}
