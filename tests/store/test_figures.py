"""`ledger.figures`: what pages, reports and alarms read, held to plain sums over the stories that were told."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cheapfirst.errors import LedgerError
from cheapfirst.ledger import Recorder
from cheapfirst.ledger.figures import BY, Figures, Filters, Totals, Window
from cheapfirst.ledger.latency import RATIO, Latency, bucket, middle
from cheapfirst.ledger.report import report
from cheapfirst.ledger.rows import rows
from cheapfirst.messages import Fault, Story
from cheapfirst.money import total_known
from stories import CHEAP, MISSING, PREMIUM, attempt, escalated, stories, story

HOUR, DAY = 3600, 86400
AT = 1_790_002_800.0  # a full hour
EVER = Window(0.0, 4e9)
COLUMN = {"policy": "policy_hash"}


def recorded(path: Path, *told: Story) -> Figures:
    recorder = Recorder(path)
    for one in told:
        recorder.record(one)
    recorder.close()
    return Figures(path)


def same(found: Totals, told: list[Story]) -> None:
    """Hold figures to sums over the stories' rows."""
    made = [rows(one) for one in told]
    requests = [request for request, _ in made]
    assert found.requests == len(told)
    for name in (
        "attempts",
        "retries",
        "failovers",
        "cutoffs",
        "downgrades",
        "reasks",
        "escalated",
        "unknown_attempts",
    ):
        assert getattr(found, name) == sum(getattr(request, name) for request in requests), name
    for name in ("prompt_tokens", "completion_tokens", "cached_tokens", "cache_write_tokens", "reasoning_tokens"):
        assert getattr(found, name) == sum(getattr(request, name) or 0 for request in requests), name
    assert found.accepted == sum(one.ending == "accepted" for one in told)
    assert found.accepted + found.returned + found.cancelled + found.failed == len(told)
    assert found.cost == total_known(call.cost for one in told for call in one.attempts)
    assert found.cost_unknown == sum(one.cost is None for one in told)
    assert found.baseline == total_known(one.baseline for one in told)
    assert found.baseline_unknown == sum(one.baseline is None for one in told)
    compared = [one for one in told if one.cost is not None and one.baseline is not None]
    assert found.compared == len(compared)
    assert found.saved == total_known(one.baseline for one in compared) - total_known(one.cost for one in compared)
    assert found.wasted == total_known(call.cost for one in told for call in one.attempts if call.number != one.winner)
    assert found.latency_escalated.count == sum(one.escalated for one in told)
    assert found.latency.count == len(told)


@settings(max_examples=40)
@given(st.lists(stories(), max_size=8))
def test_figures_are_the_sums_of_what_was_told_in_all_and_in_every_group(
    tmp_path_factory: pytest.TempPathFactory, told: list[Story]
) -> None:
    figures = recorded(tmp_path_factory.mktemp("figures") / "ledger.db", *told)
    same(figures.total(EVER), told)
    for by in BY:
        kept: dict[str, list[Story]] = {}
        for one in told:
            kept.setdefault(getattr(rows(one)[0], COLUMN.get(by, by)) or "", []).append(one)
        groups = figures.groups(EVER, by)
        assert {group.name for group in groups} == set(kept)
        assert [group.cost for group in groups] == sorted((group.cost for group in groups), reverse=True)
        for group in groups:
            same(group, kept[group.name])
            assert figures.total(EVER, by=by, name=group.name) == group


