"""Turns a Messages request into a chat-completions body. Pure."""

from __future__ import annotations

from cheapfirst.gateway.faces.messages import blocks
from cheapfirst.gateway.faces.messages.erring import unsupported, wrong
from cheapfirst.messages import Wire

_TURNED = frozenset(
    [
        "messages",
        "system",
        "max_tokens",
        "stop_sequences",
        "metadata",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "output_format",
        "service_tier",
    ]
)
_ELSEWHERE = ("mcp_servers", "container")
_CHOICES = {"auto": "auto", "any": "required", "none": "none"}


def read(body: Wire) -> Wire:
    """Return the chat-completions body. Raises Refused (400) for what it cannot say. Unknown fields stay."""
    for name in _ELSEWHERE:
        if body.get(name):
            raise unsupported(name, f"{name} works only on Anthropic's own servers; leave it out.")
    made: Wire = {name: value for name, value in body.items() if name not in _TURNED and value is not None}
    made["messages"] = [*blocks.system(body.get("system")), *blocks.messages(body.get("messages"))]
    room = body.get("max_tokens")
    if isinstance(room, bool) or not isinstance(room, int) or room < 1:
        raise wrong("max_tokens", "max_tokens is required: a whole number of tokens, 1 or more.")
    made["max_tokens"] = room
    if body.get("stop_sequences"):
        made["stop"] = _texts(body["stop_sequences"], "stop_sequences")
    if body.get("service_tier") is not None:
        made["service_tier"] = "default" if body["service_tier"] == "standard_only" else body["service_tier"]
    _metadata(body.get("metadata"), made)
    _tools(body.get("tools"), made)
    _choice(body.get("tool_choice"), made)
    _thinking(body.get("thinking"), made)
    _output(body, made)
    return made


def _metadata(given: object, made: Wire) -> None:
    if given is None:
        return
    if not isinstance(given, dict):
        raise wrong("metadata", "metadata must be an object of texts.")
    rest = {name: value for name, value in given.items() if name != "user_id" and value is not None}
    if rest:
        made["metadata"] = rest
    user = given.get("user_id")
    if user is not None:
        if not isinstance(user, str):
            raise wrong("metadata.user_id", "metadata.user_id must be a text.")
        made["user"] = user


def _tools(given: object, made: Wire) -> None:
    if given is None or given == []:
        return
    if not isinstance(given, list):
        raise wrong("tools", "tools must be a list.")
    made["tools"] = [_tool(tool, f"tools[{number}]") for number, tool in enumerate(given)]


def _tool(tool: object, where: str) -> Wire:
    if not isinstance(tool, dict):
        raise wrong(where, "Each tool is an object with a name and an input_schema.")
    kind = tool.get("type")
    if isinstance(kind, str) and kind.startswith("openrouter:"):
        return tool
    if kind not in (None, "custom"):
        raise unsupported(
            f"{where}.type",
            f"Tools of type {str(kind)[:60]} run on Anthropic's own servers; give the tool a name and an input_schema, "
            "and run it yourself.",
        )
    name, schema = tool.get("name"), tool.get("input_schema")
    if not isinstance(name, str) or not name:
        raise wrong(f"{where}.name", "A tool has a name.")
    if not isinstance(schema, dict):
        raise wrong(f"{where}.input_schema", "input_schema must be a JSON schema.")
    function: Wire = {"name": name, "parameters": schema}
    for same in ("description", "strict"):
        if tool.get(same) is not None:
            function[same] = tool[same]
    known = ("type", "name", "input_schema", "description", "strict")
    rest = {name: value for name, value in tool.items() if name not in known and value is not None}
    return {**rest, "type": "function", "function": function}


def _choice(given: object, made: Wire) -> None:
    if given is None:
        return
    kind = given.get("type") if isinstance(given, dict) else None
    if not isinstance(given, dict) or not isinstance(kind, str) or kind not in (*_CHOICES, "tool"):
        raise wrong("tool_choice", "tool_choice is an object whose type is auto, any, tool or none.")
    if kind == "tool":
        name = given.get("name")
        if not isinstance(name, str) or not name:
            raise wrong("tool_choice.name", "tool_choice of type tool names the tool.")
        made["tool_choice"] = {"type": "function", "function": {"name": name}}
    else:
        made["tool_choice"] = _CHOICES[kind]
    if given.get("disable_parallel_tool_use") is True:
        made["parallel_tool_calls"] = False


def _thinking(given: object, made: Wire) -> None:
    if given is None:
        return
    kind = given.get("type") if isinstance(given, dict) else None
    if not isinstance(given, dict) or not isinstance(kind, str):
        raise wrong("thinking", "thinking is an object whose type is enabled, adaptive or disabled.")
    reasoning: Wire = {"enabled": kind != "disabled"}
    budget = given.get("budget_tokens")
    if kind == "enabled":
        if isinstance(budget, bool) or not isinstance(budget, int) or budget < 1:
            raise wrong("thinking.budget_tokens", "thinking.budget_tokens is a whole number of tokens.")
        reasoning = {"max_tokens": budget}
    if given.get("display") == "omitted":
        reasoning["exclude"] = True
    made["reasoning"] = reasoning


def _output(body: Wire, made: Wire) -> None:
    config = body.get("output_config")
    if not isinstance(config, dict | None):
        raise wrong("output_config", "output_config must be an object.")
    wanted = (config or {}).get("format") or body.get("output_format")
    if (config or {}).get("effort") is not None:
        made["verbosity"] = (config or {})["effort"]  # OpenRouter's word for Anthropic's effort
    if not wanted:
        return
    if (
        not isinstance(wanted, dict)
        or wanted.get("type") != "json_schema"
        or not isinstance(wanted.get("schema"), dict)
    ):
        raise wrong("output_config.format", "A format has the type json_schema and a schema.")
    named = {"name": "answer", "strict": True, "schema": wanted["schema"]}
    made["response_format"] = {"type": "json_schema", "json_schema": named}


def _texts(given: object, where: str) -> list[str]:
    if not isinstance(given, list) or not all(isinstance(one, str) for one in given):
        raise wrong(where, f"{where} must be a list of texts.")
    return given
