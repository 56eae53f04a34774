"""Virtual keys: what a key may do, how its secret is made, and the only form in which it is kept."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Sequence

from msgspec import Struct

from cheapfirst.errors import AccessError, KeyRefused, NotAllowed, nearest
from cheapfirst.policy.spending import EACH
from cheapfirst.policy.table import Policy

PREFIX = "cf-"

LONGEST = 256
"""Characters of a key's name and tenant."""


class Key(Struct, frozen=True, kw_only=True):
    """A virtual key as it is kept: all but its secret. Empty tasks, tiers or models: all of them."""

    id: str  # "key_" + 16 characters
    name: str  # unique among the keys that are not revoked
    tenant: str | None = None  # whose spend its requests are; absent: as each request says
    tasks: tuple[str, ...] = ()
    tiers: tuple[str, ...] = ()
    models: tuple[str, ...] = ()
    created: float = 0.0  # Unix seconds
    expires: float | None = None  # Unix seconds; absent: never
    revoked: float | None = None  # Unix seconds; absent: it is not

    def state(self, now: float) -> str:
        """Whether it is `active`, `expired` or `revoked`."""
        if self.revoked is not None:
            return "revoked"
        return "expired" if self.expires is not None and self.expires <= now else "active"


def new_secret() -> str:
    """A new secret: 256 random bits, which nobody can guess. It is shown once and kept nowhere."""
    return PREFIX + secrets.token_urlsafe(32)


def new_id() -> str:
    """A new key's id."""
    return "key_" + secrets.token_hex(8)


def digest(secret: str) -> str:
    """The form in which a secret is kept and looked up: its SHA-256, in hex.

    A slow password hash would add nothing: it protects secrets that can be guessed, and 256 random bits cannot.
    """
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()


def require_names(name: str, tenant: str | None, tasks: Sequence[str], tiers: Sequence[str], policy: Policy) -> None:
    """Raise AccessError for a name that cannot be one, and for tasks and tiers that the policy does not have."""
    for what, given in (("name", name), ("tenant", tenant)):
        if given is not None and (not given.strip() or len(given) > LONGEST or given == EACH):
            raise AccessError(f'a key\'s {what} has 1 to {LONGEST} characters and is not "{EACH}"')
    for kind, said, known in (
        ("task", tasks, list(policy.routes)),
        ("tier", tiers, [tier.name for tier in policy.tiers]),
    ):
        for each in said:
            if each not in known:
                raise AccessError(
                    f"the policy {policy.source} has no {kind} {each!r}{nearest(each, known) or '.'} It has: "
                    f"{', '.join(known)}"
                )


def require_active(key: Key, now: float) -> None:
    """Raise KeyRefused when the key is revoked or expired at `now` (Unix seconds)."""
    state = key.state(now)
    if state != "active":
        raise KeyRefused(f"the key {key.name!r} ({key.id}) is {state}; ask for a new one (cheapfirst keys create)")


def require_task(key: Key, task: str) -> None:
    """Raise NotAllowed when the key may not ask for this task."""
    _require(key, "task", task, key.tasks)


def require_tier(key: Key, tier: str) -> None:
    """Raise NotAllowed when the key may not use this tier."""
    _require(key, "tier", tier, key.tiers)


def require_model(key: Key, model: str) -> None:
    """Raise NotAllowed when the key may not use this model."""
    _require(key, "model", model, key.models)


def _require(key: Key, kind: str, name: str, allowed: Sequence[str]) -> None:
    if allowed and name not in allowed:
        raise NotAllowed(
            kind, f"the key {key.name!r} may not use the {kind} {name[:100]!r}; allowed: {', '.join(allowed)}"
        )
