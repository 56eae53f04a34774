"""A budget's periods: which day or month a moment belongs to, and when the next one begins. UTC throughout."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from cheapfirst.policy.table import Per

TOTAL = "total"


def name(per: Per, now: float) -> str:
    """The period that the moment `now` (Unix seconds) belongs to: `2026-11-23`, `2026-11` or `total`."""
    if per == "total":
        return TOTAL
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%d" if per == "day" else "%Y-%m")


def resets(per: Per, now: float) -> float | None:
    """When the next period begins (Unix seconds); None for `total`, which never does."""
    if per == "total":
        return None
    day = datetime.fromtimestamp(now, UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    if per == "day":
        return (day + timedelta(days=1)).timestamp()
    return (day.replace(day=1) + timedelta(days=32)).replace(day=1).timestamp()
