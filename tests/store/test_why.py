"""`cheapfirst why`: the story of one request, from the ledger alone."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from msgspec import structs

from cheapfirst.cli import root
from cheapfirst.errors import LedgerError
from cheapfirst.ledger import Recorder, record, store
from cheapfirst.messages import Attempt, Story
from stories import escalated, story


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def told(path: Path, *stories: Story) -> None:
    recorder = Recorder(path)
    for one in stories:
        recorder.record(one)
    recorder.close()


def run(*words: str) -> Result:
    return CliRunner(env={"COLUMNS": "300"}).invoke(root, words, catch_exceptions=False)


def with_first(told: Story, **outcome: object) -> Story:
    """The story with another outcome of its first attempt, which has no verdict then."""
    first: Attempt = structs.replace(told.attempts[0], outcome=structs.replace(told.attempts[0].outcome, **outcome))
    return structs.replace(told, attempts=(first, *told.attempts[1:]))


def test_it_tells_the_plan_each_attempt_and_the_bill(path: Path) -> None:
    one = escalated(id="req_1")
    one = structs.replace(one, plan=structs.replace(one.plan, reasons=("extract is easy",)))
    told(path, one)
    said = run("why", "req_1", "--ledger", str(path)).stdout
    lines = said.splitlines()
    assert lines[0] == "req_1"
    assert lines[1].startswith("extract")
    assert "extract is easy." in lines
    first, second = (line for line in lines if line[:2] in ("1.", "2."))
    assert first.startswith("1. cheap deepseek/deepseek-v4-flash")
    assert "rejected: schema.required at /*" in first
    assert second.startswith("2. escalated: premium anthropic/claude-opus-4.8")
    assert "accepted" in second
    assert f"Policy {one.plan.policy_hash} allowed: " in lines[-1]


def test_its_amounts_are_those_of_the_ledger_to_the_last_place(path: Path) -> None:
    one = story(id="req_1")
    told(path, one)
    found = record.find(path, "req_1")
    assert found.request["cost"] == sum((attempt.cost or Decimal(0) for attempt in one.attempts), Decimal(0))
    assert [attempt["cost"] for attempt in found.attempts] == [attempt.cost for attempt in one.attempts]
    printed = json.loads(run("why", "req_1", "--json", "--ledger", str(path)).stdout)
    assert Decimal(str(printed["request"]["cost"])) == found.request["cost"]
    assert printed["plan"]["task"] == one.plan.task


def test_an_unknown_cost_is_said_to_be_unknown(path: Path) -> None:
    one = escalated(id="req_1")
    first = structs.replace(one.attempts[0], cost=None)
    told(path, structs.replace(one, attempts=(first, *one.attempts[1:]), cost=None))
    said = run("why", "req_1", "--ledger", str(path)).stdout
    assert "what 1 attempt(s) cost is unknown" in said
    assert "1. cheap deepseek/deepseek-v4-flash: rejected: schema.required at /*, unknown" in said


def test_what_becomes_of_an_attempt_is_said_in_its_own_words(path: Path) -> None:
    one = escalated(id="req_1")
    told(path, with_first(one, kind="doomed"))
    assert (
        "1. cheap deepseek/deepseek-v4-flash: cut while it streamed: schema.required"
        in run("why", "req_1", "--ledger", str(path)).stdout
    )


def test_a_request_is_found_by_the_beginning_of_its_id_and_the_latest_without_one(path: Path) -> None:
    told(path, story(id="req_a1", time=5.0), story(id="req_a2", time=9.0), story(id="req_b", time=7.0))
    assert record.find(path, "req_b").request["id"] == "req_b"
    assert record.find(path, "req_a1").request["id"] == "req_a1"
    assert run("why", "--ledger", str(path)).stdout.splitlines()[0] == "req_a2"
    with pytest.raises(LedgerError, match="several requests begin with 'req_a': req_a1, req_a2"):
        record.find(path, "req_a")


@pytest.mark.parametrize("id", ["req_zzz", "%", "' OR 1=1 --"])
def test_a_request_that_is_not_there_is_an_error_that_says_where_ids_are(path: Path, id: str) -> None:
    with pytest.raises(LedgerError, match="there is no ledger at"):
        record.find(path, id)
    told(path, story(id="req_1"))
    with pytest.raises(LedgerError, match="x-cheapfirst-request-id"):
        record.find(path, id)


def test_a_ledger_without_requests_says_so(path: Path) -> None:
    store.open_store(path).db.close()
    with pytest.raises(LedgerError, match="no requests yet"):
        record.find(path, record.LAST)


def test_one_id_that_is_the_beginning_of_another_is_itself(path: Path) -> None:
    told(path, story(id="req_1"), story(id="req_12"))
    assert record.find(path, "req_1").request["id"] == "req_1"


def test_what_still_waits_in_a_journal_is_found(path: Path) -> None:
    recorder = Recorder(path)
    recorder.record(story(id="req_1"))
    assert record.find(path, "req_1").request["id"] == "req_1"
    recorder.close()
