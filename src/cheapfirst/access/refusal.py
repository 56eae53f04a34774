"""Turns what is in a request's way into the error that says so, and what to do. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

from cheapfirst.access.books import Exhausted, Full, Slow
from cheapfirst.access.concern import Cap
from cheapfirst.errors import AccessError, BudgetExhausted, BudgetReserved, RateLimited
from cheapfirst.money import from_pico, show

SOON = 1.0
"""Seconds after which it is worth asking again when requests under way are in the way."""

_SPAN = {"day": "a day", "month": "a month", "total": "in all"}
_RATE = {"requests": "requests a minute", "tokens": "tokens a minute", "concurrent": "requests at once"}


def of(refused: Full | Exhausted | Slow, now: float) -> AccessError:
    """The error for a request that was not let in at `now` (Unix seconds)."""
    if isinstance(refused, Slow):
        rate, throttle = refused.what, refused.throttle
        return RateLimited(
            f"{throttle.pace.scope} {throttle.pace.subject!r} may make {getattr(throttle.rate, rate):,} {_RATE[rate]}; "
            f"wait {refused.wait:.0f} seconds, then send the request again",
            retry_after=refused.wait,
        )
    if isinstance(refused, Full):
        return BudgetReserved(
            f"{_named(refused.cap)}, and what is left of it is reserved by requests under way; wait for one of them "
            "to end, then send the request again",
            retry_after=SOON,
        )
    cap = refused.cap
    return BudgetExhausted(
        f"{_named(cap)}; {show(from_pico(refused.left))} of it is left and this request may cost "
        f"{show(from_pico(refused.least))}. {_again(cap)}",
        resets=cap.resets,
        retry_after=None if cap.resets is None else max(1.0, cap.resets - now),
    )


def unknown_price(cap: Cap) -> AccessError:
    """The error for a request whose price nobody knows."""
    return BudgetExhausted(
        f"{_named(cap)}, and the price of this request's model is unknown, so it cannot be held to that; name a model "
        'whose price is known, or declare it under [models."NAME"]'
    )


def _named(cap: Cap) -> str:
    return f"{cap.account.scope} {cap.account.subject!r} may spend {show(from_pico(cap.limit))} {_SPAN[cap.per]}"


def _again(cap: Cap) -> str:
    if cap.resets is None:
        return "Raise the budget in the policy to go on."
    return f"The budget begins anew at {datetime.fromtimestamp(cap.resets, UTC):%Y-%m-%dT%H:%M:%SZ}."
