"""`access.books`, `access.window` and `access.period`: who is let in on which counters, without any store."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from cheapfirst.access import books, period, window
from cheapfirst.access.books import Account, Amounts, Ask, Books, Exhausted, Full, Grant, Held
from cheapfirst.access.concern import AccountId, Cap, Concern
from cheapfirst.policy.table import Per

IDS = (AccountId("tenant", "a", "2026-11-23"), AccountId("tenant", "b", "2026-11-23"), AccountId("task", "x", "total"))
LIMITS = {IDS[0]: 1000, IDS[1]: 50, IDS[2]: 1500}


def cap(id: AccountId) -> Cap:
    return Cap(id, "day", LIMITS[id], LIMITS[id] // 2, None)


class Machine(RuleBasedStateMachine):
    """Any order of requests, settlements and deaths."""

    def __init__(self) -> None:
        super().__init__()
        self.books = Books({}, {})
        self.open: dict[str, tuple[Held, int]] = {}
        self.spent = dict.fromkeys(IDS, 0)
        self.number = 0

    @rule(
        ids=st.sets(st.sampled_from(IDS), min_size=1),
        least=st.integers(0, 60),
        more=st.integers(0, 600),
        cheap=st.none() | st.integers(0, 10),
        last=st.booleans(),
    )
    def ask(self, ids: set[AccountId], least: int, more: int, cheap: int | None, last: bool) -> None:
        self.number += 1
        caps = tuple(cap(id) for id in sorted(ids))
        asked = Ask(
            id=str(self.number),
            concern=Concern(caps, ()),
            amounts=Amounts(least + more, least),
            stepped=None if cheap is None else Amounts(cheap, cheap),
            tokens=0,
            expires=0.0,
            last=last,
        )
        account = self.books.accounts
        free = min(LIMITS[id] - account[id].spent - account[id].reserved if id in account else LIMITS[id] for id in ids)
        left = min(LIMITS[id] - account[id].spent if id in account else LIMITS[id] for id in ids)
        decision = books.admit(self.books, asked, 0.0)
        if least + more <= free:
            assert isinstance(decision, Grant), "what fits is let in"
        if isinstance(decision, Grant):
            self.open[asked.id] = (decision.held, decision.held.amount)
            if not decision.step_down:
                assert least <= decision.held.amount <= least + more
        elif isinstance(decision, Exhausted):
            assert left < least, "only what was spent exhausts a budget"
        else:
            assert isinstance(decision, Full)
            assert free < least + more

    @precondition(lambda self: self.open)
    @rule(data=st.data(), share=st.none() | st.floats(0, 1))
    def settle(self, data: st.DataObject, share: float | None) -> None:
        held, amount = self.open.pop(data.draw(st.sampled_from(sorted(self.open))))
        cost = None if share is None else int(amount * share)
        books.settle(self.books, held, cost, None)
        for id in held.accounts:
            self.spent[id] += amount if cost is None else cost

    @invariant()
    def counters_are_exact_and_no_limit_is_exceeded(self) -> None:
        for id, account in self.books.accounts.items():
            assert account.spent == self.spent[id]
            assert account.reserved == sum(amount for held, amount in self.open.values() if id in held.accounts)
            assert account.spent + account.reserved <= LIMITS[id]


TestMachine = Machine.TestCase


def ask(amounts: Amounts, *, last: bool = True) -> Ask:
    return Ask(
        id="1", concern=Concern((cap(IDS[0]),), ()), amounts=amounts, stepped=None, tokens=0, expires=0.0, last=last
    )


def test_who_waits_no_longer_takes_what_is_free_if_the_least_fits() -> None:
    found = Books({IDS[0]: Account(100, 600)}, {})
    assert isinstance(books.admit(found, ask(Amounts(500, 200), last=False), 0.0), Full)
    granted = books.admit(found, ask(Amounts(500, 200)), 0.0)
    assert isinstance(granted, Grant)
    assert granted.held.amount == 300
    assert isinstance(books.admit(found, ask(Amounts(500, 200)), 0.0), Full)


def test_a_request_that_costs_nothing_is_let_into_a_spent_budget() -> None:
    found = Books({IDS[0]: Account(1200, 0)}, {})
    assert isinstance(books.admit(found, ask(Amounts(0, 0)), 0.0), Grant)
    assert isinstance(books.admit(found, ask(Amounts(1, 1)), 0.0), Exhausted)


@given(st.lists(st.tuples(st.floats(0, 20), st.integers(0, 8)), max_size=60), st.integers(1, 20))
def test_no_sixty_seconds_hold_more_than_the_limit_and_the_wait_is_right(
    steps: list[tuple[float, int]], limit: int
) -> None:
    marks: window.Marks = {}
    let_in: deque[tuple[float, int]] = deque()
    now = 1_000_000.0
    for pause, amount in steps:
        now += pause
        window.prune(marks, now)
        wait = window.wait(marks, amount, limit, now)
        if wait > 0:
            later = dict(marks)
            window.prune(later, now + wait)
            assert window.wait(later, amount, limit, now + wait) == 0
            assert wait <= window.LENGTH + 1
            continue
        window.add(marks, amount, now)
        let_in.append((now, amount))
        recent = [size for moment, size in let_in if now - moment < 60 and size]
        assert sum(recent) <= limit or len(recent) == 1


@pytest.mark.parametrize(
    ("per", "moment", "named", "next_one"),
    [
        ("day", "2026-11-23T12:00:00", "2026-11-23", "2026-11-24T00:00:00"),
        ("day", "2026-12-31T23:59:59", "2026-12-31", "2027-01-01T00:00:00"),
        ("month", "2026-12-01T00:00:00", "2026-12", "2027-01-01T00:00:00"),
        ("month", "2028-02-29T10:00:00", "2028-02", "2028-03-01T00:00:00"),
        ("total", "2026-11-23T12:00:00", "total", None),
    ],
)
def test_periods_are_those_of_utc(per: Per, moment: str, named: str, next_one: str | None) -> None:
    now = datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()
    assert period.name(per, now) == named
    expected = None if next_one is None else datetime.fromisoformat(next_one).replace(tzinfo=UTC).timestamp()
    assert period.resets(per, now) == expected
