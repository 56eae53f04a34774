"""`policy.spending`: what budgets and rates may say, and every way they can be wrong."""

from __future__ import annotations

from decimal import Decimal

import pytest

from cheapfirst import policy
from cheapfirst.errors import PolicyError
from cheapfirst.policy.table import Budget, Rate


def test_every_key_of_a_budget_and_a_rate_reaches_the_policy() -> None:
    loaded = policy.loads(
        '[[budgets]]\ntenant = "acme"\nper = "month"\nlimit = 50.10\nstep_down = 0.9\n'
        '[[budgets]]\ntenant = "*"\nper = "month"\nlimit = 1\n'
        '[[budgets]]\ntask = "extract"\nper = "total"\nlimit = 0\n'
        '[[rates]]\nkey = "nightly"\nrequests = 600\ntokens = 1000000\nconcurrent = 8\n'
    )
    assert loaded.budgets == (
        Budget(tenant="acme", per="month", limit=Decimal("50.10"), step_down=0.9),
        Budget(tenant="*", per="month", limit=Decimal(1)),
        Budget(task="extract", per="total", limit=Decimal(0)),
    )
    assert loaded.rates == (Rate(key="nightly", requests=600, tokens=1_000_000, concurrent=8),)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("budgets = 3", ["[[budgets]]"]),
        ('[[budgets]]\nper = "day"\nlimit = 1', ["exactly one of key, tenant, feature, task", "none of them"]),
        ('[[budgets]]\nkey = "a"\ntask = "chat"\nper = "day"\nlimit = 1', ["has key and task"]),
        ('[[budgets]]\ntenant = ""\nper = "day"\nlimit = 1', ["1 to 256 characters"]),
        ('[[budgets]]\ntask = "extrct"\nper = "day"\nlimit = 1', ['"extract"?']),
        ('[[budgets]]\nkey = "a"\nper = "week"\nlimit = 1', ["day, month, total"]),
        ('[[budgets]]\nkey = "a"\nper = "day"', ["needs limit"]),
        ('[[budgets]]\nkey = "a"\nper = "day"\nlimit = -1', ["between 0 and 1,000,000 USD"]),
        ('[[budgets]]\nkey = "a"\nper = "day"\nlimit = 1\nstep_down = 2', ["between 0 and 1"]),
        ('[[rates]]\nkey = "a"', ["limits nothing"]),
        ('[[rates]]\nkey = "a"\nrequests = 0', ["between 1 and"]),
    ],
)
def test_each_problem_says_what_is_allowed(text: str, says: list[str]) -> None:
    with pytest.raises(PolicyError) as caught:
        policy.loads(text)
    (problem,) = caught.value.problems
    for words in says:
        assert words in problem


def test_two_rows_about_the_same_are_one_too_many() -> None:
    row = '[[budgets]]\nkey = "a"\nper = "day"\nlimit = 1\n'
    with pytest.raises(PolicyError, match="about the same as budgets"):
        policy.loads(row + row)
    policy.loads(row + row.replace("day", "month"))
