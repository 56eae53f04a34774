"""One generation: the answer as a simulated model gives it, cut to its room, counted and spoiled on request."""

from __future__ import annotations

import random
from typing import Any

import msgspec
from msgspec import Struct

from cheapfirst.messages import Wire
from cheapfirst.simulator import sample, tokens
from cheapfirst.simulator.answerer import Answerer, Made, text_of
from cheapfirst.simulator.models import SimModel
from cheapfirst.simulator.replay import Recording

_REFUSAL = "I'm sorry, but I can't help with that request."
_THOUGHT = "(simulated reasoning) Reading the request, weighing what is asked, checking the wanted form. "
_EFFORT = {"minimal": 20, "low": 40, "medium": 120, "high": 300, "xhigh": 600, "max": 600}
_FALLBACK_ROOM = 4096  # tokens that `reasoning_only` eats when the request sets no limit
_ANTHROPIC = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use", "content_filter": "refusal"}


class Generation(Struct, frozen=True, kw_only=True):
    """An answer before the wire: its parts, its finish and its size in tokens."""

    message: Wire  # as in choices[0].message
    finish: str | None
    native_finish: str | None
    completion: int  # tokens, reasoning included
    reasoning: int = 0  # tokens


def room_of(body: Wire, model: SimModel) -> int:
    """Tokens the answer may take: what the request allows, at most the model's own limit."""
    asked = asked_room(body)
    return model.max_output if asked is None else min(asked, model.max_output)


def asked_room(body: Wire) -> int | None:
    """`max_completion_tokens`, else `max_tokens`, else None."""
    asked = body.get("max_completion_tokens", body.get("max_tokens"))
    return asked if isinstance(asked, int) and asked > 0 else None


def make(model: SimModel, body: Wire, answerer: Answerer, rng: random.Random, faults: frozenset[str]) -> Generation:
    """Let the answerer answer, then cut, count and spoil. `body` holds only what the model supports."""
    tool = _chosen_tool(body, rng)
    room = room_of(body, model)
    made = answerer(model.skill, body if tool is None else _as_schema(body, tool), rng)
    thoughts = made.reasoning or _thoughts(body, model)
    if "reasoning_only" in faults:
        spent = asked_room(body) or min(room, _FALLBACK_ROOM)
        return _dressed(model, "", _THOUGHT, "length", spent, spent, hidden=_hidden(body))
    if faults & {"empty_insured", "empty_billed"}:
        blank = "empty_insured" in faults
        finish = None if blank else "stop"
        return Generation(message=_message(""), finish=finish, native_finish=_native(model, finish), completion=0)
    reasoning = min(tokens.count(thoughts), room)
    text, finish = _text(made, tool, body, rng, faults)
    parts = tokens.pieces(text)
    if len(parts) > room - reasoning:
        parts, finish = parts[: room - reasoning], "length"
    text = "".join(parts)
    refused = made.refusal or "refusal" in faults
    spent = reasoning + len(parts)
    if tool is not None and not refused:
        return _tool_call(model, tool, _spoiled_arguments(text, faults), finish, spent, rng)
    shown = _dressed(model, text, thoughts if reasoning else "", finish, spent, reasoning, hidden=_hidden(body))
    if refused:
        shown.message["refusal"] = text
    if "length_as_stop" in faults:
        return msgspec.structs.replace(shown, finish="stop", native_finish="max_tokens")
    return shown


def recorded(model: SimModel, recording: Recording) -> Generation:
    """A recorded answer as a generation; sizes as recorded, else counted."""
    message = recording.whole_message()
    calls = message.get("tool_calls")
    finish = recording.finish_reason or ("tool_calls" if calls else "stop")
    usage: Wire = recording.usage or {}
    counted = tokens.count(text_of(message.get("content")))
    if calls:
        counted += tokens.count(msgspec.json.encode(calls).decode())
    return Generation(
        message=message,
        finish=finish,
        native_finish=_native(model, finish),
        completion=usage.get("completion_tokens", counted),
        reasoning=(usage.get("completion_tokens_details") or {}).get("reasoning_tokens") or 0,
    )


