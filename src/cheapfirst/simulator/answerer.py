"""What the simulator asks of whoever makes its answers up, and the plainest such maker: an echo."""

from __future__ import annotations

import random
from typing import Literal, Protocol, TypeAlias

import msgspec
from msgspec import Struct

from cheapfirst.messages import Wire
from cheapfirst.simulator import sample

Skill: TypeAlias = Literal["cheap", "premium"]
Finish: TypeAlias = Literal["stop", "length", "content_filter"]


class Made(Struct, frozen=True, kw_only=True):
    """An answer made up in code, before the wire dresses, bills, cuts or breaks it."""

    text: str = ""
    refusal: bool = False  # the text is a refusal: sent as `message.refusal` too
    finish: Finish = "stop"  # `length`: the maker itself stopped in the middle
    reasoning: str = ""


class Answerer(Protocol):
    """Makes answers up. The same skill, body and random state must give the same answer."""

    def __call__(self, skill: Skill, body: Wire, rng: random.Random, /) -> Made:
        """Answer `body` (a chat-completions request) as a model of this skill would."""
        ...


def echo(skill: Skill, body: Wire, rng: random.Random) -> Made:
    """Answer with the last user message's own text, or with plain values for the JSON schema that was asked for."""
    wanted = body.get("response_format") or {}
    if wanted.get("type") == "json_schema":
        schema = (wanted.get("json_schema") or {}).get("schema")
        return Made(text=msgspec.json.encode(sample.fill(schema, rng)).decode())
    for message in reversed(body.get("messages") or []):
        if message.get("role") == "user":
            return Made(text=text_of(message.get("content")) or "(nothing said)")
    return Made(text="(nothing said)")


def text_of(content: object) -> str:
    """The text of a message's content: the string itself, or its text parts joined by newlines."""
    if isinstance(content, str):
        return content
    if isinstance(content, list):
        parts = (part.get("text") for part in content if isinstance(part, dict) and part.get("type") == "text")
        return "\n".join(part for part in parts if isinstance(part, str))
    return ""
