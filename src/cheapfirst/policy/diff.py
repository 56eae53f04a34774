"""What changes for whom between two policies: one sentence per change, nothing when they mean the same."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from cheapfirst.catalog import Catalog
from cheapfirst.catalog.model import When
from cheapfirst.policy.identity import meaning
from cheapfirst.policy.show import budget_text, named, price_text, rate_text
from cheapfirst.policy.table import Policy, scope_of


class Change(Struct, frozen=True, kw_only=True):
    """One difference. `about` is a task, or `tiers`, `limits`, `models`, `upstream`, `budgets`, `rates` or
    `default_task`."""

    about: str
    key: str
    before: str  # "" where it was not there
    after: str  # "" where it is gone
    sentence: str


def diff(before: Policy, after: Policy, catalog: Catalog, at: When = None) -> list[Change]:
    """What changes from one policy to the other, with the prices of that moment (absent: the latest).

    The list is empty exactly when both have the same hash: where a table stands, comments, the order of routes and
    how the caller presents itself change nothing.
    """
    old, new = meaning(before), meaning(after)
    prices = (catalog.overriding(before.models), catalog.overriding(after.models))
    changes = [*_tiers(before, after, prices, at), *_routes(before, after, old["routes"], new["routes"], prices, at)]
    for about in ("limits", "upstream"):
        changes += _keys(about, old[about], new[about])
    changes += _models(old["models"], new["models"])
    for about, rows in (("budgets", _budgets), ("rates", _rates)):
        changes += _keys(about, rows(before), rows(after))
    if before.default_task != after.default_task:
        changes.append(_change("default_task", "default_task", before.default_task, after.default_task))
    return changes


Prices = tuple[Catalog, Catalog]


def _tiers(before: Policy, after: Policy, prices: Prices, at: When) -> Iterator[Change]:
    old = {tier.name: tier.models for tier in before.tiers}
    new = {tier.name: tier.models for tier in after.tiers}
    for name in dict.fromkeys((*old, *new)):
        users = sorted({*_users(before, name), *_users(after, name)})
        whom = f" (tasks: {', '.join(users)})" if users else ""
        if old.get(name) == new.get(name):
            continue
        was = _models_text(old[name], prices[0], at) if name in old else ""
        will = _models_text(new[name], prices[1], at) if name in new else ""
        if not was or not will:
            what = f"tier {name} is new: {will}" if will else f"tier {name} is gone, it was {was}"
        else:
            what = f"tier {name}: {was} -> {will}"
        yield Change(about="tiers", key=name, before=was, after=will, sentence=what + whom)
    shared_old = [name for name in old if name in new]
    shared_new = [name for name in new if name in old]
    if shared_old != shared_new:
        yield _change("tiers", "order, cheapest first", ", ".join(old), ", ".join(new))


def _routes(
    before: Policy, after: Policy, old: dict[str, Any], new: dict[str, Any], prices: Prices, at: When
) -> Iterator[Change]:
    for task in sorted({*old, *new}):
        if task not in new:
            sentence = f"{task}: the task is gone; requests that name it are refused"
            yield Change(about=task, key="task", before=old[task]["tier"], after="", sentence=sentence)
        elif task not in old:
            where = _tier_text(after, new[task]["tier"], prices[1], at)
            sentence = f"{task}: a new task on tier {where}"
            yield Change(about=task, key="task", before="", after=new[task]["tier"], sentence=sentence)
        else:
            yield from _route(task, old[task], new[task], (before, after), prices, at)


def _route(
    task: str, old: dict[str, Any], new: dict[str, Any], policies: tuple[Policy, Policy], prices: Prices, at: When
) -> Iterator[Change]:
    if old["tier"] != new["tier"]:
        was = _tier_text(policies[0], old["tier"], prices[0], at)
        will = _tier_text(policies[1], new["tier"], prices[1], at)
        sentence = f"{task}: tier {was} -> {will}"
        yield Change(about=task, key="tier", before=old["tier"], after=new["tier"], sentence=sentence)
    for check in old["checks"]:
        if check not in new["checks"]:
            shown = _check_text(check)
            sentence = f"{task}: no longer checked by {shown}"
            yield Change(about=task, key="checks", before=shown, after="", sentence=sentence)
    for check in new["checks"]:
        if check not in old["checks"]:
            shown = _check_text(check)
            sentence = f"{task}: now checked by {shown}"
            yield Change(about=task, key="checks", before="", after=shown, sentence=sentence)
    if len(old["checks"]) != len(new["checks"]) and {*map(str, old["checks"])} == {*map(str, new["checks"])}:
        yield _change(task, "checks", f"{len(old['checks'])} checks", f"{len(new['checks'])} checks, some twice")
    rest = [name for name in old if name not in ("tier", "checks")]
    yield from _keys(task, {name: old[name] for name in rest}, {name: new[name] for name in rest})


def _models(old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    for id in sorted({*old, *new}):
        if id in old and id in new:
            yield from _keys(f'models."{id}"', old[id], new[id])
        elif old.get(id) != new.get(id):
            was, will = (_said(table[id]) if id in table else "" for table in (old, new))
            yield _change("models", id, was, will)


def _budgets(policy: Policy) -> dict[str, Any]:
    rows = sorted(policy.budgets, key=lambda row: (*scope_of(row), row.per))
    return {f"{named(row)} per {row.per}": budget_text(row) for row in rows}


def _rates(policy: Policy) -> dict[str, Any]:
    return {named(row): rate_text(row) for row in sorted(policy.rates, key=scope_of)}


def _keys(about: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    for key in dict.fromkeys((*old, *new)):
        was, will = old.get(key), new.get(key)
        if was == will:
            continue
        if isinstance(was, dict) and isinstance(will, dict):
            inner = _prompts if key == "prompts" else _keys
            for change in inner(about, was, will):
                yield _change(about, f"{key}.{change.key}", change.before, change.after)
        elif key == "prompt":
            yield _change(about, key, _length(was), _length(will))
        else:
            yield _change(about, key, _text(was), _text(will))


def _prompts(about: str, old: dict[str, Any], new: dict[str, Any]) -> Iterator[Change]:
    for name in sorted({*old, *new}):
        if old.get(name) != new.get(name):
            yield _change(about, name, _length(old.get(name)), _length(new.get(name)))


def _change(about: str, key: str, before: str, after: str) -> Change:
    name = key if about == key else f"{about}: {key}"
    return Change(
        about=about, key=key, before=before, after=after, sentence=f"{name} {before or 'absent'} -> {after or 'absent'}"
    )


def _users(policy: Policy, tier: str) -> list[str]:
    return [route.task for route in policy.routes.values() if route.tier == tier]


def _models_text(models: tuple[str, ...], catalog: Catalog, at: When) -> str:
    return " then ".join(f"{id} ({price_text(catalog.model(id).price(at))})" for id in models)


def _tier_text(policy: Policy, name: str, catalog: Catalog, at: When) -> str:
    first = policy.tier(name).models[0]
    return f"{name} ({first}, {price_text(catalog.model(first).price(at))} per million tokens)"


def _check_text(check: dict[str, Any]) -> str:
    (name, options), *_ = check.items()
    return f"{name.lower()}({_said(options)})" if _said(options) else str(name.lower())


def _said(options: dict[str, Any]) -> str:
    return ", ".join(f"{name} = {_text(value)}" for name, value in options.items() if value is not None and value != [])


def _length(prompt: object) -> str:
    """A prompt for one line: how long it is and how it begins."""
    return f'"{" ".join(prompt.split())[:40]}..." ({len(prompt)} characters)' if isinstance(prompt, str) else ""


def _text(value: object) -> str:
    return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
