"""Notices degenerate loops: an answer that ends in the same stretch again and again. Linear in the text's length."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from cheapfirst.checks.context import Context
from cheapfirst.checks.paths import dotted, shown, strings
from cheapfirst.messages import Finding, Path
from cheapfirst.policy.checks import Repetition

WINDOW = 12_000
"""Characters at the end that are looked at; a longer stretch than WINDOW / max_repeats is not seen."""

LEAST = 64
"""Characters a loop must cover, so that `ha ha ha ha` and a row of zeros are not one."""

LEAST_RULE = 600
"""The same for loops without letters or digits: rules, table borders and dot leaders are wanted."""

_PROBE = 24


def repetition(value: Any, context: Context, options: Repetition) -> Sequence[Finding]:
    """The text, and every string inside the value, does not end in a loop. Code: repetition.loop.

    A loop whose text stands in the source too was asked for, and is let through.
    """
    found = []
    for path, text in _texts(value, context):
        unit = loop(text, options.max_repeats)
        if unit is None or (context.source is not None and text.rstrip()[-LEAST:] in context.source):
            continue
        where = f"`{dotted(path)}`" if path else "The answer"
        sentence = f"{where} ends in a loop: {shown(unit, 60)} {options.max_repeats} times or more."
        found.append(Finding(check="repetition", code="repetition.loop", sentence=sentence, path=path))
    return found


def loop(text: str, max_repeats: int = 8) -> str | None:
    """The shortest stretch that the end of `text` repeats `max_repeats` times or more; None when there is none."""
    tail = text.rstrip()[-WINDOW:]
    repeats = max(2, max_repeats)
    # A loop's last characters stand in it at least once more: one search spares nearly every text the rest.
    if len(tail) < LEAST or tail.rfind(tail[-_PROBE:], 0, len(tail) - 1) < 0:
        return None
    overlap = _overlaps(tail[::-1])
    for period in range(1, len(tail) // repeats + 1):
        covered = overlap[period] + period
        if covered >= period * repeats and covered >= LEAST:
            unit = tail[-period:]
            if covered >= LEAST_RULE or any(character.isalnum() for character in unit):
                return unit
    return None


def _overlaps(text: str) -> list[int]:
    """For each offset, how many characters from there on equal the text's beginning (the Z function)."""
    size = len(text)
    overlap = [0] * size
    left = right = 0
    for at in range(1, size):
        run = min(right - at, overlap[at - left]) if at < right else 0
        while at + run < size and text[run] == text[at + run]:
            run += 1
        overlap[at] = run
        if at + run > right:
            left, right = at, at + run
    return overlap


def _texts(value: Any, context: Context) -> Iterator[tuple[Path, str]]:
    yield (), context.text
    if context.parsed and not isinstance(value, str):
        yield from strings(value)
