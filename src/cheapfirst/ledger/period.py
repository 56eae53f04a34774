"""Reads the points in time that reports take: "24h", "7d", "2026-11-01", ISO times, Unix seconds."""

from __future__ import annotations

import re
import time
from datetime import datetime, timedelta

from cheapfirst.errors import LedgerError

UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_AGO = re.compile(r"(\d+(?:\.\d+)?)\s*([smhdw])", re.ASCII)


def moment(given: str | float | datetime | timedelta, *, now: float | None = None) -> float:
    """Return the Unix time (seconds) that is meant.

    Args:
        given: an age ("90s", "30m", "24h", "7d", "2w", a timedelta), an ISO date or time ("2026-11-01",
            "2026-11-01T09:30", "2026-11-01T09:30Z"; local time where it names no zone, a date is its
            midnight), a datetime likewise, or Unix seconds as a number.
        now: the Unix time that ages count back from; absent: the clock's.

    Raises LedgerError when it is none of these.
    """
    if isinstance(given, timedelta):
        return _now(now) - given.total_seconds()
    if isinstance(given, datetime):
        return given.timestamp()
    if not isinstance(given, str):
        return float(given)
    text = given.strip()
    if found := _AGO.fullmatch(text.lower()):
        return _now(now) - float(found[1]) * UNITS[found[2]]
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError) as error:
        raise LedgerError(
            f"not a point in time: {given!r}. Allowed: an age (90s, 30m, 24h, 7d, 2w), a date (2026-11-01) or an "
            "ISO time (2026-11-01T09:30, with Z or +01:00 for a zone other than the local one)."
        ) from error


def _now(now: float | None) -> float:
    return time.time() if now is None else now
