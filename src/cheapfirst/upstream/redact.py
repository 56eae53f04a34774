"""Makes an upstream's error message fit to be shown: short, without keys, without the request's own words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

SHOWN = 200
"""Characters of an upstream's message that are shown at most."""
STRETCH = 12
"""Characters that, found in the request's messages too, are taken out."""

_LOOKED_AT = 1_000
_LARGEST_REQUEST = 1_000_000  # characters; comparing with more would hold up the event loop
_SPACE = re.compile(r"(?:\s|\\[nrtfb]|[\x00-\x1f\x7f])+")
_KEY = re.compile(
    r"(?i:bearer|basic)\s+\S+"
    r"|\b(?:sk|pk|rk)[-_][^\s\"',;)}\]]{4,}"
    r"|\b(?:key|org|proj|user|xai|gsk|hf|ghp|glpat)[-_](?=\S*\d)[^\s\"',;)}\]]{4,}"
    r"|\bAIza[\w-]{8,}"
    r"|\beyJ[\w-]+\.[\w.-]+"
    r"|(?<![\w-])(?=[\w-]*[A-Za-z])(?=[\w-]*\d)[\w-]{32,}(?![\w-])"
)


def clean(message: str, texts: Iterable[str], *, secrets: Iterable[str] = ()) -> str:
    """Return `message` on one line, at most SHOWN characters, without keys and without any stretch of
    STRETCH or more characters that also stands in one of `texts` (compared without case and line ends).

    `secrets` are removed wherever they stand. Empty when the texts are too large to compare with.
    """
    shown = message
    for secret in secrets:
        if secret:
            shown = shown.replace(secret, "[key]")
    shown = _KEY.sub("[key]", _SPACE.sub(" ", shown).strip())[:_LOOKED_AT]
    if not shown:
        return ""
    known: list[str] = []
    size = 0
    for text in texts:
        size += len(text)
        if size > _LARGEST_REQUEST:
            return ""
        known.append(_folded(_SPACE.sub(" ", text)))
    shown = _without(shown, "\0".join(known)).strip()
    return shown if len(shown) <= SHOWN else shown[: SHOWN - 1] + "…"


def texts_of(messages: Any) -> Iterator[str]:
    """Every string inside the messages, apart from inline data such as images."""
    if isinstance(messages, str):
        if not messages.startswith("data:"):
            yield messages
    elif isinstance(messages, dict):
        for value in messages.values():
            yield from texts_of(value)
    elif isinstance(messages, list | tuple):
        for value in messages:
            yield from texts_of(value)


def _without(shown: str, known: str) -> str:
    folded = _folded(shown)
    kept: list[str] = []
    at = 0
    while at < len(shown):
        end = at + STRETCH
        if end > len(shown) or folded[at:end] not in known:
            kept.append(shown[at])
            at += 1
            continue
        while end < len(shown) and folded[end - STRETCH + 1 : end + 1] in known:
            end += 1
        kept.append("[…]")
        at = end
    return "".join(kept)


def _folded(text: str) -> str:
    """Lower case, character by character, so that positions stay."""
    lower = text.lower()
    if len(lower) == len(text):
        return lower
    return "".join(low if len(low := char.lower()) == 1 else char for char in text)
