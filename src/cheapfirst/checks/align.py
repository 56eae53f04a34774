"""Brings a parsed value to the spelling its schema wants, where only one reading is possible, and notes each change."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from cheapfirst.messages import Step


def align(value: Any, schema: dict[str, Any], allowed: Collection[str] | None = None) -> tuple[Any, tuple[Step, ...]]:
    """The value as `schema` spells it, with one step per change; a value that is already valid comes back as it is.

    `allowed` names the alignments that may be used (see `policy.checks.ALIGNMENTS`); None allows all.
    """
    return value, ()
