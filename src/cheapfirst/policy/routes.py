"""Reads the routes of a policy: their keys, their defaults by shape, and the tier where none is given."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import Any, Literal

from msgspec import structs

from cheapfirst.messages import Shape, StreamMode
from cheapfirst.policy import fields, named
from cheapfirst.policy.checks import ALIGNMENTS
from cheapfirst.policy.lines import Key
from cheapfirst.policy.problems import Problems
from cheapfirst.policy.table import LongPrompt, Route, Tier

STREAMS = ("pass", "hold", "guard")
"""What a route may say about streamed requests."""

MAX_TOKENS: dict[Shape, int] = {"json": 4096, "text": 8192, "stream": 8192}
"""Room for the first attempt where the route does not say (tokens). Generous: unused room costs nothing."""

OWNED = {
    "model": "the tier decides it",
    "models": "the tier's list decides it",
    "messages": "they are the caller's",
    "stream": "the caller and the route's `stream` decide it",
    "stream_options": "usage is always asked for",
    "max_tokens": "write max_tokens on the route itself",
    "max_completion_tokens": "write max_tokens on the route itself",
    "temperature": "write temperature on the route itself",
    "response_format": "the schema and the model decide it",
    "n": "one answer per attempt is judged",
}
"""Wire fields that `params` may not hold, because the cascade sets them."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*")


def read(table: object, tiers: tuple[Tier, ...], custom: Collection[str], problems: Problems) -> dict[str, Route]:
    """All routes of the `[routes]` table that can be read; what is wrong is noted."""
    if not isinstance(table, Mapping):
        problems.add(("routes",), f"must be a table, not {fields.kind_of(table)}")
        return {}
    found: dict[str, Route] = {}
    for task, row in table.items():
        path = ("routes", task)
        if not _NAME.fullmatch(task) or task == "auto":
            problems.add(path, 'a task\'s name has letters, digits, "_", "-" and "."; "auto" is taken')
        elif not isinstance(row, Mapping):
            problems.add(path, f'must be a table like {{ tier = "{tiers[0].name}", shape = "json" }}')
        else:
            found[task] = _route(task, row, tiers, custom, path, problems)
    return found


def _route(
    task: str, row: Mapping[str, Any], tiers: tuple[Tier, ...], custom: Collection[str], path: Key, problems: Problems
) -> Route:
    own = ("task", "tier_reason", "checks", "params", "long_prompt", "prompts", "tier")
    table = {name: value for name, value in row.items() if name not in own[2:]}
    values = fields.read(Route, table, path, problems, skip=own)
    shape: Shape = values.get("shape", "text")
    names = [tier.name for tier in tiers]
    given = _tier(row["tier"], names, (*path, "tier"), problems) if "tier" in row else None
    tier, reason = (given, "the table says so") if given else _derived(shape, values, names)
    if "stream" in values and values["stream"] not in STREAMS:
        problems.unknown((*path, "stream"), "value", values["stream"], STREAMS)
    for alignment in values.get("align") or ():
        if alignment not in ALIGNMENTS:
            problems.unknown((*path, "align"), "alignment", alignment, ALIGNMENTS)
    stream: StreamMode = values.get("stream", "pass" if shape == "stream" else "hold")
    defaults: dict[str, Any] = {"shape": shape, "stream": stream, "max_tokens": MAX_TOKENS[shape]}
    if shape == "json":
        defaults["temperature"] = 0.0
    return Route(
        task=task,
        tier=tier,
        tier_reason=f"{task} goes to tier {tier}: {reason}",
        checks=named.read(row.get("checks", []), custom, (*path, "checks"), problems),
        long_prompt=_long_prompt(row, names, tier, path, problems),
        prompts=_prompts(row.get("prompts", {}), tiers, (*path, "prompts"), problems),
        params=_params(row.get("params", {}), (*path, "params"), problems),
        **{**defaults, **values},
    )


def _derived(shape: Shape, values: Mapping[str, Any], tiers: list[str]) -> tuple[str, str]:
    """The tier of a route that names none, and why, from what is known about the task."""
    difficulty: Literal["easy", "hard"] = values.get("difficulty", "easy")
    if values.get("user_facing"):
        return tiers[-1], "it names none and is user-facing, where quality is the product"
    if difficulty == "hard":
        return tiers[-1], "it names none and is hard"
    if shape == "json":
        return tiers[0], "it names none, and a json answer can be checked, so the cheapest is tried first"
    return tiers[0], "it names none and is neither user-facing nor hard, so the cheapest is tried first"


def _tier(name: object, tiers: list[str], path: Key, problems: Problems) -> str | None:
    if not isinstance(name, str):
        problems.add(path, f"must be a tier's name, not {fields.kind_of(name)}")
    elif name not in tiers:
        problems.unknown(path, "tier", name, tiers)
    else:
        return name
    return None


def _long_prompt(
    row: Mapping[str, Any], tiers: list[str], start: str, path: Key, problems: Problems
) -> LongPrompt | None:
    if "long_prompt" not in row:
        return None
    where = (*path, "long_prompt")
    before = len(problems)
    rule = fields.make(LongPrompt, row["long_prompt"], where, problems)
    if len(problems) > before or _tier(rule.tier, tiers, (*where, "tier"), problems) is None:
        return None
    if tiers.index(rule.tier) <= tiers.index(start):
        problems.add((*where, "tier"), f'"{rule.tier}" is not above the route\'s own tier "{start}"')
    return rule


def _prompts(table: object, tiers: tuple[Tier, ...], path: Key, problems: Problems) -> dict[str, str]:
    if not isinstance(table, Mapping):
        problems.add(path, f"must be a table of texts by tier or model, not {fields.kind_of(table)}")
        return {}
    allowed = [*(tier.name for tier in tiers), *dict.fromkeys(model for tier in tiers for model in tier.models)]
    found: dict[str, str] = {}
    for name, text in table.items():
        if name not in allowed:
            problems.unknown((*path, name), "tier or model", name, allowed)
        elif not isinstance(text, str):
            problems.add((*path, name), f"must be a text, not {fields.kind_of(text)}")
        else:
            found[name] = text
    return found


def _params(table: object, path: Key, problems: Problems) -> dict[str, object]:
    if not isinstance(table, Mapping):
        problems.add(path, f"must be a table of wire fields, not {fields.kind_of(table)}")
        return {}
    for name in table:
        if name in OWNED:
            problems.add((*path, name), f"cannot be set here: {OWNED[name]}")
    return {name: fields.plain(value) for name, value in table.items() if name not in OWNED}


def fitting(builtin: Mapping[str, Route], own: Collection[str], tiers: Collection[str]) -> dict[str, Route]:
    """The built-in routes that a user's table keeps: those it does not define itself and whose tier it has."""
    return {task: structs.replace(route) for task, route in builtin.items() if task not in own and route.tier in tiers}
