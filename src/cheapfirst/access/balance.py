"""What each budget has spent, reserved and left, for people. Pure."""

from __future__ import annotations

from decimal import Decimal

from msgspec import Struct

from cheapfirst.access import period
from cheapfirst.access.books import Account
from cheapfirst.access.concern import AccountId, cap
from cheapfirst.access.store import Counters
from cheapfirst.money import from_pico
from cheapfirst.policy.spending import EACH
from cheapfirst.policy.table import Budget, Per, Policy, Scope, scope_of


class Balance(Struct, frozen=True, kw_only=True):
    """One budget of one key, tenant, feature or task in the period that runs. Amounts are USD."""

    scope: Scope
    name: str
    per: Per
    limit: Decimal
    spent: Decimal
    reserved: Decimal  # by requests under way
    left: Decimal  # never below 0
    resets: float | None  # Unix seconds when the next period begins; None: never


def of(policy: Policy, counters: Counters, now: float) -> list[Balance]:
    """The budgets of the policy at `now` (Unix seconds), in its order; a row for each (`*`) gives one balance for every
    name that has spent or reserved something under it."""
    return [_balance(row, name, counters, now) for row in policy.budgets for name in _names(row, policy, counters, now)]


def _names(row: Budget, policy: Policy, counters: Counters, now: float) -> list[str]:
    scope, name = scope_of(row)
    if name != EACH:
        return [name]
    own = {scope_of(other)[1] for other in policy.budgets if scope_of(other)[0] == scope and other.per == row.per}
    running = period.name(row.per, now)
    return sorted(
        id.subject for id in counters.accounts if id.scope == scope and id.period == running and id.subject not in own
    )


def _balance(row: Budget, name: str, counters: Counters, now: float) -> Balance:
    bound = cap(row, name, now)
    account = counters.accounts.get(AccountId(*bound.account), Account())
    return Balance(
        scope=bound.account.scope,
        name=name,
        per=row.per,
        limit=row.limit,
        spent=from_pico(account.spent) or Decimal(0),
        reserved=from_pico(account.reserved) or Decimal(0),
        left=from_pico(max(0, bound.limit - account.spent - account.reserved)) or Decimal(0),
        resets=bound.resets,
    )
