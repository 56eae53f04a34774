"""Gives a policy its hash: the same for the same meaning, whatever the order, spacing and comments of its file."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from typing import Any

import msgspec

from cheapfirst.policy.table import Policy, Route

NOT_MEANING = {
    "policy": ("source", "hash", "ledger", "gateway"),
    "upstream": ("title", "referer", "key_env", "cancel"),
    "route": ("tier_reason",),
}
"""Fields that change no answer: where the table stands, where it is recorded, how the caller presents itself."""


def hash_of(policy: Policy) -> str:
    """Twelve hex digits of the SHA-256 of the policy's meaning. The order of tiers counts, that of routes does not."""
    content = msgspec.json.encode(meaning(policy), order="sorted")
    return hashlib.sha256(content).hexdigest()[:12]


def meaning(policy: Policy) -> dict[str, Any]:
    """The policy as plain data, without what changes no answer."""
    table = {
        name: plain(getattr(policy, name)) for name in Policy.__struct_fields__ if name not in NOT_MEANING["policy"]
    }
    table["upstream"] = {
        name: value for name, value in table["upstream"].items() if name not in NOT_MEANING["upstream"]
    }
    for name in ("budgets", "rates"):  # in which order they stand says nothing
        table[name] = sorted(table[name], key=lambda row: msgspec.json.encode(row, order="sorted"))
    table["routes"] = {task: route_meaning(route) for task, route in policy.routes.items()}
    return table


def route_meaning(route: Route) -> dict[str, Any]:
    """One route as plain data. The order of checks and of alignments says nothing, so they are sorted."""
    table: dict[str, Any] = {
        name: plain(getattr(route, name)) for name in Route.__struct_fields__ if name not in NOT_MEANING["route"]
    }
    checks = [{type(check).__name__: plain(check)} for check in route.checks]
    table["checks"] = sorted(checks, key=lambda check: msgspec.json.encode(check, order="sorted"))
    table["align"] = None if route.align is None else sorted(set(route.align))
    return table


def plain(value: Any) -> Any:
    """Structs, lists and decimals as plain data; equal amounts become equal text."""
    if isinstance(value, Decimal):
        return f"{value.normalize():f}"
    if isinstance(value, msgspec.Struct):
        return {name: plain(getattr(value, name)) for name in value.__struct_fields__}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    return value
