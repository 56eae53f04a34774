"""Paths inside a value: written as `lines.*.text`, found in the answer, and shown to people."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from cheapfirst.messages import Path


def dotted(path: Iterable[str | int]) -> str:
    """A path as people write it: `lines.0.text`; empty for the whole value."""
    return ".".join(str(step) for step in path)


def parts(written: str) -> tuple[str, ...]:
    """A written path as its steps; the empty one means the whole value."""
    return tuple(written.split(".")) if written else ()


def select(value: Any, written: str) -> Iterator[tuple[Path, Any]]:
    """Every place of `value` that a written path names, with what stands there; `*` is every item or property.

    A path that leads nowhere yields nothing.
    """
    found: list[tuple[Path, Any]] = [((), value)]
    for step in parts(written):
        found = [child for path, node in found for child in _children(path, node, step)]
    yield from found


def matches(path: Sequence[str | int], written: str) -> bool:
    """Whether a written path names this place or a place above it."""
    steps = parts(written)
    return len(steps) <= len(path) and all(want in ("*", str(have)) for want, have in zip(steps, path, strict=False))


def shown(value: Any, room: int = 80) -> str:
    """A value for a sentence, clipped to `room` characters."""
    text = repr(value[: room + 1]) if isinstance(value, str) else repr(value)
    return text if len(text) <= room else text[: room - 1] + "…"


def _children(path: Path, node: Any, step: str) -> Iterator[tuple[Path, Any]]:
    if isinstance(node, dict):
        for key, child in node.items():
            if step in ("*", str(key)):
                yield (*path, key), child
    elif isinstance(node, list | tuple):
        if step == "*":
            yield from (((*path, index), child) for index, child in enumerate(node))
        elif step.lstrip("-").isdigit() and -len(node) <= int(step) < len(node):
            index = int(step) % len(node)
            yield (*path, index), node[index]


def missing(value: Any, written: str) -> Iterator[Path]:
    """Every place where a written path breaks off because a property or item is not there."""
    found: list[tuple[Path, Any]] = [((), value)]
    for step in parts(written):
        onward = []
        for path, node in found:
            children = list(_children(path, node, step))
            empty = step == "*" and isinstance(node, dict | list | tuple)
            if not children and not empty:
                yield (*path, step)
            onward += children
        found = onward


def strings(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every string inside a value, with its path, in order."""
    for place, leaf in leaves(value, path):
        if isinstance(leaf, str):
            yield place, leaf


def leaves(value: Any, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every string, number, boolean and null inside a value, with its path, in order; however deep."""
    waiting: list[tuple[Path, Any]] = [(path, value)]
    while waiting:
        place, node = waiting.pop()
        if isinstance(node, dict):
            waiting += reversed([((*place, key), child) for key, child in node.items()])
        elif isinstance(node, list | tuple):
            waiting += reversed([((*place, index), child) for index, child in enumerate(node)])
        else:
            yield place, node
