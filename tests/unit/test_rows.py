"""`ledger.rows`: what of a finished request gets into the ledger, and what never does."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from msgspec import structs

from cheapfirst.ledger import rows
from cheapfirst.messages import Fault, Finding, Outcome, Step, Story, Usage, Verdict
from cheapfirst.money import total_known
from stories import CHEAP, MISSING, PREMIUM, attempt, escalated, stories, story

SECRET = "correct horse battery staple"


@given(stories())
def test_the_sums_of_a_request_are_the_exact_sums_over_its_attempts(told: Story) -> None:
    request, attempts = rows.rows(told)
    known = [row.cost for row in attempts if row.cost is not None]
    assert request.attempts == len(attempts) == len(told.attempts)
    assert request.cost_known == sum(known)
    assert Decimal(request.cost_known).scaleb(-12) == total_known(one.cost for one in told.attempts)
    assert request.unknown_attempts == len(attempts) - len(known)
    assert request.cost == (request.cost_known if request.unknown_attempts == 0 else None)
    turns = request.retries + request.failovers + request.cutoffs + request.downgrades + request.reasks
    assert turns == sum(row.on not in ("start", "reject") for row in attempts)


@given(stories())
def test_a_journal_line_reads_back_as_the_same_rows(told: Story) -> None:
    line = rows.line(told)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    request, attempts = rows.rows(told)
    read = msgspec.json.decode(line, type=rows.Line)
    assert read.request is not None
    assert rows.values(read.request) == rows.values(request)
    assert read.attempts == attempts


def test_message_text_answers_values_sentences_and_keys_never_get_into_a_line() -> None:
    bad = Verdict(
        accept=False,
        findings=(
            Finding(check="grounded", code="grounded.string", sentence=f"not found: {SECRET}", path=("names", SECRET)),
        ),
    )
    outcome = Outcome(
        kind="answer",
        message={"role": "assistant", "content": SECRET},
        text=SECRET,
        body={"choices": [{"message": {"content": SECRET}}]},
        fault=Fault(name="overloaded", sentence=SECRET, error_type=SECRET),
    )
    one = structs.replace(
        attempt(verdict=bad),
        outcome=outcome,
        value={"name": SECRET},
        trail=(Step(kind="unfenced", note=SECRET, path=(SECRET,)),),
    )
    told = story(one, body={"messages": [{"role": "user", "content": SECRET}], "api_key": SECRET})
    told = structs.replace(told, request=structs.replace(told.request, source=SECRET))
    assert SECRET.encode() not in rows.line(told)


def test_a_path_names_what_the_schema_or_a_tool_declares_and_nothing_that_the_answer_made_up() -> None:
    schema = {"properties": {"lines": {"items": {"properties": {"price": {}}}}}, "required": ["total"]}
    tools: list[dict[str, Any]] = [{"function": {"parameters": {"properties": {"city": {}}}}}]
    paths: tuple[tuple[str | int, ...], ...] = (("lines", 0, "price"), ("total",), ("city",), ("Jane Doe", 1), ())
    found = tuple(Finding(check="schema", code="schema.type", sentence="no", path=path) for path in paths)
    told = story(attempt(verdict=Verdict(accept=False, findings=found)), schema=schema, body={"tools": tools})
    _, (row,) = rows.rows(told)
    assert [reason.path for reason in row.reasons] == ["/lines/0/price", "/total", "/city", "/*/1", ""]


def test_an_escalated_request_shows_where_it_was_planned_and_who_answered() -> None:
    request, (first, second) = rows.rows(escalated(feature="inbox", tenant="acme", session="s1"))
    assert (request.tier_planned, request.cheap, request.tier, request.model) == ("cheap", True, "premium", PREMIUM)
    assert (request.escalated, request.ending, request.reasons) == (True, "accepted", ("schema.required",))
    assert (request.feature, request.tenant, request.session) == ("inbox", "acme", "s1")
    assert (first.won, first.accepted, first.trail) == (False, False, ("strict",))
    assert (second.won, second.accepted, second.on) == (True, True, "reject")


def test_unknown_cost_and_unreported_usage_stay_unknown() -> None:
    request, (row,) = rows.rows(story(attempt(cost=None, usage=None), baseline=None))
    assert (row.cost, row.prompt_tokens, request.cost, request.baseline) == (None, None, None, None)
    assert (request.cost_known, request.unknown_attempts, request.prompt_tokens) == (0, 1, None)


def test_tokens_of_a_request_are_the_sums_of_what_was_reported() -> None:
    used = Usage(prompt_tokens=10, completion_tokens=4, cached_tokens=3, cache_write_tokens=2, reasoning_tokens=1)
    told = story(attempt(1, usage=used), attempt(2, on="retry", usage=None), attempt(3, on="retry", usage=used))
    request, _ = rows.rows(told)
    tokens = [getattr(request, name) for name in Usage.__struct_fields__]
    assert tokens == [20, 8, 6, 4, 2]


@pytest.mark.parametrize(
    ("tier", "tiers", "cheap"),
    [
        ("cheap", (), True),
        ("premium", (), False),
        ("small", ("small", "large"), True),
        ("large", ("small", "large"), False),
        ("cheap", ("free", "cheap", "premium"), False),
    ],
)
def test_a_request_counts_as_cheap_when_its_plan_starts_on_the_policys_first_tier(
    tier: str, tiers: tuple[str, ...], cheap: bool
) -> None:
    request, _ = rows.rows(story(tier=tier, tiers=tiers))
    assert request.cheap is cheap


def test_each_kind_of_turn_is_counted_apart() -> None:
    turns: Any = ("start", "retry", "retry", "fault", "cut-off", "downgrade", "re-ask", "reject")
    told = story(*(attempt(number, on=on) for number, on in enumerate(turns, 1)))
    row, _ = rows.rows(told)
    assert (row.retries, row.failovers, row.cutoffs, row.downgrades, row.reasks, row.escalated) == (2, 1, 1, 1, 1, True)


def test_a_request_that_ended_on_a_fault_names_it() -> None:
    fault = Fault(name="overloaded", sentence="busy", status=503)
    told = story(attempt(kind="fault", fault=fault, verdict=None, cost="0"))
    request, (row,) = rows.rows(told)
    assert (request.ending, request.error, request.model) == ("fault", "overloaded", None)
    assert (row.fault, row.fault_status, row.accepted) == ("overloaded", 503, None)


def test_names_that_no_file_can_hold_are_made_holdable() -> None:
    request, _ = rows.rows(story(feature="half \ud83d", tenant=42))
    assert request.feature == "half ?"
    assert request.tenant == "42"
    assert rows.line(story(feature="\udfff"))


def test_what_no_database_integer_holds_is_unknown() -> None:
    told = story(attempt(cost="9300000", usage=Usage(prompt_tokens=2**70)))
    request, (row,) = rows.rows(told)
    assert (row.cost, row.prompt_tokens, request.cost, request.unknown_attempts) == (None, None, None, 1)


def test_the_plan_is_kept_as_json_with_its_attempts_and_reasons() -> None:
    told = story(attempt(verdict=MISSING))
    told = structs.replace(told, plan=structs.replace(told.plan, reasons=("extract is easy",)))
    request, _ = rows.rows(told)
    kept = rows.blueprint_of(told)
    assert request.plan == kept.hash
    plan = msgspec.json.decode(kept.text)
    assert plan["reasons"] == ["extract is easy"]
    assert plan["attempts"][0]["model"] == CHEAP
    longer = structs.replace(told, plan=structs.replace(told.plan, prompt_tokens=told.plan.prompt_tokens + 1))
    assert rows.blueprint_of(longer) == kept
    assert rows.rows(longer)[0].prompt_estimate == request.prompt_estimate + 1
