"""Finds the budgets and rates that a request falls under. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple, TypeVar

from msgspec import Struct

from cheapfirst.access import period
from cheapfirst.access.keys import Key
from cheapfirst.messages import Request
from cheapfirst.money import to_pico
from cheapfirst.policy.spending import EACH
from cheapfirst.policy.table import SCOPES, Budget, Per, Policy, Rate, Scope, scope_of

T = TypeVar("T")


class AccountId(NamedTuple):
    """Whose spend in which period is counted together."""

    scope: Scope
    subject: str
    period: str


class PaceId(NamedTuple):
    """Whose requests are counted together."""

    scope: Scope
    subject: str


class Cap(Struct, frozen=True):
    """A budget as it binds one request. Amounts are whole picodollars."""

    account: AccountId
    per: Per
    limit: int
    step_down: int | None  # spent from which requests start on the cheapest tier; None: never
    resets: float | None  # Unix seconds; None: never


class Throttle(Struct, frozen=True):
    """A rate as it binds one request."""

    pace: PaceId
    rate: Rate


class Concern(Struct, frozen=True):
    """All that binds one request."""

    caps: tuple[Cap, ...]
    throttles: tuple[Throttle, ...]


class Rules:
    """The policy's budgets and rates, ready to be looked up. A row of one's own goes before the row for each (`*`):
    for a budget in the same period, for a rate altogether."""

    def __init__(self, policy: Policy) -> None:
        self._budgets: dict[tuple[Scope, str], list[Budget]] = {}
        self._rates: dict[tuple[Scope, str], Rate] = {}
        for budget in policy.budgets:
            self._budgets.setdefault(scope_of(budget), []).append(budget)
        for rate in policy.rates:
            self._rates[scope_of(rate)] = rate
        self._scopes = frozenset(scope for scope, _ in (*self._budgets, *self._rates))
        self.steps = any(budget.step_down is not None for budget in policy.budgets)

    def needed(self, request: Request, key: Key | None) -> bool:
        """Whether any budget or rate binds the request."""
        if not self._scopes:
            return False
        for scope in self._scopes:
            names = _names(scope, request, key)
            if names and any((scope, name) in self._budgets or (scope, name) in self._rates for name in (*names, EACH)):
                return True
        return False

    def concern(self, request: Request, key: Key | None, now: float) -> Concern:
        """What binds the request at `now` (Unix seconds)."""
        caps: list[Cap] = []
        throttles: list[Throttle] = []
        for scope in SCOPES:
            if scope not in self._scopes or not (names := _names(scope, request, key)):
                continue
            subject = names[0]
            caps += (cap(row, subject, now) for row in self._rows(scope, names))
            if (rate := _first(self._rates.get((scope, name)) for name in (*names, EACH))) is not None:
                throttles.append(Throttle(PaceId(scope, subject), rate))
        return Concern(tuple(caps), tuple(throttles))

    def _rows(self, scope: Scope, names: tuple[str, ...]) -> Iterable[Budget]:
        found: dict[Per, Budget] = {}
        for name in (*names, EACH):
            for row in self._budgets.get((scope, name), ()):
                found.setdefault(row.per, row)
        return found.values()


def cap(row: Budget, subject: str, now: float) -> Cap:
    """A budget's row as it binds one subject at `now`."""
    scope, _ = scope_of(row)
    limit = to_pico(row.limit) or 0
    return Cap(
        account=AccountId(scope, subject, period.name(row.per, now)),
        per=row.per,
        limit=limit,
        step_down=None if row.step_down is None else round(limit * row.step_down),
        resets=period.resets(row.per, now),
    )


def _names(scope: Scope, request: Request, key: Key | None) -> tuple[str, ...]:
    """What a row may call the request's key, tenant, feature or task; the first is what it is counted under."""
    if scope == "key":
        return (key.name, key.id) if key is not None else ()
    name: str | None = getattr(request, scope)
    return (_storable(name),) if name else ()


def _storable(name: str) -> str:
    """A name from a request as every database takes it: no NUL, no half of a character."""
    return name if name.isprintable() else name.replace("\x00", "?").encode("utf-8", "replace").decode()


def _first(found: Iterable[T | None]) -> T | None:
    return next((one for one in found if one is not None), None)
