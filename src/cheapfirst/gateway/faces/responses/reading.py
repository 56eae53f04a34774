"""Turns a Responses request into a chat-completions one. Pure.

Fields that both protocols share, and fields that we do not know, stay as they are.
"""

from __future__ import annotations

from typing import Any

from cheapfirst.gateway.faces.responses.items import messages
from cheapfirst.gateway.faces.responses.wrong import not_stored, unsupported, wrong
from cheapfirst.messages import Wire

LOGPROBS = "message.output_text.logprobs"

OURS = frozenset(
    [
        "input",
        "instructions",
        "messages",
        "tools",
        "tool_choice",
        "text",
        "max_output_tokens",
        "max_tokens",
        "max_completion_tokens",
        "reasoning",
        "include",
        "store",
        "truncation",
        "max_tool_calls",
        "stream_options",
        "previous_response_id",
        "conversation",
        "prompt",
        "background",
    ]
)
"""Fields that mean something else in chat completions, or nothing there."""


def read(body: Wire) -> Wire:
    """Return the chat-completions body. Raises Refused for what cannot be said there, and for malformed fields."""
    for name in ("previous_response_id", "conversation", "prompt"):
        if body.get(name) is not None:
            raise not_stored(name)
    if body.get("background") is not None and body["background"] is not False:
        raise unsupported("background", "The gateway answers at once; leave background out.", code="unsupported_value")
    wire = {name: value for name, value in body.items() if name not in OURS and value is not None}
    wire["messages"] = messages(body.get("input"), body.get("instructions"))
    tools = _tools(body.get("tools"))
    choice, tools = _choice(body.get("tool_choice"), tools)
    if tools:
        wire["tools"] = tools
        if choice is not None:
            wire["tool_choice"] = choice
    elif "parallel_tool_calls" in wire:
        del wire["parallel_tool_calls"]  # upstreams refuse it without tools
    _put_text(wire, body.get("text"))
    _put_reasoning(wire, body.get("reasoning"))
    most = body.get("max_output_tokens")
    if most is not None:
        if isinstance(most, bool) or not isinstance(most, int | float) or most < 1 or most % 1 != 0:
            raise wrong("max_output_tokens", "max_output_tokens must be a whole number of tokens, 1 or more.")
        wire["max_tokens"] = most
    include = body.get("include")
    if include is not None and not isinstance(include, list):
        raise wrong("include", "include must be a list of texts.")
    if (include and LOGPROBS in include) or wire.get("top_logprobs"):
        wire["logprobs"] = True
    return wire


def _tools(given: Any) -> list[Wire]:
    if given is None:
        return []
    if not isinstance(given, list):
        raise wrong("tools", "tools must be a list of function tools.")
    return [_tool(tool, f"tools[{number}]") for number, tool in enumerate(given)]


def _tool(tool: Any, at: str) -> Wire:
    if not isinstance(tool, dict) or not isinstance(tool.get("type"), str):
        raise wrong(at, "Each tool is an object with a type.")
    kind = tool["type"]
    if kind.startswith("openrouter:"):  # the upstream's own tools have the same form in both protocols
        return tool
    if kind != "function":
        raise unsupported(
            at,
            f"The gateway has no tool of type {kind[:60]!r}: it runs no tools itself. Send function tools, and run "
            "them where you are.",
            code="unsupported_tool",
        )
    if isinstance(tool.get("function"), dict):
        return tool
    if not isinstance(tool.get("name"), str):
        raise wrong(f"{at}.name", "A function tool needs a name.")
    return {
        "type": "function",
        "function": {name: value for name, value in tool.items() if name != "type" and value is not None},
    }


def _choice(given: Any, tools: list[Wire]) -> tuple[Any, list[Wire]]:
    """The tool choice, and the tools that are left by it."""
    if given is None or given in ("auto", "none", "required"):
        return given, tools
    if not isinstance(given, dict):
        raise wrong("tool_choice", "tool_choice must be auto, none, required, or an object that names a function.")
    kind = given.get("type")
    if kind == "function":
        if isinstance(given.get("function"), dict):
            return given, tools
        if not isinstance(given.get("name"), str):
            raise wrong("tool_choice.name", "tool_choice must name the function.")
        return {"type": "function", "function": {"name": given["name"]}}, tools
    if kind == "allowed_tools":
        mode, allowed = given.get("mode", "auto"), given.get("tools")
        if mode not in ("auto", "required") or not isinstance(allowed, list):
            raise wrong("tool_choice", "allowed_tools needs a mode (auto or required) and a list of tools.")
        names = [tool.get("name") for tool in allowed if isinstance(tool, dict)]
        return mode, [tool for tool in tools if _name(tool) in names]
    raise unsupported(
        "tool_choice",
        "tool_choice can be auto, none, required, a function, or allowed_tools with functions.",
        code="unsupported_tool",
    )


def _name(tool: Wire) -> Any:
    function = tool.get("function")
    return function.get("name") if isinstance(function, dict) else None


def _put_text(wire: Wire, text: Any) -> None:
    if text is None:
        return
    if not isinstance(text, dict):
        raise wrong("text", "text must be an object with a format.")
    if text.get("verbosity") is not None:
        wire["verbosity"] = text["verbosity"]
    wanted = text.get("format")
    if wanted is None:
        return
    if not isinstance(wanted, dict):
        raise wrong("text.format", "text.format must be an object with a type.")
    kind = wanted.get("type")
    if kind == "json_schema":
        if not isinstance(wanted.get("schema"), dict):
            raise wrong("text.format.schema", "text.format of type json_schema needs a schema.")
        wire["response_format"] = {
            "type": "json_schema",
            "json_schema": {
                "name": "answer",
                **{name: value for name, value in wanted.items() if name != "type" and value is not None},
            },
        }
    elif kind == "json_object":
        wire["response_format"] = {"type": "json_object"}
    elif kind != "text":
        raise wrong("text.format.type", "text.format.type must be text, json_object or json_schema.")


def _put_reasoning(wire: Wire, reasoning: Any) -> None:
    """The standard word for the effort where that is all there is; else the object, which some upstreams read."""
    if reasoning is None:
        return
    if not isinstance(reasoning, dict):
        raise wrong("reasoning", "reasoning must be an object with an effort.")
    asked = {
        name: value
        for name, value in reasoning.items()
        if name not in ("summary", "generate_summary") and value is not None
    }
    if set(asked) == {"effort"}:
        wire["reasoning_effort"] = asked["effort"]
    elif asked:
        wire["reasoning"] = asked
