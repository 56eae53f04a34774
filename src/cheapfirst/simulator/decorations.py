"""The harmless ways in which models write JSON loosely: the same value, which a tolerant reader gets back."""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from cheapfirst.simulator import schemas

Decoration: TypeAlias = Callable[[Any, Any, random.Random], "str | None"]
"""Value, its schema and chance -> the text; None where this value offers no place for it."""

_BEFORE = (
    "Here is the JSON you asked for:",
    "Sure! Based on the text, the answer is:",
    "I read the message carefully. This is the result:",
    "Below is the extracted data.",
)
_AFTER = ("Let me know if you need anything else!", "I hope this helps.", "All values are taken from the text.", "")
_THOUGHTS = (
    "The user wants a JSON answer. I should look for the relevant parts of the text first.",
    "Let me read this step by step. The important facts stand near the beginning.",
    "Okay, the fields are clear. Nothing else is needed.",
)
_NOTES = ("from the text", "as written", "see above", "main point")
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")


def written(value: Any, *, indent: int | None = None) -> str:
    """The value as clean JSON."""
    return json.dumps(value, ensure_ascii=False, indent=indent)


def fenced(value: Any, schema: Any, rng: random.Random) -> str | None:
    return f"```{rng.choice(('json', 'json', ''))}\n{written(value, indent=2)}\n```"


def prose_around(value: Any, schema: Any, rng: random.Random) -> str | None:
    if not isinstance(value, dict | list):
        return None
    return f"{rng.choice(_BEFORE)}\n\n{written(value, indent=2)}\n\n{rng.choice(_AFTER)}".strip()


def think_tags(value: Any, schema: Any, rng: random.Random) -> str | None:
    return f"<think>\n{rng.choice(_THOUGHTS)}\n</think>\n{written(value)}"


def trailing_comma(value: Any, schema: Any, rng: random.Random) -> str | None:
    text = written(value, indent=2)
    return f"{text[:-2]},\n{text[-1]}" if isinstance(value, dict | list) and value else None


def single_quotes(value: Any, schema: Any, rng: random.Random) -> str | None:
    if not _containers(value) or any(leaf is None or isinstance(leaf, bool) for leaf in _leaves(value)):
        return None
    return None if _awkward(value) else repr(value)


def python_literals(value: Any, schema: Any, rng: random.Random) -> str | None:
    if not _containers(value) or not any(leaf is None or isinstance(leaf, bool) for leaf in _leaves(value)):
        return None
    return None if _awkward(value) else repr(value)


def comments(value: Any, schema: Any, rng: random.Random) -> str | None:
    lines = written(value, indent=2).split("\n")
    if len(lines) < 3:
        return None
    at = rng.randrange(1, len(lines) - 1)
    lines[at] += f"  // {rng.choice(_NOTES)}"
    return "\n".join(lines)


def unquoted_keys(value: Any, schema: Any, rng: random.Random) -> str | None:
    if not isinstance(value, dict) or not value or not all(_PLAIN_KEY.match(key) for key in value):
        return None
    return "{" + ", ".join(f"{key}: {written(entry)}" for key, entry in value.items()) + "}"


def numbers_as_strings(value: Any, schema: Any, rng: random.Random) -> str | None:
    return _restyled(value, schema, _stringed)


def key_case(value: Any, schema: Any, rng: random.Random) -> str | None:
    style = rng.choice((_camel, _title))
    return _restyled(value, schema, lambda part, wanted: _rekeyed(part, wanted, style))


def _restyled(value: Any, schema: Any, change: Callable[[Any, Any], Any]) -> str | None:
    changed = change(value, schema)
    return None if changed == value else written(changed)


def _stringed(value: Any, schema: Any) -> Any:
    """Numbers as strings, only where the schema wants a number and nothing else."""
    whole = schemas.plain(schema, schema)
    if isinstance(value, dict) and whole:
        properties = whole.get("properties") or {}
        return {
            key: written(entry)
            if isinstance(entry, int | float)
            and not isinstance(entry, bool)
            and (properties.get(key) or {}).get("type") in ("number", "integer")
            else entry
            for key, entry in value.items()
        }
    return value


def _rekeyed(value: Any, schema: Any, style: Callable[[str], str]) -> Any:
    """The top level's keys in another case, where the schema names them and they stay apart."""
    whole = schemas.plain(schema, schema)
    properties = (whole or {}).get("properties") or {}
    if not isinstance(value, dict) or not value.keys() <= properties.keys():
        return value
    plain = {key.replace("_", "").lower() for key in properties}
    if len(plain) < len(properties) or not all(_PLAIN_KEY.match(key) for key in properties):
        return value
    return {style(key): entry for key, entry in value.items()}


def _camel(key: str) -> str:
    first, *rest = key.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _title(key: str) -> str:
    return "_".join(word.capitalize() for word in key.split("_"))


def _containers(value: Any) -> bool:
    return isinstance(value, dict | list) and bool(value)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for entry in value:
            yield from _leaves(entry)
    else:
        yield value


def _strings(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        yield from value
    yield from (leaf for leaf in _leaves(value) if isinstance(leaf, str))


def _awkward(value: Any) -> bool:
    """Whether Python would write some string with escapes that mean nothing outside Python."""
    return any("'" in text or '"' in text or "\\" in text or not text.isprintable() for text in _strings(value))


DECORATIONS: dict[str, Decoration] = {
    "fenced": fenced,
    "prose_around": prose_around,
    "think_tags": think_tags,
    "trailing_comma": trailing_comma,
    "single_quotes": single_quotes,
    "python_literals": python_literals,
    "comments": comments,
    "unquoted_keys": unquoted_keys,
    "numbers_as_strings": numbers_as_strings,
    "key_case": key_case,
}
"""Every harmless mistake by name."""
