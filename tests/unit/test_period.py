"""`ledger.period`: the points in time that reports take."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cheapfirst.errors import LedgerError
from cheapfirst.ledger.period import moment

NOW = 1_790_000_000.0


@pytest.mark.parametrize(
    ("age", "seconds"),
    [("90s", 90), ("30m", 1800), ("24h", 86400), ("7d", 604800), ("2w", 1209600), (" 1.5H ", 5400), ("0d", 0)],
)
def test_an_age_counts_back_from_now(age: str, seconds: float) -> None:
    assert moment(age, now=NOW) == NOW - seconds
    assert moment(timedelta(seconds=seconds), now=NOW) == NOW - seconds


def test_a_date_is_its_local_midnight() -> None:
    assert moment("2026-11-01") == datetime(2026, 11, 1).timestamp()


def test_a_time_with_a_zone_is_that_time() -> None:
    assert moment("2026-11-01T09:30Z") == datetime(2026, 11, 1, 9, 30, tzinfo=UTC).timestamp()
    assert moment("2026-11-01T09:30+01:00") == datetime(2026, 11, 1, 8, 30, tzinfo=UTC).timestamp()


@given(st.datetimes(datetime(1971, 1, 1), datetime(2200, 1, 1)))
def test_an_iso_time_means_what_the_datetime_means(time: datetime) -> None:
    assert moment(time.isoformat()) == moment(time) == time.timestamp()


def test_a_number_is_unix_seconds() -> None:
    assert moment(NOW) == NOW


@pytest.mark.parametrize("text", ["", "yesterday", "7", "7x", "-1d", "2026-13-01", "1e3s", "٧d"])
def test_anything_else_is_refused_with_what_is_allowed(text: str) -> None:
    with pytest.raises(LedgerError, match="24h"):
        moment(text)
