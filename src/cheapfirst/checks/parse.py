"""Reads a JSON value out of an answer's text, from strict to repaired, and says in a trail how it was read.

Never completes a cut-off answer, and never invents, drops or changes a value: where the text has two readings it
refuses and says where.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection
from typing import Any

from msgspec import Struct

from cheapfirst.checks import align as alignment
from cheapfirst.messages import Step


class Parsed(Struct, frozen=True):
    """A value that the text holds, and the steps by which it was read (always at least one)."""

    value: Any
    trail: tuple[Step, ...]


class Unparsed(Struct, frozen=True):
    """Why no value was read: a machine-readable code, a sentence without the text, and where (characters)."""

    code: str
    sentence: str
    position: int | None = None
    incomplete: bool = False  # the text ends inside its value: more room may mend it


_FENCE = re.compile(r"\A\s*```[a-zA-Z]*\n(.*?)\n?```\s*\Z", re.S)


def parse(
    text: str, schema: dict[str, Any] | None = None, *, align: Collection[str] | None = None
) -> Parsed | Unparsed:
    """Read the one JSON value that `text` holds; with a schema, choose and align by it. Never raises.

    `align` names the alignments allowed (see `policy.checks.ALIGNMENTS`); None allows all, an empty one none.
    """
    found = _FENCE.match(text)
    inner, kind = (found[1], "unfenced") if found else (text, "strict")
    try:
        value = json.loads(inner)
    except (ValueError, RecursionError) as error:
        position = getattr(error, "pos", 0)
        whole = position >= len(inner.rstrip())
        return Unparsed("parse.incomplete" if whole else "parse.none", "No JSON value was found.", position, whole)
    steps: tuple[Step, ...] = ()
    if schema is not None:
        value, steps = alignment.align(value, schema, align)
    return Parsed(value, (Step(kind=kind), *steps))
