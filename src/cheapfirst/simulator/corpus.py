"""The sample requests that ship with cheapfirst, each with its right answer: what the demo runs, what tests may use."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from importlib.resources import files
from typing import Any

import msgspec
from msgspec import Struct

from cheapfirst.errors import SimulatorError
from cheapfirst.messages import Wire

CORPUS = "corpus.jsonl"
SCHEMAS = "corpus_schemas.json"
_SPACES = re.compile(r"\s+")


class Item(Struct, frozen=True, kw_only=True):
    """One sample request and its right answer."""

    id: str
    task: str  # a task of the built-in policy
    input: str | list[Wire]  # the text, or chat messages whose last one is the user's
    schema: Wire | None = None  # JSON Schema of the wanted value; absent for free text
    gold: Any  # the right value where there is a schema, else a good text
    feature: str
    tenant: str
    language: str  # ISO 639-1 code

    @property
    def text(self) -> str:
        """The text to answer: the input itself, or the last message's content."""
        return self.input if isinstance(self.input, str) else str(self.input[-1]["content"])


class _Row(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    id: str
    task: str
    input: str | list[Wire]
    schema: str | None = None
    gold: Any
    feature: str
    tenant: str
    language: str


def load() -> list[Item]:
    """Every sample request, in a fixed, mixed order. Read from disk once, when first asked for.

    Raises SimulatorError when the shipped files are missing or damaged.
    """
    return list(_items())


def find(text: str) -> Item | None:
    """The sample request whose text is, or stands inside, this message (spaces and case aside); the longest wins."""
    wanted = _normal(text)
    index = _index()
    if wanted in index:
        return index[wanted]
    inside = [known for known in index if known in wanted]
    return index[max(inside, key=len)] if inside else None


@lru_cache(maxsize=1)
def _items() -> tuple[Item, ...]:
    folder = files("cheapfirst.simulator")
    try:
        schemas: Mapping[str, Wire] = msgspec.json.decode(folder.joinpath(SCHEMAS).read_bytes())
        rows = [
            msgspec.json.decode(line, type=_Row)
            for line in folder.joinpath(CORPUS).read_bytes().splitlines()
            if line.strip()
        ]
        return tuple(_item(row, schemas) for row in rows)
    except (OSError, KeyError, msgspec.DecodeError) as error:
        raise SimulatorError(
            f"the shipped sample requests ({CORPUS}, {SCHEMAS}) cannot be read: {error!r}. Reinstall cheapfirst."
        ) from error


def _item(row: _Row, schemas: Mapping[str, Wire]) -> Item:
    return Item(
        id=row.id,
        task=row.task,
        input=row.input,
        schema=None if row.schema is None else schemas[row.schema],
        gold=row.gold,
        feature=row.feature,
        tenant=row.tenant,
        language=row.language,
    )


@lru_cache(maxsize=1)
def _index() -> dict[str, Item]:
    return {_normal(item.text): item for item in _items()}


def _normal(text: str) -> str:
    return _SPACES.sub(" ", text).strip().casefold()
