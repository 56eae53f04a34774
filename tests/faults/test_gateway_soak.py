"""A small soak of the gateway: faults at both ends, and at the end every row and every cent is where it belongs."""

from __future__ import annotations

from pathlib import Path

from benchmarks.soak.__main__ import plain, soak


def test_after_a_storm_nothing_is_lost_doubled_or_stuck_and_the_books_agree(tmp_path: Path) -> None:
    summary = soak(tmp_path, requests=600, clients=32, seed=3, idle=False)
    assert summary.violations == [], plain(summary)
    assert summary.requests == 600
    assert summary.streamed > 150
    assert summary.audit.acknowledged > 500
    assert summary.audit.endings["cancelled"] > 0
    assert summary.upstream_calls >= 600 - 60