def _text(made: Made, tool: Wire | None, body: Wire, rng: random.Random, faults: frozenset[str]) -> tuple[str, str]:
    """The text with its alterations, and how it finishes."""
    text, finish = made.text, str(made.finish)
    if tool is not None and "{" not in text:
        text = msgspec.json.encode(sample.fill(tool.get("parameters"), rng)).decode()
    for stop in _stops(body):
        text = text.split(stop, 1)[0]
    if faults & {"length", "length_error_chunk", "length_as_stop"}:
        return _half(text), "length"
    if "content_filter" in faults:
        return _half(text), "content_filter"
    if "refusal" in faults:
        return _REFUSAL, "stop"
    if "schema_ignored" in faults:
        return "Sure! Here is what I found in the text, in my own words (simulated).", finish
    if "fenced" in faults:
        return f"```json\n{text}\n```", finish
    if "prose" in faults:
        return f"Here is the answer:\n\n{text}\n\nLet me know if you need anything else!", finish
    if "trailing_comma" in faults:
        body_text = text.rstrip()
        return (f"{body_text[:-1]},{body_text[-1]}" if body_text[-1:] in ("}", "]") else text), finish
    return text, finish


def _half(text: str) -> str:
    parts = tokens.pieces(text)
    return "".join(parts[: max(1, len(parts) // 2)])


def _stops(body: Wire) -> list[str]:
    stop = body.get("stop")
    found = [stop] if isinstance(stop, str) else stop
    return [entry for entry in found or [] if isinstance(entry, str) and entry]


def _thoughts(body: Wire, model: SimModel) -> str:
    wanted = body.get("reasoning")
    if not isinstance(wanted, dict) or not model.supports("reasoning") or wanted.get("enabled") is False:
        return ""
    effort = wanted.get("effort") or "medium"
    size = wanted.get("max_tokens") or _EFFORT.get(effort, 0)
    return "".join(tokens.pieces(_THOUGHT * (size // 10 + 1))[:size])


def _hidden(body: Wire) -> bool:
    wanted = body.get("reasoning")
    return isinstance(wanted, dict) and bool(wanted.get("exclude"))


def _native(model: SimModel, finish: str | None) -> str | None:
    if finish is None:
        return None
    return _ANTHROPIC.get(finish, finish) if model.id.startswith("anthropic/") else finish


def _message(content: str | None) -> Wire:
    return {"role": "assistant", "content": content, "refusal": None, "reasoning": None}


def _dressed(
    model: SimModel, text: str, thoughts: str, finish: str, completion: int, reasoning: int, *, hidden: bool
) -> Generation:
    message = _message(text)
    if thoughts and not hidden:
        message["reasoning"] = thoughts
        message["reasoning_details"] = [{"type": "reasoning.text", "text": thoughts, "format": None, "index": 0}]
    return Generation(
        message=message, finish=finish, native_finish=_native(model, finish), completion=completion, reasoning=reasoning
    )


def _tool_call(
    model: SimModel, tool: Wire, arguments: str, finish: str, completion: int, rng: random.Random
) -> Generation:
    message = _message(None)
    call_id = f"call_{rng.getrandbits(96):024x}"
    function = {"name": tool.get("name"), "arguments": arguments}
    message["tool_calls"] = [{"id": call_id, "index": 0, "type": "function", "function": function}]
    final = "tool_calls" if finish == "stop" else finish
    size = completion + tokens.count(str(tool.get("name")))
    return Generation(message=message, finish=final, native_finish=_native(model, final), completion=size)


def _spoiled_arguments(arguments: str, faults: frozenset[str]) -> str:
    if "tool_args_empty" in faults:
        return ""
    return arguments[: max(1, len(arguments) * 2 // 3)] if "tool_args_broken" in faults else arguments


def _chosen_tool(body: Wire, rng: random.Random) -> Wire | None:
    """The function to call: the named one, else the one that shares most words with the request; None: text."""
    functions: list[Wire] = [
        t["function"] for t in body.get("tools") or [] if isinstance(t, dict) and t.get("function")
    ]
    choice = body.get("tool_choice", "auto")
    last = body["messages"][-1]
    if not functions or choice == "none" or (choice == "auto" and last.get("role") != "user"):
        return None
    if isinstance(choice, dict):
        wanted = (choice.get("function") or {}).get("name")
        return next((function for function in functions if function.get("name") == wanted), None)
    words = set(text_of(last.get("content")).lower().split())

    def shared(function: Wire) -> int:
        about = f"{function.get('name', '')} {function.get('description', '')}".lower().replace("_", " ")
        return len(words & set(about.split()))

    return max(functions, key=shared)


def _as_schema(body: Wire, tool: Wire) -> Wire:
    """The same request asking for the tool's arguments as structured output."""
    schema: Any = tool.get("parameters") or {"type": "object", "properties": {}}
    wanted = {"type": "json_schema", "json_schema": {"name": tool.get("name", "call"), "schema": schema}}
    rest = {name: value for name, value in body.items() if name not in ("tools", "tool_choice")}
    return {**rest, "response_format": wanted}
