"""Who may ask for what, how often and for how much: the room's front door."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from types import TracebackType
from typing import Self

from msgspec import Struct

from cheapfirst.access import balance, keys, place, refusal
from cheapfirst.access.balance import Balance
from cheapfirst.access.books import Amounts, Ask, Grant
from cheapfirst.access.concern import Rules
from cheapfirst.access.desk import Desk
from cheapfirst.access.keyring import Keyring
from cheapfirst.access.keys import Key
from cheapfirst.access.lease import Lease
from cheapfirst.access.store import open_store
from cheapfirst.errors import AccessError, KeyRefused
from cheapfirst.messages import Request
from cheapfirst.money import from_pico, to_pico
from cheapfirst.policy.table import Policy

MARGIN = 120.0
"""Seconds beyond the time that a request may take after which its reservation, never settled, counts as spent."""


class Price(Struct, frozen=True):
    """What a request may cost, in USD."""

    full: Decimal  # if every attempt that it may need is made and takes all the room it may
    least: Decimal  # its first attempt alone; with less than this left it is not let in


class Access:
    """Keys, budgets and rate limits over one store. Belongs to one event loop.

    `store` is its address (see `place.find`), `clock` gives Unix seconds.
    """

    def __init__(self, policy: Policy, store: str | None = None, *, clock: Callable[[], float] = time.time) -> None:
        self.address = place.find() if store is None else store
        self._clock = clock
        self._store = open_store(self.address)
        self._keyring = Keyring(self._store)
        self._desk = Desk(self._store, clock)
        self.use(policy)

    def use(self, policy: Policy) -> None:
        """Take the budgets and rates of another policy from now on. What was spent stays spent."""
        self._policy = policy
        self._rules = Rules(policy)

    @property
    def steps(self) -> bool:
        """Whether any budget lets requests step down to the cheapest tier."""
        return self._rules.steps

    async def open(self) -> None:
        """Open the store. Raises StoreUnavailable, MissingExtra."""
        await self._store.open()

    async def close(self) -> None:
        """Settle what is left and close the store. Raises StoreUnavailable."""
        await self._desk.close()
        await self._store.close()

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def any_keys(self) -> bool:
        """Whether a key was ever made, up to `keyring.FRESH` seconds ago. Raises StoreUnavailable."""
        return await self._keyring.any()

    async def authenticate(self, secret: str) -> Key:
        """The key with this secret. Answered from memory: a key that is revoked elsewhere goes on working for up to
        `keyring.FRESH` seconds, a new one is unknown as long. Raises KeyRefused, StoreUnavailable."""
        key = await self._keyring.find(secret)
        if key is None:
            raise KeyRefused("nobody has this key; take the one that `cheapfirst keys create` showed")
        keys.require_active(key, self._clock())
        return key

    def needed(self, request: Request, key: Key | None) -> bool:
        """Whether any budget or rate binds this request; where none does, `admit` has nothing to do."""
        return self._rules.needed(request, key)

    async def admit(
        self,
        request: Request,
        key: Key | None,
        worst: Price | None,
        tokens: int,
        *,
        stepped: Price | None = None,
        wait: float = 0.0,
        lasts: float = 120.0,
    ) -> Lease:
        """Reserve what the request may cost on every budget it falls under, and count it in every rate.

        Args:
            worst: what it may cost; None: unknown, so no budget can let it in.
            tokens: how many it may take, estimated, for rates.
            stepped: what it may cost when it starts on the cheapest tier; absent: it must not.
            wait: seconds to wait at most where only reservations of requests under way are in its way.
            lasts: seconds that it may take. A reservation that is still not settled MARGIN seconds later counts as
                spent: the process that held it has died, and nobody knows what its request cost.

        Near a budget's end, and when the wait is over, less than `worst.full` is reserved, down to `worst.least`; the
        lease says how much.
        Raises BudgetExhausted, BudgetReserved, RateLimited, StoreUnavailable.
        """
        first = self._rules.concern(request, key, self._clock())
        if worst is None and first.caps:
            raise refusal.unknown_price(first.caps[0])
        id = f"{request.id}-{secrets.token_hex(4)}"
        amounts, cheap = _amounts(worst), _amounts(stepped)

        def ask(now: float, last: bool) -> Ask:
            return Ask(
                id=id,
                concern=self._rules.concern(request, key, now),
                amounts=amounts,
                stepped=cheap,
                tokens=tokens,
                expires=now + lasts + MARGIN,
                last=last,
            )

        decision = await self._desk.admit(ask, wait)
        if not isinstance(decision, Grant):
            raise refusal.of(decision, self._clock())
        bound = bool(decision.held.accounts)
        return Lease(self._desk, id, from_pico(decision.held.amount) if bound else None, decision.step_down)

    async def create_key(
        self,
        name: str,
        *,
        tenant: str | None = None,
        tasks: Sequence[str] = (),
        tiers: Sequence[str] = (),
        models: Sequence[str] = (),
        expires: float | None = None,
    ) -> tuple[Key, str]:
        """Make a key and return it with its secret, which nobody can ever show again. Empty tasks, tiers, models: all.
        `expires` is Unix seconds. Raises AccessError for what cannot be, StoreUnavailable."""
        keys.require_names(name, tenant, tasks, tiers, self._policy)
        now = self._clock()
        if expires is not None and expires <= now:
            raise AccessError("a key cannot expire in the past; give a later time")
        secret = keys.new_secret()
        key = Key(
            id=keys.new_id(),
            name=name,
            tenant=tenant,
            tasks=tuple(tasks),
            tiers=tuple(tiers),
            models=tuple(models),
            created=now,
            expires=expires,
        )
        if not await self._store.add_key(key, keys.digest(secret)):
            raise AccessError(f"there is a key {name!r} already; revoke it first, or take another name")
        await self._keyring.all()
        return key, secret

    async def revoke_key(self, which: str) -> Key:
        """Revoke the key with this id or name. Raises AccessError when there is none, StoreUnavailable."""
        found = [key for key in await self.list_keys() if which in (key.id, key.name) and key.revoked is None]
        if not found or not await self._store.revoke_key(found[0].id, self._clock()):
            raise AccessError(f"there is no key {which[:100]!r} that is not revoked; see cheapfirst keys list")
        await self._keyring.all()
        return found[0]

    async def list_keys(self) -> list[Key]:
        """Every key, revoked and expired ones too, oldest first. Raises StoreUnavailable."""
        return await self._keyring.all()

    async def balances(self) -> list[Balance]:
        """What every budget of the policy has spent, reserved and left in its period. Raises StoreUnavailable."""
        return balance.of(self._policy, await self._store.counters(), self._clock())


def _amounts(price: Price | None) -> Amounts | None:
    if price is None:
        return None
    least = to_pico(price.least) or 0
    return Amounts(max(to_pico(price.full) or 0, least), least)
