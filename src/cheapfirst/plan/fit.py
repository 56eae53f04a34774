"""What a request needs of a model, and whether a model has it. Pure: no I/O, no tokenizer."""

from __future__ import annotations

from decimal import Decimal
from typing import Literal

from msgspec import Struct

from cheapfirst.catalog import Catalog, Model
from cheapfirst.errors import RequestError
from cheapfirst.messages import Request, Wire
from cheapfirst.money import show
from cheapfirst.policy.table import Policy, Route

CHARACTERS_PER_TOKEN = 3
"""Deliberately low (English averages about four), so that a prompt judged to fit does fit."""
IMAGE_TOKENS = 1600
"""What one image is taken to cost; providers charge about 85 to 1,600 tokens at their default detail."""
MOST_TOKENS = 2**31 - 1
"""More room than any model has: what is asked for beyond it is cut to it."""
LEAST_ROOM = 1024
"""An answer gets at least this many tokens of room (or what the route asks for, if that is less)."""


class Needs(Struct, frozen=True, kw_only=True):
    """What a model must be able to do to take the request."""

    prompt_tokens: int
    max_tokens: int  # room of the first attempt
    most_tokens: int  # room of any attempt; the caller's own cap is a hard one
    images: bool
    tools: bool
    structured: Literal["schema", "json"] | None
    max_cost: Decimal | None


def needs_of(request: Request, route: Route, policy: Policy) -> Needs:
    body = request.body
    if not isinstance(body.get("messages"), list) or not body["messages"]:
        raise RequestError("the request has no messages: give a text or a list of chat messages")
    structured: Literal["schema", "json"] | None = None
    if request.schema is not None:
        structured = "schema"
    elif (route.shape == "json" or _wants_json(body)) and not body.get("tools"):
        structured = "json"
    extra = len(str(request.schema)) if request.schema is not None else 0
    extra += max((len(text) for text in (route.prompt or "", *route.prompts.values())), default=0)
    return Needs(
        prompt_tokens=estimate_tokens(body) + extra // CHARACTERS_PER_TOKEN,
        max_tokens=cap(body) or route.max_tokens,
        most_tokens=cap(body) or route.max_tokens * policy.limits.room,
        images=_has_images(body),
        tools=bool(body.get("tools")),
        structured=structured,
        max_cost=policy.limits.max_cost,
    )


def lacks(model: Model, needs: Needs, catalog: Catalog, at: float | None) -> str | None:
    """Return what the model lacks for these needs as a sentence, or None when it fits.

    What the catalog does not know is not held against a model, except a price when a cost ceiling is set.
    """
    room = min(needs.max_tokens, LEAST_ROOM)
    if model.context is not None and needs.prompt_tokens + room > model.context:
        return (
            f"the prompt (about {needs.prompt_tokens:,} tokens) and {room:,} tokens of answer "
            f"do not fit its context window of {model.context:,}"
        )
    if needs.images and model.vision is False:
        return "it cannot read images"
    if needs.tools and model.tools is False:
        return "it cannot call tools"
    if needs.max_cost is not None:
        worst = catalog.worst_case(model.id, needs.prompt_tokens, first_room(model, needs), at)
        if worst is None:
            return f"its price is unknown, so it cannot be held to max_cost {show(needs.max_cost)}"
        if worst > needs.max_cost:
            return f"its worst case {show(worst)} exceeds max_cost {show(needs.max_cost)}"
    return None


def most_output(model: Model, needs: Needs) -> int | None:
    """The most answer tokens the model can give to this prompt; None when the catalog does not know."""
    limits = [model.max_output] if model.max_output is not None else []
    if model.context is not None:
        limits.append(model.context - needs.prompt_tokens)
    return min(limits) if limits else None


def first_room(model: Model, needs: Needs) -> int:
    most = most_output(model, needs)
    return needs.max_tokens if most is None else max(1, min(needs.max_tokens, most))


def estimate_tokens(body: Wire) -> int:
    """Estimate the prompt's tokens from above, without a tokenizer: text by characters, images by a flat rate."""
    characters, images = 0, 0
    for message in body.get("messages") or ():
        content = message.get("content") if isinstance(message, dict) else None
        characters += 12  # role and separators
        if isinstance(content, str):
            characters += _weight(content)
        for part in content if isinstance(content, list) else ():
            if isinstance(part, dict) and isinstance(part.get("text"), str):
                characters += _weight(part["text"])
            elif isinstance(part, dict):
                images += 1
    for key in ("tools", "response_format"):
        if body.get(key):
            characters += len(str(body[key]))
    return characters // CHARACTERS_PER_TOKEN + images * IMAGE_TOKENS + 1


def cap(body: Wire) -> int | None:
    """The caller's own limit on answer tokens; it is a hard one, no attempt gets more room. None: absent."""
    caps = []
    for key in ("max_completion_tokens", "max_tokens"):
        value = body.get(key)
        if value is not None:
            if isinstance(value, bool) or not isinstance(value, int | float) or value < 1 or value % 1 != 0:
                raise RequestError(f"{key} must be a whole number of tokens, 1 or more; got {value!r}")
            caps.append(min(int(value), MOST_TOKENS))
    return caps[0] if caps else None


def _wants_json(body: Wire) -> bool:
    wanted = body.get("response_format")
    return isinstance(wanted, dict) and wanted.get("type") == "json_object"


def _has_images(body: Wire) -> bool:
    return any(
        isinstance(part, dict) and part.get("type") in ("image_url", "input_image", "image")
        for message in body.get("messages") or ()
        if isinstance(message, dict) and isinstance(message.get("content"), list)
        for part in message["content"]
    )


def _weight(text: str) -> int:
    """Characters, with those of dense scripts (about a token each) counted as a whole token."""
    if text.isascii():
        return len(text)
    dense = sum(1 for character in text if ord(character) > 0x2E7F)
    return len(text) + dense * (CHARACTERS_PER_TOKEN - 1)
