"""Whether a model can take a request at all: its window, its parameters, the account, the caller's constraints."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from msgspec import Struct

from cheapfirst.errors import SimulatorError
from cheapfirst.messages import Wire
from cheapfirst.simulator import tokens
from cheapfirst.simulator.failures import Failure, failure, filtered, too_long, unaffordable
from cheapfirst.simulator.generation import asked_room, room_of
from cheapfirst.simulator.models import SimModel
from cheapfirst.simulator.pricing import prices, worst_case


class Candidate(Struct, frozen=True, kw_only=True):
    """A model with the request as it reaches its provider."""

    model: SimModel
    body: Wire  # without the parameters that the model does not support
    prompt: int  # tokens
    room: int  # tokens


def candidate(model: SimModel, body: Wire, balance: Decimal | None) -> Candidate | Failure:
    """Prepare a request for a model, or say why it cannot take it. `balance` is USD; None: unlimited."""
    refused = _constraints(model, body)
    if refused is not None:
        return refused
    kept = _supported(model, body)
    prompt = sum(tokens.of_messages(body["messages"])) + tokens.of_tools(kept)
    room = room_of(body, model)
    if prompt + (asked_room(body) or 1) > model.context:
        return too_long(model.context, prompt, asked_room(body) or 0)
    if balance is not None:
        short = _too_dear(model, prompt, room, balance)
        if short is not None:
            return short
    return Candidate(model=model, body=kept, prompt=prompt, room=room)


def _constraints(model: SimModel, body: Wire) -> Failure | None:
    slug = model.id
    if body.get("tools") and not model.supports("tools"):
        return filtered(slug, "No endpoints found that support tool use.", "require_parameters", "tools")
    if _has_images(body) and "image" not in model.input_modalities:
        return filtered(slug, "No endpoints found that support image input", "require_parameters", "image")
    wanted = body.get("provider")
    if not wanted:
        return None
    lacking = [name for name in _asked_parameters(body) if not model.supports(name)]
    if wanted.get("require_parameters") and lacking:
        message = "No endpoints found that can handle the requested parameters."
        return filtered(slug, message, "require_parameters", ", ".join(lacking))
    only = {str(name).lower() for name in wanted.get("only") or []}
    ignored = {str(name).lower() for name in wanted.get("ignore") or []}
    provider = model.provider.lower().replace(" ", "-")
    if (only and provider not in only) or provider in ignored:
        return filtered(slug, f"No endpoints found for {slug}.", "allowed_providers", provider)
    ceiling = wanted.get("max_price")
    if isinstance(ceiling, dict):
        now = prices(model, 0)
        for name, price in (("prompt", now.input), ("completion", now.output)):
            if name in ceiling and _decimal(ceiling[name]) < price:
                return filtered(slug, f"No endpoints found for {slug}.", "max_price", name)
    return None


def _decimal(value: Any) -> Decimal:
    try:
        return Decimal(repr(value) if isinstance(value, float) else str(value))
    except ArithmeticError:
        raise SimulatorError(f"provider.max_price: {value!r} is not a price in USD per million tokens") from None


def _has_images(body: Wire) -> bool:
    contents = (message.get("content") for message in body["messages"])
    return any(
        isinstance(part, dict) and part.get("type") == "image_url"
        for content in contents
        if isinstance(content, list)
        for part in content
    )


def _asked_parameters(body: Wire) -> list[str]:
    """Parameters by the names that `supported_parameters` uses."""
    asked = [
        name for name in ("tools", "tool_choice", "reasoning", "temperature", "top_p", "seed", "stop") if body.get(name)
    ]
    kind = (body.get("response_format") or {}).get("type")
    if kind in ("json_object", "json_schema"):
        asked.append("response_format")
    if kind == "json_schema":
        asked.append("structured_outputs")
    return asked


def _supported(model: SimModel, body: Wire) -> Wire:
    """The body as the provider sees it: what it does not support is silently left out."""
    lacking = {name for name in _asked_parameters(body) if not model.supports(name)}
    if "structured_outputs" in lacking:
        lacking.add("response_format")
    return {name: value for name, value in body.items() if name not in lacking}


def _too_dear(model: SimModel, prompt: int, room: int, balance: Decimal) -> Failure | None:
    pico = int(balance * 10**12)
    if pico <= 0:
        return failure(402, "Insufficient credits. Add more using https://openrouter.ai/settings/credits",
                       "payment_required")  # fmt: skip
    if worst_case(model, prompt, room) <= pico:
        return None
    floor = worst_case(model, prompt, 0)
    each = worst_case(model, prompt, 1) - floor
    return unaffordable(room, max(0, (pico - floor) // each) if each else 0)
