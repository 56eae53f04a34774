"""Decides who is let in, on the counters as they stand. Pure: no I/O, no clock, no chance.

Money is whole picodollars (USD * 10^12). A request's reservation counts on every budget it falls under, from before it
starts until it is settled, so spent + reserved never exceeds a limit, whatever runs at once.
"""

from __future__ import annotations

from typing import TypeAlias

from msgspec import Struct, field

from cheapfirst.access import window
from cheapfirst.access.concern import AccountId, Cap, Concern, PaceId, Throttle
from cheapfirst.access.window import Marks

MOST = 4 * 10**18
"""Picodollars. No counter goes beyond it, so that none overflows a 64-bit integer."""


class Account(Struct):
    """What was spent and what is reserved in one period."""

    spent: int = 0
    reserved: int = 0


class Pace(Struct):
    """How much was asked in the last minute, and how many requests are under way."""

    open: int = 0
    requests: Marks = field(default_factory=dict)
    tokens: Marks = field(default_factory=dict)


class Held(Struct, frozen=True, kw_only=True):
    """A reservation as the store keeps it."""

    id: str
    expires: float  # Unix seconds
    amount: int
    accounts: tuple[AccountId, ...]
    paces: tuple[PaceId, ...]
    second: int  # that its request and tokens were counted in
    tokens: int


class Amounts(Struct, frozen=True):
    """What a request may cost: `full` if all goes badly, `least` for its first attempt alone."""

    full: int
    least: int


class Ask(Struct, frozen=True, kw_only=True):
    """A request that wants to be let in."""

    id: str
    concern: Concern
    amounts: Amounts | None  # None: it falls under no budget
    stepped: Amounts | None  # the same when it starts on the cheapest tier; None: it cannot
    tokens: int
    expires: float  # Unix seconds: when its reservation counts as spent
    last: bool = True  # it waits no longer: what is free now must do


class Settle(Struct, frozen=True):
    """A request that has ended. None: unknown, so what was reserved counts."""

    id: str
    cost: int | None
    tokens: int | None


class Grant(Struct, frozen=True):
    """Let in, with this much reserved."""

    held: Held
    step_down: bool


class Full(Struct, frozen=True):
    """Only reservations of requests under way are in its way."""

    cap: Cap


class Exhausted(Struct, frozen=True):
    """What was spent is in its way."""

    cap: Cap
    left: int
    least: int


class Slow(Struct, frozen=True):
    """A rate is in its way."""

    throttle: Throttle
    what: str  # requests, tokens, concurrent
    wait: float  # seconds


Decision: TypeAlias = Grant | Full | Exhausted | Slow


class Books(Struct):
    """The counters that one batch is about."""

    accounts: dict[AccountId, Account]
    paces: dict[PaceId, Pace]


def admit(books: Books, ask: Ask, now: float) -> Decision:
    """Let the request in and count it, or say what is in its way and count nothing."""
    for throttle in ask.concern.throttles:
        if (slow := _slow(books.paces.setdefault(throttle.pace, Pace()), throttle, ask.tokens, now)) is not None:
            return slow
    amount, step_down = 0, False
    if ask.amounts is not None and ask.concern.caps:
        found = _reserve(books, ask, ask.amounts)
        if not isinstance(found, tuple):
            return found
        amount, step_down = found
    for cap in ask.concern.caps:
        books.accounts[cap.account].reserved += amount
    second = int(now)
    for throttle in ask.concern.throttles:
        pace = books.paces[throttle.pace]
        pace.open += 1
        second = window.add(pace.requests, 1, now)
        window.add(pace.tokens, ask.tokens, now)
    held = Held(
        id=ask.id,
        expires=ask.expires,
        amount=amount,
        accounts=tuple(cap.account for cap in ask.concern.caps),
        paces=tuple(throttle.pace for throttle in ask.concern.throttles),
        second=second,
        tokens=ask.tokens,
    )
    return Grant(held, step_down)


def settle(books: Books, held: Held, cost: int | None, tokens: int | None) -> None:
    """Turn a reservation into what was spent. An unknown cost counts as the whole reservation."""
    spent = min(held.amount if cost is None else max(cost, 0), MOST)
    for id in held.accounts:
        account = books.accounts.setdefault(id, Account())
        account.reserved = max(0, account.reserved - held.amount)
        account.spent = min(account.spent + spent, MOST)
    for pace_id in held.paces:
        pace = books.paces.setdefault(pace_id, Pace())
        pace.open = max(0, pace.open - 1)
        if tokens is not None:
            window.correct(pace.tokens, held.second, tokens - held.tokens)


def _slow(pace: Pace, throttle: Throttle, tokens: int, now: float) -> Slow | None:
    window.prune(pace.requests, now)
    window.prune(pace.tokens, now)
    rate = throttle.rate
    if rate.concurrent is not None and pace.open >= rate.concurrent:
        return Slow(throttle, "concurrent", 1.0)
    waits = {
        "requests": 0.0 if rate.requests is None else window.wait(pace.requests, 1, rate.requests, now),
        "tokens": 0.0 if rate.tokens is None else window.wait(pace.tokens, tokens, rate.tokens, now),
    }
    what = max(waits, key=lambda name: waits[name])
    return Slow(throttle, what, waits[what]) if waits[what] > 0 else None


def _reserve(books: Books, ask: Ask, amounts: Amounts) -> tuple[int, bool] | Full | Exhausted:
    """How much to reserve, and whether the request steps down for it."""
    caps = [(cap, books.accounts.setdefault(cap.account, Account())) for cap in ask.concern.caps]
    stepping = [cap for cap, account in caps if cap.step_down is not None and account.spent >= cap.step_down]
    step_down = bool(stepping) and ask.stepped is not None and ask.stepped.least <= amounts.least
    if step_down and ask.stepped is not None:
        amounts = ask.stepped
    tight, tightest = min(caps, key=lambda each: each[0].limit - each[1].spent)
    left = max(0, tight.limit - tightest.spent)
    if left < amounts.least:
        if not step_down and ask.stepped is not None and ask.stepped.least <= left and _may_step(caps, amounts.least):
            amounts, step_down = ask.stepped, True
        else:
            return Exhausted(tight, left, amounts.least)
    amount = min(amounts.full, left)
    fullest, most = min(caps, key=lambda each: each[0].limit - each[1].spent - each[1].reserved)
    free = max(0, fullest.limit - most.spent - most.reserved)
    if amount > free:
        if not ask.last or free < amounts.least:
            return Full(fullest)
        amount = free
    return amount, step_down


def _may_step(caps: list[tuple[Cap, Account]], least: int) -> bool:
    """Whether every budget that is too tight lets requests step down."""
    return all(cap.step_down is not None for cap, account in caps if cap.limit - account.spent < least)