@settings(max_examples=40)
@given(st.lists(st.floats(AT - 2 * DAY, AT + 2 * DAY), max_size=12), st.data())
def test_a_window_holds_what_began_in_it_to_the_second(
    tmp_path_factory: pytest.TempPathFactory, times: list[float], data: st.DataObject
) -> None:
    told = [story(time=time, duration=time % 7) for time in times]
    figures = recorded(tmp_path_factory.mktemp("figures") / "ledger.db", *told)
    ends = st.floats(AT - 3 * DAY, AT + 3 * DAY) | st.sampled_from([AT, AT + HOUR, *times])
    window = Window(*sorted((data.draw(ends), data.draw(ends))))
    inside = [one for one in told if window.since <= one.time < window.until]
    same(figures.total(window), inside)
    for step, length in (("hour", HOUR), ("day", DAY)):
        series = figures.series(window, step)  # type: ignore[arg-type]
        starts = [int(one.at or 0) for one in series]
        assert all(start % length == 0 for start in starts)
        assert starts == sorted(starts)
        assert all(b - a == length for a, b in pairwise(starts))
        for one in series:
            same(one, [made for made in inside if one.at == made.time // length * length])
        assert sum(one.requests for one in series) == len(inside)


def test_empty_steps_of_a_series_are_there(tmp_path: Path) -> None:
    figures = recorded(tmp_path / "ledger.db", story(time=AT), story(time=AT + 2 * HOUR + 1))
    found = figures.series(Window(AT, AT + 3 * HOUR), "hour", by="task", name="extract")
    assert [(one.at, one.requests) for one in found] == [(AT, 1), (AT + HOUR, 0), (AT + 2 * HOUR, 1)]


def test_the_same_figures_as_the_report(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    figures = recorded(path, story(), escalated(feature="inbox"), story(attempt(cost=None)))
    told, found = report(path), figures.total(EVER)
    assert (found.cost, found.saved, found.wasted) == (told.total.cost, told.total.saved, told.wasted_cost)
    assert (found.cheap_planned, found.cheap_resolved) == (told.total.started_cheap, told.total.resolved_cheap)
    assert found.saved_share == told.total.saved_share


def test_reasons_say_why_and_how_often(tmp_path: Path) -> None:
    busy = attempt(1, kind="fault", fault=Fault(name="overloaded", sentence="busy"), verdict=None)
    figures = recorded(
        tmp_path / "ledger.db",
        escalated(time=AT),
        escalated(time=AT + HOUR, task="classify"),
        story(attempt(kind="cut-off", verdict=MISSING), time=AT),
        story(busy, attempt(2, on="fault"), time=AT),
    )
    found = {(one.kind, one.reason): one.count for one in figures.reasons(EVER, task="extract")}
    assert found == {
        ("ending", "accepted"): 2,
        ("ending", "rejected"): 1,
        ("verdict", "schema.required"): 2,
        ("escalation", "schema.required"): 1,
        ("outcome", "cut-off"): 1,
        ("fault", "overloaded"): 1,
    }
    steps = [(one.at, one.task, one.count) for one in figures.reasons(EVER, step="hour") if one.kind == "escalation"]
    assert steps == [(AT, "extract", 1), (AT + HOUR, "classify", 1)]


def test_models_tell_what_each_provider_did_and_the_price_that_was_paid(tmp_path: Path) -> None:
    figures = recorded(
        tmp_path / "ledger.db",
        story(attempt(provider="Acme", cost="0.00012")),
        story(attempt(provider="Acme", cost=None)),
        escalated(),
    )
    found = {(one.model, one.provider): one for one in figures.models(EVER)}
    acme = found[CHEAP, "Acme"]
    assert (acme.attempts, acme.won, acme.answers, acme.cost_unknown) == (2, 2, 2, 1)
    assert acme.price == Decimal(1)  # 0.00012 USD for 120 tokens
    assert found[CHEAP, ""].rejected == 1
    assert found[CHEAP, ""].wasted == found[CHEAP, ""].cost == Decimal("0.000002")
    assert found[PREMIUM, ""].latency.count == 1


@settings(max_examples=20)
@given(st.lists(stories(), max_size=8))
def test_models_add_up_to_the_total(tmp_path_factory: pytest.TempPathFactory, told: list[Story]) -> None:
    figures = recorded(tmp_path_factory.mktemp("figures") / "ledger.db", *told)
    models, total = figures.models(EVER), figures.total(EVER)
    for name in ("attempts", "cost", "wasted", "prompt_tokens"):
        assert sum(getattr(one, name) for one in models) == getattr(total, name)
    for one in models:
        assert one.attempts == one.answers + one.cutoffs + one.refusals + one.doomed + one.faults


def test_requests_come_in_pages_latest_first_each_once_also_those_of_one_moment(tmp_path: Path) -> None:
    told = [story(id=f"req_{number:02}", time=AT + number // 3) for number in range(11)]
    figures = recorded(tmp_path / "ledger.db", *told)
    seen: list[str] = []
    page = figures.requests(limit=4)
    while True:
        seen += [one.row.id for one in page.requests]
        if page.before is None:
            break
        page = figures.requests(limit=4, before=page.before)
    assert seen == [f"req_{number:02}" for number in reversed(range(11))]


def test_filters_let_through_what_meets_all_of_them(tmp_path: Path) -> None:
    figures = recorded(
        tmp_path / "ledger.db",
        story(id="plain", tenant="a", time=AT),
        escalated(id="up", tenant="a", time=AT + 1),
        story(attempt(cost=None), id="unknown", tenant="b", time=AT + 2),
    )

    def ids(**wanted: object) -> list[str]:
        return [one.row.id for one in figures.requests(Filters(**wanted)).requests]  # type: ignore[arg-type]

    assert ids(tenant="a") == ["up", "plain"]
    assert ids(tenant="a", escalated=True) == ids(reason="schema.required") == ids(model=PREMIUM) == ["up"]
    assert ids(unknown=True) == ["unknown"]
    assert ids(feature="") == ["unknown", "up", "plain"]
    assert ids(window=Window(AT, AT + 1)) == ["plain"]
    assert ids(ending="rejected") == []


def test_one_request_comes_with_its_attempts_and_its_plan(tmp_path: Path) -> None:
    told = escalated(id="req_a")
    figures = recorded(tmp_path / "ledger.db", told, story(id="req_b"))
    whole = figures.request("req_a")
    assert whole is not None
    assert (whole.request.row, whole.attempts) == rows(told)
    assert whole.request.cost == Decimal("0.001002")
    assert whole.plan is not None
    assert whole.plan["tier"] == "cheap"
    assert figures.request("req_c") is None


def test_a_ledger_that_is_not_there_yet_is_empty(tmp_path: Path) -> None:
    figures = Figures(tmp_path / "ledger.db")
    assert figures.total(EVER) == Totals()
    assert not figures.groups(EVER, "task")
    assert not figures.models(EVER)
    assert not figures.reasons(EVER)
    assert figures.requests().requests == ()
    assert figures.request("req_a") is None
    assert figures.losses(EVER).dropped == 0
    assert figures.backlog().journals == 0
    assert not (tmp_path / "ledger.db").exists()


def test_a_file_that_is_no_ledger_and_a_group_of_nothing_are_refused(tmp_path: Path) -> None:
    (tmp_path / "ledger.db").write_bytes(b"not a database at all, but long enough to be read as one" * 20)
    figures = Figures(tmp_path / "ledger.db")
    with pytest.raises(LedgerError, match="not a ledger"):
        figures.total(EVER)
    with pytest.raises(LedgerError, match="Allowed: task, feature"):
        figures.groups(EVER, "colour")  # type: ignore[arg-type]
    with pytest.raises(LedgerError, match="too many"):
        figures.series(EVER, "hour")


@given(st.lists(st.floats(0.001, 10_000), min_size=1, max_size=50), st.floats(0, 1))
def test_a_quantile_is_that_of_the_durations_to_five_percent(seconds: list[float], share: float) -> None:
    counts: dict[int, int] = {}
    for one in seconds:
        counts[bucket(one)] = counts.get(bucket(one), 0) + 1
    found = Latency(counts).quantile(share)
    rank = max(1, -int(-share * len(seconds) // 1))
    assert found is not None
    assert abs(found / sorted(seconds)[rank - 1] - 1) <= 0.05


@given(st.floats(0, 1e9))
def test_every_duration_is_in_the_bucket_whose_bounds_hold_it(seconds: float) -> None:
    number = bucket(seconds)
    if 0 < number < 200:
        assert abs(middle(number) / seconds - 1) <= RATIO**0.5 - 1 + 1e-6
