"""`ledger.report`: sums that add up exactly, shares that mean what they say, clear answers when there is nothing."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec import structs

from cheapfirst.errors import LedgerError
from cheapfirst.ledger import Recorder, journal, report
from cheapfirst.ledger.report import Report
from cheapfirst.messages import Fault, Finding, Story, Verdict
from cheapfirst.money import total_known
from stories import CHEAP, MISSING, PREMIUM, attempt, escalated, stories, story


def recorded(path: Path, *told: Story) -> Path:
    recorder = Recorder(path)
    for one in told:
        recorder.record(one)
    recorder.close()
    return path


def reported(tmp_path: Path, *told: Story) -> Report:
    return report.report(recorded(tmp_path / "ledger.db", *told))


@settings(max_examples=40)
@given(st.lists(stories(), max_size=8))
def test_costs_of_attempts_sum_exactly_to_requests_to_groups_and_to_the_total(
    tmp_path_factory: pytest.TempPathFactory, told: list[Story]
) -> None:
    path = recorded(tmp_path_factory.mktemp("report") / "ledger.db", *told)
    found = report.report(path)
    spent = total_known(made.cost for one in told for made in one.attempts)
    compared = [one for one in told if one.cost is not None and one.baseline is not None]
    assert found.total.cost == spent
    assert found.total.compared_cost == total_known(one.cost for one in compared)
    assert found.total.saved == total_known(one.baseline for one in compared) - found.total.compared_cost
    for groups in (found.tasks, found.features, found.tenants, found.models, found.policies):
        for field in ("cost", "unknown_attempts", "attempts", "requests", "compared", "baseline", "saved", "escalated"):
            assert sum(getattr(group, field) for group in groups) == getattr(found.total, field)
    assert sum(found.endings.values()) == len(told)
    won = total_known(made.cost for one in told for made in one.attempts if made.number == one.winner)
    assert found.wasted_cost == spent - won
    if told:
        with sqlite3.connect(path) as db:
            assert db.execute(
                "SELECT sum(cost_known), (SELECT sum(cost) FROM attempts), sum(unknown_attempts) FROM requests"
            ).fetchone() == (
                int(spent.scaleb(12)),
                int(spent.scaleb(12)) if any(made.cost is not None for one in told for made in one.attempts) else None,
                found.total.unknown_attempts,
            )


def test_sums_beyond_what_a_database_integer_holds_stay_exact(tmp_path: Path) -> None:
    told = [story(attempt(cost="9000000.000000000001"), baseline="9200000") for _ in range(3)]
    found = reported(tmp_path, *told)
    assert found.total.cost == Decimal("27000000.000000000003")
    assert found.total.saved == Decimal("599999.999999999997")
    assert found.models[0].cost == found.total.cost


def test_the_cheap_tier_resolved_what_started_there_and_was_accepted_there(tmp_path: Path) -> None:
    failover = story(
        attempt(1, kind="fault", fault=Fault(name="overloaded", sentence="busy"), verdict=None),
        attempt(2, on="fault", tier="premium", model=PREMIUM),
    )
    found = reported(
        tmp_path,
        story(),
        story(attempt(1, verdict=MISSING), attempt(2, on="re-ask")),
        escalated(),
        failover,
        story(attempt(verdict=MISSING), ending="returned", winner=1),
        story(attempt(tier="premium", model=PREMIUM), tier="premium", task="report"),
    ).total
    assert (found.requests, found.started_cheap, found.resolved_cheap) == (6, 5, 2)
    assert found.resolved_share == 2 / 5
    assert found.resolved_share_of_all == 2 / 6
    assert (found.accepted, found.escalated) == (5, 1)


def test_escalations_are_counted_by_task_and_by_every_reason_of_the_verdict_before(tmp_path: Path) -> None:
    both = Verdict(
        accept=False,
        findings=tuple(
            Finding(check="schema", code=code, sentence="", path=path)
            for code, path in (("schema.required", ("a",)), ("schema.required", ("b",)), ("schema.enum", ("c",)))
        ),
    )
    twice = story(attempt(1, verdict=both), attempt(2, on="reject", tier="premium"), task="classify")
    reasked = story(
        attempt(1, verdict=both), attempt(2, on="re-ask", verdict=MISSING), attempt(3, on="reject", tier="premium")
    )
    unsaid = story(attempt(1, verdict=Verdict(accept=False)), attempt(2, on="reject"), task="chat")
    found = reported(tmp_path, twice, reasked, escalated(), unsaid, story(attempt(verdict=MISSING)))
    assert [(one.task, one.code, one.count) for one in found.escalations] == [
        ("extract", "schema.required", 2),
        ("chat", None, 1),
        ("classify", "schema.enum", 1),
        ("classify", "schema.required", 1),
    ]
    assert {group.name: group.escalated for group in found.tasks} == {"extract": 2, "classify": 1, "chat": 1}


def test_unknown_costs_are_counted_and_left_out_of_the_comparison(tmp_path: Path) -> None:
    found = reported(
        tmp_path,
        story(attempt(cost=None)),
        story(attempt(cost="0.25"), baseline=None),
        story(attempt(cost="0.25"), baseline="1"),
    ).total
    assert (found.cost, found.unknown_attempts) == (Decimal("0.5"), 1)
    assert (found.compared, found.compared_cost, found.baseline) == (1, Decimal("0.25"), Decimal(1))
    assert (found.saved, found.saved_share) == (Decimal("0.75"), 0.75)


def test_escalation_that_costs_more_than_it_saves_shows_as_a_loss(tmp_path: Path) -> None:
    found = reported(tmp_path, escalated(baseline="0.001")).total
    assert found.saved == Decimal("-0.000002")


def test_a_model_is_charged_for_its_attempts_and_credited_with_the_answers_handed_out(tmp_path: Path) -> None:
    found = reported(tmp_path, story(), escalated(), story(attempt(verdict=MISSING, cost="0.5")))
    models = {group.name: group for group in found.models}
    assert {name: (group.attempts, group.requests) for name, group in models.items()} == {
        CHEAP: (3, 1),
        PREMIUM: (1, 1),
        None: (0, 1),
    }
    assert models[CHEAP].cost == Decimal("0.500004")


def test_what_was_spent_on_answers_nobody_got_is_named_by_what_came_of_them(tmp_path: Path) -> None:
    fault = Fault(name="silent", sentence="no token")
    found = reported(
        tmp_path,
        story(
            attempt(1, kind="cut-off", verdict=None, cost="0.1"),
            attempt(2, on="cut-off", verdict=MISSING, cost="0.2"),
            attempt(3, on="reject", kind="fault", fault=fault, verdict=None, cost=None),
            attempt(4, on="retry", cost="9"),
        ),
        story(attempt(cost="0.4"), ending="cancelled", winner=None),
    )
    assert [(part.name, part.attempts, part.cost, part.unknown_attempts) for part in found.wasted] == [
        ("unused", 1, Decimal("0.4"), 0),
        ("rejected", 1, Decimal("0.2"), 0),
        ("cut-off", 1, Decimal("0.1"), 0),
        ("fault", 1, Decimal(0), 1),
    ]
    assert found.wasted_cost == Decimal("0.7")


def test_latency_is_exact_and_apart_for_escalated_requests(tmp_path: Path) -> None:
    slow = [escalated(duration=float(number)) for number in (7, 5)]
    found = reported(tmp_path, *(story(duration=number / 100) for number in range(1, 101)), *slow)
    latency = {one.name: (one.requests, one.p50, one.p95, one.p99) for one in found.latency}
    assert latency == {
        "all": (102, 0.51, 0.97, 5.0),
        "not escalated": (100, 0.5, 0.95, 0.99),
        "escalated": (2, 5.0, 7.0, 7.0),
    }


def test_a_period_holds_what_began_in_it(tmp_path: Path) -> None:
    path = recorded(tmp_path / "ledger.db", *(story(time=float(time)) for time in (100, 200, 300)))
    found = report.report(path, since=200.0, until=300.0)
    assert (found.total.requests, found.first, found.last) == (1, 200.0, 200.0)
    assert report.report(path, since=100.5).total.requests == 2
    assert "in this period" in (report.report(path, since="1h").note or "")
    with pytest.raises(LedgerError, match="24h"):
        report.report(path, since="lately")


def test_turns_are_counted_apart(tmp_path: Path) -> None:
    found = reported(tmp_path, story(attempt(1), attempt(2, on="retry"), attempt(3, on="cut-off")), story())
    assert structs.asdict(found.turns) == {"retries": 1, "failovers": 0, "cutoffs": 1, "downgrades": 0, "reasks": 0}


def test_an_absent_ledger_gives_an_empty_report_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "nowhere" / "ledger.db"
    found = report.report(path)
    assert (found.total.requests, found.first, found.tasks) == (0, None, ())
    assert found.note is not None
    assert str(path) in found.note
    assert not path.parent.exists()


def test_an_empty_file_gives_an_empty_report_that_says_so(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.touch()
    found = report.report(path)
    assert found.total.requests == 0
    assert "no requests" in (found.note or "")


def test_a_file_that_is_no_ledger_is_named(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"notes " * 1000)
    with pytest.raises(LedgerError, match="not a ledger"):
        report.report(path)


def test_what_living_and_dead_processes_have_in_their_journals_is_in_the_report(tmp_path: Path) -> None:
    from cheapfirst.ledger.rows import line

    path = tmp_path / "ledger.db"
    own = journal.create(journal.directory(path))
    own.append(line(story()) + line(escalated()))
    (own.path.parent / "1-dead.jsonl").write_bytes(line(story()) + b"torn")
    for _ in range(2):
        found = report.report(path)
        assert (found.total.requests, found.losses.unreadable, found.note) == (3, 1, None)
    assert journal.present(own.path.parent) == [own.path]
    own.close()


def test_json_keeps_amounts_exact_and_csv_has_a_line_for_every_group(tmp_path: Path) -> None:
    found = reported(tmp_path, story(tenant='a "b", c'), escalated(feature="inbox"))
    plain = json.loads(json.dumps(report.to_dict(found)))
    assert plain["total"]["cost"] == "0.001004000000"
    lines = list(csv.DictReader(io.StringIO(report.to_csv(found))))
    assert [(line["by"], line["name"]) for line in lines] == [
        ("total", ""),
        ("task", "extract"),
        ("feature", "inbox"),
        ("feature", ""),
        ("tenant", ""),
        ("tenant", 'a "b", c'),
        ("model", PREMIUM),
        ("model", CHEAP),
        ("policy", "0123456789ab"),
    ]
    assert lines[0]["cost"] == "0.001004000000"
    assert lines[0]["resolved_share"] == "0.5"
