"""The simulator's tokenizer: plain, deterministic, about four characters of English a token."""

from __future__ import annotations

import re
from collections.abc import Sequence

import msgspec

from cheapfirst.messages import Wire
from cheapfirst.simulator.answerer import text_of

# A word takes its leading space along; scripts that real tokenizers know less well get shorter pieces.
_PIECE = re.compile(
    r" ?[A-Za-z]{1,6}| ?[\u00c0-\u024f]{1,4}| ?[0-9]{1,3}| ?[\u0370-\u06ff]{1,3}|\s{1,4}|[^\w\s]{1,2}|.", re.DOTALL
)
_PER_MESSAGE = 4  # role and separators
_PER_MEDIA = 1000  # an image, file or sound, whatever its size


def pieces(text: str) -> list[str]:
    """Split a text into tokens; joined again they are the text."""
    return _PIECE.findall(text)


def count(text: str) -> int:
    """How many tokens a text has."""
    return len(_PIECE.findall(text))


def of_message(message: Wire) -> int:
    """Tokens of one message: its text, its media, its tool calls, and a few for the frame."""
    content = message.get("content")
    media = sum(1 for part in content if part.get("type") != "text") if isinstance(content, list) else 0
    calls = count(msgspec.json.encode(message["tool_calls"]).decode()) if message.get("tool_calls") else 0
    return _PER_MESSAGE + count(text_of(content)) + media * _PER_MEDIA + calls


def of_messages(messages: Sequence[Wire]) -> list[int]:
    """Tokens of each message, in order."""
    return [of_message(message) for message in messages]


def of_tools(body: Wire) -> int:
    """Tokens of what stands in the prompt beside the messages: declared tools and the answer's schema."""
    beside = [body[name] for name in ("tools", "response_format") if body.get(name)]
    return sum(count(msgspec.json.encode(part).decode()) for part in beside)
