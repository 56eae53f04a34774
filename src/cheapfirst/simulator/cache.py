"""Prompt caches of simulated providers, and the stickiness that keeps a conversation on one host."""

from __future__ import annotations

import hashlib
import random
from typing import Any

import msgspec
from msgspec import Struct, field

from cheapfirst.messages import Wire
from cheapfirst.simulator import tokens
from cheapfirst.simulator.models import SimModel

_STICKY_SECONDS = 600.0  # of idleness
_PREFIXES = 100_000  # remembered at most; the least recently used goes first


class Split(Struct, frozen=True):
    """How much of a prompt was read from the cache and written to it, in tokens."""

    cached: int = 0
    written: int = 0


class PromptCaches(Struct, kw_only=True):
    """What the providers remember: prefixes of prompts by model and host, with their time of death."""

    prefixes: dict[tuple[str, int, bytes], float] = field(default_factory=dict)
    sticky: dict[tuple[str, bytes], tuple[int, float]] = field(default_factory=dict)  # host, last use

    def host(self, model: SimModel, body: Wire, session: str | None, rng: random.Random, now: float) -> int:
        """Choose the host that serves a request; the same conversation goes where it went before.

        The key is the session, else `prompt_cache_key`, else the first system and the first other message.
        A request that names a provider order is not kept together.
        """
        drawn = rng.randrange(model.hosts)
        if model.hosts == 1 or (body.get("provider") or {}).get("order"):
            return drawn
        key = (model.id, _conversation(body, session))
        host, used = self.sticky.pop(key, (drawn, now))
        if now - used > _STICKY_SECONDS:
            host = drawn
        self.sticky[key] = (host, now)
        if len(self.sticky) > _PREFIXES:
            del self.sticky[next(iter(self.sticky))]
        return host

    def split(self, model: SimModel, body: Wire, host: int, now: float) -> Split:
        """Look a prompt up, and remember it. `now` is monotonic seconds."""
        caching = model.caching
        messages = body["messages"]
        last = len(messages) if caching.mode == "automatic" else _marked(body)
        if caching.mode == "off" or last == 0:
            return Split()
        lengths = tokens.of_messages(messages[:last])
        digest = hashlib.sha256(model.id.encode())
        cached = length = 0
        keys: list[tuple[str, int, bytes]] = []
        for message, size in zip(messages, lengths, strict=False):
            digest.update(msgspec.json.encode(_unmarked(message), order="sorted"))
            length += size
            if length < caching.min_tokens:
                continue
            key = (model.id, host, digest.digest())
            keys.append(key)
            if self.prefixes.get(key, 0.0) > now:
                cached = length
        for key in keys:
            self.prefixes.pop(key, None)
            self.prefixes[key] = now + caching.ttl
        while len(self.prefixes) > _PREFIXES:
            del self.prefixes[next(iter(self.prefixes))]
        written = length - cached if caching.mode == "explicit" and keys else 0
        return Split(cached, written)


def _conversation(body: Wire, session: str | None) -> bytes:
    named = session or body.get("prompt_cache_key")
    if named:
        return str(named).encode()
    messages = body["messages"]
    system = next((m for m in messages if m.get("role") in ("system", "developer")), None)
    other = next((m for m in messages if m.get("role") not in ("system", "developer")), None)
    return hashlib.sha256(msgspec.json.encode([system, other], order="sorted")).digest()


def _marked(body: Wire) -> int:
    """How many messages stand before and at the last cache mark; a mark at the top level covers all."""
    messages = body["messages"]
    if body.get("cache_control"):
        return len(messages)
    for index in range(len(messages), 0, -1):
        content = messages[index - 1].get("content")
        if isinstance(content, list) and any(_is_mark(part) for part in content):
            return index
    return 0


def _is_mark(part: Any) -> bool:
    return isinstance(part, dict) and bool(part.get("cache_control") or part.get("prompt_cache_breakpoint"))


def _unmarked(message: Wire) -> Wire:
    """A message without its cache marks, so that moving the mark on does not lose the prefix."""
    content = message.get("content")
    if not isinstance(content, list):
        return message
    marks = ("cache_control", "prompt_cache_breakpoint")
    return {**message, "content": [{k: v for k, v in part.items() if k not in marks} for part in content]}
