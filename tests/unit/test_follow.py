"""`plan.follow`: what comes next after each signal."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from cheapfirst.messages import Fault, Form, On, Plan, Planned
from cheapfirst.plan import Position, Signal, follow


def planned(on: On, tier: str, model: str, room: int = 1000, form: Form = "json_schema", worst: str = "1") -> Planned:
    return Planned(on=on, tier=tier, model=model, form=form, max_tokens=room, worst_case=Decimal(worst))


def plan(*attempts: Planned, retries: int = 2) -> Plan:
    return Plan(task="extract", shape="json", tier=attempts[0].tier, attempts=attempts, retries=retries)


WHOLE = plan(
    planned("start", "cheap", "a"),
    planned("downgrade", "cheap", "a", form="json_object"),
    planned("downgrade", "cheap", "a", form="prompt"),
    planned("cut-off", "cheap", "a", room=4000),
    planned("re-ask", "cheap", "a"),
    planned("fault", "cheap", "b", worst="0.5"),
    planned("cut-off", "cheap", "b", room=4000),
    planned("reject", "premium", "c"),
    planned("cut-off", "premium", "c", room=8000),
)
PASSING = Fault(name="overloaded", sentence="busy", retry=True, failover=True)
LASTING = Fault(name="not_found", sentence="gone", failover=True)
FORM = Fault(name="unsupported_form", sentence="no schema", downgrade=True, failover=True)
FATAL = Fault(name="unauthorized", sentence="bad key")
DEAR = Fault(name="payment_required", sentence="too dear", cheaper=True)


def walk(table: Plan, *signals: Signal) -> list[tuple[str, str, str]]:
    """(on, tier, model) after each signal, until the plan allows nothing more."""
    position = Position()
    seen: list[tuple[str, str, str]] = []
    for signal in signals:
        after = follow(table, position, signal)
        if after is None:
            break
        position = after
        here = table.attempts[position.index]
        seen.append((position.on, here.tier, here.model))
    return seen


def test_a_rejected_answer_is_asked_again_and_then_goes_one_tier_up() -> None:
    assert walk(WHOLE, "reject", "reject", "reject") == [("re-ask", "cheap", "a"), ("reject", "premium", "c")]


def test_a_cut_off_stays_on_its_tier_and_model_with_more_room() -> None:
    after = follow(WHOLE, Position(), "cut-off")
    assert after is not None
    assert (after.on, WHOLE.attempts[after.index].model, WHOLE.attempts[after.index].max_tokens) == (
        "cut-off",
        "a",
        4000,
    )


def test_a_cut_off_at_a_models_own_limit_goes_to_the_next_model_with_longer_output() -> None:
    table = plan(
        planned("start", "cheap", "a", room=1000),
        planned("fault", "cheap", "b", room=1000),
        planned("fault", "cheap", "c", room=3000),
        planned("reject", "premium", "d", room=4000),
    )
    assert walk(table, "cut-off", "cut-off", "cut-off") == [("cut-off", "cheap", "c"), ("cut-off", "premium", "d")]


def test_a_cut_off_never_goes_back_to_less_room() -> None:
    table = plan(planned("start", "cheap", "a", room=5000), planned("cut-off", "cheap", "b", room=4000))
    assert follow(table, Position(), "cut-off") is None


def test_a_passing_fault_is_retried_as_often_as_the_plan_says_and_then_failed_over() -> None:
    assert walk(WHOLE, PASSING, PASSING, PASSING) == [
        ("retry", "cheap", "a"),
        ("retry", "cheap", "a"),
        ("fault", "cheap", "b"),
    ]


def test_when_the_whole_tier_fails_the_next_one_is_a_failover_and_not_an_escalation() -> None:
    assert walk(WHOLE, LASTING, LASTING) == [("fault", "cheap", "b"), ("fault", "premium", "c")]


def test_a_refused_form_is_asked_again_in_the_next_weaker_one() -> None:
    first = follow(WHOLE, Position(), FORM)
    assert first is not None
    second = follow(WHOLE, first, FORM)
    assert second is not None
    assert (first.form, second.form) == ("json_object", "prompt")


def test_the_weaker_form_stays_for_later_attempts_of_that_model_only() -> None:
    refused = follow(WHOLE, Position(), FORM)
    assert refused is not None
    roomier = follow(WHOLE, refused, "cut-off")
    assert roomier is not None
    assert roomier.form == "json_object"
    other = follow(WHOLE, refused, LASTING)
    assert other is not None
    assert other.form is None


def test_a_fatal_fault_ends_the_plan() -> None:
    assert follow(WHOLE, Position(), FATAL) is None


def test_a_refused_payment_goes_only_to_a_cheaper_call() -> None:
    assert walk(WHOLE, DEAR) == [("fault", "cheap", "b")]
    assert follow(plan(planned("start", "cheap", "a"), planned("fault", "cheap", "b")), Position(), DEAR) is None


SIGNALS = st.sampled_from(["cut-off", "reject", PASSING, LASTING, FORM, FATAL, DEAR])
ATTEMPTS = st.builds(
    planned,
    st.sampled_from(["retry", "downgrade", "cut-off", "fault", "re-ask", "reject"]),
    st.sampled_from(["cheap", "middle", "premium"]),
    st.sampled_from(["a", "b", "c"]),
    st.integers(1, 5),
    st.sampled_from(["json_schema", "json_object", "prompt"]),
    st.sampled_from(["1", "2", "3"]),
)


@given(st.lists(ATTEMPTS, min_size=1, max_size=8), st.integers(0, 3), st.lists(SIGNALS, max_size=60))
def test_no_signals_whatever_lead_to_more_than_the_planned_attempts_and_their_retries(
    attempts: list[Planned], retries: int, signals: list[Signal]
) -> None:
    table = plan(*attempts, retries=retries)
    position = Position()
    visited = [position.index]
    retried = 0
    for signal in signals:
        after = follow(table, position, signal)
        if after is None:
            break
        if after.on == "retry":
            assert after.index == position.index
            retried += 1
        else:
            visited.append(after.index)
        position = after
    assert len(visited) == len(set(visited))
    assert retried <= retries * len(visited)
