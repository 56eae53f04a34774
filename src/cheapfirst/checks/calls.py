"""Reads the tool calls of an answer: from the message's `tool_calls`, or from text when the model wrote them there."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from cheapfirst.checks.parse import Parsed, Unparsed, parse
from cheapfirst.messages import Step


def read(
    message: dict[str, Any], tools: list[dict[str, Any]], *, align: Collection[str] | None = None
) -> Parsed | Unparsed:
    """The calls in an assistant's message as `[{"name": ..., "arguments": {...}}, ...]`. Never raises.

    `tools` are the declarations of the request; `align` as in `parse.parse`.
    """
    schemas = {tool["function"]["name"]: tool["function"].get("parameters") for tool in tools}
    calls: list[dict[str, Any]] = []
    trail: list[Step] = []
    for call in message.get("tool_calls") or []:
        function = call["function"]
        if function["name"] not in schemas:
            return Unparsed("calls.unknown_tool", "A tool was called that the request does not declare.")
        result = parse(function.get("arguments") or "{}", schemas[function["name"]], align=align)
        if isinstance(result, Unparsed):
            return result
        calls.append({"name": function["name"], "arguments": result.value})
        trail += result.trail
    if not calls:
        return Unparsed("calls.none", "The answer holds no tool call.")
    return Parsed(calls, tuple(trail))
