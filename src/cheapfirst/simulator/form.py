"""Whether a request has the form of a chat completion, and which models it names."""

from __future__ import annotations

from typing import Any

from cheapfirst.messages import Wire
from cheapfirst.simulator.failures import Failure, failure

_MAX_MODELS = 3
_TOLD: dict[type, str] = {
    dict: "an object",
    list: "an array",
    int: "a whole number",
    str: "a string",
    bool: "true or false",
}
_FIELDS: dict[str, type] = {
    "response_format": dict,
    "provider": dict,
    "metadata": dict,
    "reasoning": dict,
    "tools": list,
    "stream": bool,
    "max_tokens": int,
    "max_completion_tokens": int,
}
_INNER: tuple[tuple[str, str, type], ...] = (
    ("response_format", "json_schema", dict),
    ("response_format", "type", str),
    ("reasoning", "effort", str),
    ("reasoning", "max_tokens", int),
    ("tool_choice", "function", dict),
    ("provider", "only", list),
    ("provider", "ignore", list),
    ("provider", "max_price", dict),
)


def asked_models(body: Any) -> list[str] | Failure:
    """Check a request's form and name the models to try, in order."""
    if not isinstance(body, dict):
        return failure(400, "The request body must be a JSON object", "invalid_request")
    messages = body.get("messages")
    if not isinstance(messages, list) or not messages:
        return failure(400, 'Input required: specify "messages"', "invalid_request")
    wrong = next((sentence for message in messages if (sentence := _wrong_message(message))), None) or _wrong_field(
        body
    )
    if wrong:
        return failure(400, wrong, "invalid_request")
    more = body.get("models") or []
    if not isinstance(more, list) or not all(isinstance(name, str) for name in more):
        return failure(400, "'models' must be an array of strings", "invalid_request")
    if len(more) > _MAX_MODELS:
        return failure(400, f"'models' array must have {_MAX_MODELS} items or fewer.", "invalid_request")
    first = body.get("model")
    if first is not None and not isinstance(first, str):
        return failure(400, "'model' must be a string", "invalid_request")
    names = list(dict.fromkeys([first, *more] if first else more))
    return names or failure(400, "No models provided", "invalid_request")


def _wrong_message(message: Any) -> str | None:
    if not isinstance(message, dict) or not isinstance(message.get("role"), str):
        return "messages: each one is an object with a role"
    content = message.get("content")
    if not isinstance(content, str | list | None):
        return "messages: content is a string, a list of parts or null"
    if isinstance(content, list) and not all(isinstance(part, dict) for part in content):
        return "messages: each part of a content is an object with a type"
    return None


def _wrong_field(body: Wire) -> str | None:
    for name, kind in _FIELDS.items():
        value = body.get(name)
        if value is not None and (not isinstance(value, kind) or (kind is int and (value is True or value is False))):
            return f"{name}: expected {_TOLD[kind]}"
    for name in ("max_tokens", "max_completion_tokens"):
        if body.get(name) is not None and body[name] < 1:
            return f"{name}: expected a number of at least 1"
    for name, inner, kind in _INNER:
        value = (body.get(name) or {}).get(inner) if isinstance(body.get(name), dict) else None
        if value is not None and not isinstance(value, kind):
            return f"{name}.{inner}: expected {_TOLD[kind]}"
    if not all(
        isinstance(tool, dict) and isinstance(tool.get("function", {}), dict) for tool in body.get("tools") or []
    ):
        return "tools: each one is an object with a function"
    return None
