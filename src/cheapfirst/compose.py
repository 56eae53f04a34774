"""Writes the wire body of one attempt: the caller's own fields plus what the plan and the route add. Pure.

What the caller set is kept, unknown fields included. Added: model (and fallbacks), room, the route's
instructions where the caller brought none, the structured-output form, and on a re-ask the verdict.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from cheapfirst.messages import Attempt, Finding, Form, Planned, Request, Wire
from cheapfirst.policy.load import is_openrouter
from cheapfirst.policy.table import Policy, Route


def body(
    request: Request,
    planned: Planned,
    route: Route,
    policy: Policy,
    *,
    form: Form | None = None,
    reask: Attempt | None = None,
    stream: bool = False,
) -> Wire:
    """Return the complete JSON object to send. `form` overrides the planned one after a downgrade;
    `reask` is the rejected attempt whose verdict the model is shown."""
    form = form or planned.form
    wire: Wire = {**route.params, **request.body}
    wire["model"] = planned.model
    if planned.fallbacks and native_fallback(policy):
        wire["models"] = [planned.model, *planned.fallbacks]
    wire.pop("max_completion_tokens", None)
    wire["max_tokens"] = planned.max_tokens
    temperature = 0.0 if route.temperature is None and route.shape == "json" else route.temperature
    if temperature is not None:
        wire.setdefault("temperature", temperature)
    instructions = [_prompt(request, planned, route), _instructions(request, form)]
    wire["messages"] = _with_system(request.body["messages"], "\n\n".join(text for text in instructions if text))
    if reask is not None:
        wire["messages"] = [*wire["messages"], *_reask(reask)]
    if form == "json_schema" and request.schema is not None:
        if not _asks_for_schema(wire):  # the caller's own keeps its name, its description and its strictness
            wire["response_format"] = {
                "type": "json_schema",
                "json_schema": {"name": "answer", "strict": is_strict(request.schema), "schema": request.schema},
            }
        if speaks_openrouter(policy):
            provider = wire.get("provider")
            wire["provider"] = {"require_parameters": True, **(provider if isinstance(provider, dict) else {})}
    elif form == "json_object":
        wire["response_format"] = {"type": "json_object"}
    elif form == "prompt":
        wire.pop("response_format", None)
    if request.session is not None and speaks_openrouter(policy):
        wire.setdefault("session_id", request.session[:256])
    if stream:
        wire["stream"] = True
        options = wire.get("stream_options")
        wire["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
    else:
        wire.pop("stream_options", None)
    return wire


def _asks_for_schema(wire: Wire) -> bool:
    wanted = wire.get("response_format")
    return isinstance(wanted, dict) and wanted.get("type") == "json_schema"


def speaks_openrouter(policy: Policy) -> bool:
    """Whether the upstream is OpenRouter itself, or one told to be spoken to like it (`native_fallback = true`)."""
    return is_openrouter(policy.upstream.base_url) or bool(policy.upstream.native_fallback)


def native_fallback(policy: Policy) -> bool:
    """Whether to send the upstream's own `models` array."""
    given = policy.upstream.native_fallback
    return speaks_openrouter(policy) if given is None else given


def is_strict(schema: Wire) -> bool:
    """Whether the schema is within OpenAI's strict subset as far as objects go: every property required,
    no additional ones. Providers answer 400 to `strict: true` with any other schema."""
    pending: list[object] = [schema]
    while pending:
        node = pending.pop()
        if isinstance(node, list):
            pending.extend(node)
        elif isinstance(node, dict):
            properties = node.get("properties")
            if isinstance(properties, dict):
                if node.get("additionalProperties") is not False:
                    return False
                required = node.get("required")
                if set(properties) != set(required if isinstance(required, list) else ()):
                    return False
                pending.extend(properties.values())
            elif node.get("type") == "object":
                return False
            pending.extend(value for key, value in node.items() if key not in ("properties", "enum", "const"))
    return True


def _prompt(request: Request, planned: Planned, route: Route) -> str | None:
    """The route's instructions for this model; none when the caller brought a system message."""
    if any(isinstance(m, dict) and m.get("role") in ("system", "developer") for m in request.body["messages"]):
        return None
    return route.prompts.get(planned.model) or route.prompts.get(planned.tier) or route.prompt


def _instructions(request: Request, form: Form) -> str | None:
    """What a model that takes no JSON Schema is told instead. `json_object` needs the word JSON in the prompt."""
    if form not in ("json_object", "prompt"):
        return None
    if request.schema is None:
        return "Answer with one JSON value and nothing else."
    schema = msgspec.json.encode(request.schema, order="sorted").decode()
    return f"Answer with one JSON value that is valid under this JSON Schema, and nothing else:\n{schema}"


def _with_system(messages: Sequence[Wire], text: str) -> list[Wire]:
    """Put `text` into the system message, behind what stands there, so that the caller's cached prefix stays."""
    if not text:
        return list(messages)
    first = messages[0]
    if isinstance(first, dict) and first.get("role") in ("system", "developer"):
        content = first.get("content")
        if isinstance(content, str):
            return [{**first, "content": f"{content}\n\n{text}"}, *messages[1:]]
        if isinstance(content, list):
            return [{**first, "content": [*content, {"type": "text", "text": text}]}, *messages[1:]]
    return [{"role": "system", "content": text}, *messages]


def _reask(rejected: Attempt) -> list[Wire]:
    findings: tuple[Finding, ...] = rejected.verdict.findings if rejected.verdict is not None else ()
    wrong = "\n".join(f"- {finding.sentence}" for finding in findings)
    return [
        {"role": "assistant", "content": rejected.outcome.text or "(no text)"},
        {
            "role": "user",
            "content": f"That answer was checked and is not acceptable:\n{wrong}\nAnswer again, correctly.",
        },
    ]
