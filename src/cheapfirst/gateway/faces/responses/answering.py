"""Turns a chat completion into a `response` object. Pure."""

from __future__ import annotations

from typing import Any

from cheapfirst.gateway.faces.responses import parts
from cheapfirst.messages import Wire

_CHAT = frozenset(["id", "object", "created", "model", "choices", "usage", "cheapfirst", "error"])

_ECHOED: Wire = {
    "background": False,
    "instructions": None,
    "max_output_tokens": None,
    "max_tool_calls": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "previous_response_id": None,
    "prompt_cache_key": None,
    "reasoning": {"effort": None, "summary": None},
    "safety_identifier": None,
    "service_tier": "auto",
    "store": False,
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "tools": [],
    "top_logprobs": 0,
    "top_p": None,
    "truncation": "disabled",
    "user": None,
}
_FIXED = ("background", "previous_response_id", "store", "truncation")


def whole(answer: Wire, asked: Wire, request_id: str) -> Wire:
    """Return the response that a chat completion makes. Only its first choice counts: the protocol has no others."""
    choice = parts.first(answer.get("choices"))
    message = choice.get("message")
    output = _output(message if isinstance(message, dict) else {}, choice, request_id)
    return response(answer, asked, request_id, output, choice.get("finish_reason"))


def response(answer: Wire, asked: Wire, request_id: str, output: list[Wire], finish: object) -> Wire:
    """The response object around its output; `finish` is the finish reason of chat completions."""
    status, incomplete, error = ended(finish)
    if status == "incomplete" and output:
        output = [*output[:-1], {**output[-1], "status": "incomplete"}]
    usage = answer.get("usage")
    made: Wire = {
        **begun(answer, asked, request_id),
        **{name: value for name, value in answer.items() if name not in _CHAT and value is not None},
        "status": status,
        "error": error,
        "incomplete_details": incomplete,
        "output": output,
        "usage": _usage(usage) if isinstance(usage, dict) else None,
    }
    if "cheapfirst" in answer:
        made["cheapfirst"] = answer["cheapfirst"]
    return made


def begun(answer: Wire, asked: Wire, request_id: str) -> Wire:
    """The response object before there is output: what was asked, with the protocol's defaults."""
    made: Wire = {
        "id": "resp_" + request_id.removeprefix("req_"),
        "object": "response",
        "created_at": parts.made_at(request_id),
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "model": answer.get("model") or asked.get("model") or "",
        "output": [],
        "usage": None,
    }
    for name, usual in _ECHOED.items():
        said = asked.get(name)
        made[name] = usual if said is None or name in _FIXED else said
    text = made["text"]
    if isinstance(text, dict) and not text.get("format"):
        made["text"] = {**text, "format": {"type": "text"}}
    return made


def ended(finish: object) -> tuple[str, Wire | None, Wire | None]:
    """Status, incomplete_details and error of a finish reason."""
    if finish == "length":
        return "incomplete", {"reason": "max_output_tokens"}, None
    if finish == "content_filter":
        return "incomplete", {"reason": "content_filter"}, None
    if finish == "error":
        return "failed", None, {"code": "server_error", "message": "The model's answer ended in an error."}
    return "completed", None, None


def _output(message: Wire, choice: Wire, request_id: str) -> list[Wire]:
    output: list[Wire] = []
    thought, details = parts.reasoning(message)
    if thought or details:
        output.append(parts.reasoning_item(parts.item_id("rs", request_id, 0), thought, details))
    content: list[Wire] = []
    said = parts.text(message.get("content"))
    if said:
        content.append(parts.text_part(said, parts.citations(message), parts.logprobs(choice)))
    refused = message.get("refusal")
    if isinstance(refused, str) and refused:
        content.append(parts.refusal_part(refused))
    rest = parts.unknown(message)
    if content or rest:
        id = parts.item_id("msg", request_id, len(output))
        output.append({**rest, **parts.message_item(id, content)})
    for call in parts.calls(message.get("tool_calls")):
        output.append(parts.call_item(parts.item_id("fc", request_id, len(output)), call))
    return output


def _usage(usage: Wire) -> Wire:
    """The tokens in this protocol's words; what else upstreams report (cost) stays beside them."""
    known = ("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "completion_tokens_details")
    rest = {name: value for name, value in usage.items() if name not in known}
    read, written = usage.get("prompt_tokens_details"), usage.get("completion_tokens_details")
    came, went = _count(usage, "prompt_tokens"), _count(usage, "completion_tokens")
    return {
        **rest,
        "input_tokens": came,
        "input_tokens_details": {
            "cached_tokens": _count(read, "cached_tokens"),
            "cache_write_tokens": _count(read, "cache_write_tokens"),
        },
        "output_tokens": went,
        "output_tokens_details": {"reasoning_tokens": _count(written, "reasoning_tokens")},
        "total_tokens": _count(usage, "total_tokens") or came + went,
    }


def _count(table: Any, name: str) -> int:
    value = table.get(name) if isinstance(table, dict) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else 0
