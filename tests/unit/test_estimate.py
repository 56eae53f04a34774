"""`catalog.estimate`: a month on premium alone, against a mix."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cheapfirst import money
from cheapfirst.catalog import Part, estimate
from cheapfirst.catalog.estimate import weights
from cheapfirst.errors import RequestError


def part(tier: str, weight: str, price_in: str, price_out: str, escalated: str = "0") -> Part:
    return Part(
        tier=tier,
        weight=Decimal(weight),
        input=Decimal(price_in),
        output=Decimal(price_out),
        escalated=Decimal(escalated),
    )


def test_fifty_million_in_and_ten_million_out_cost_500_on_premium_and_55_67_at_ninety_to_ten() -> None:
    bill = estimate(50_000_000, 10_000_000, [part("cheap", "90", "0.09", "0.18"), part("premium", "10", "5", "25")])
    assert (money.show(bill.all_premium), money.show(bill.mixed)) == ("$500.00", "$55.67")
    assert (bill.saving, bill.saved) == (Decimal("444.33"), Decimal("0.8887"))


def test_escalated_requests_pay_on_both_tiers() -> None:
    mix = [part("cheap", "100", "0.09", "0.18", escalated="0.1"), part("premium", "0", "5", "25")]
    bill = estimate(50_000_000, 10_000_000, mix)
    assert bill.mixed == Decimal("6.30") + Decimal("50")
    assert [line.share for line in bill.lines] == [1, Decimal("0.1")]


def test_an_unknown_price_makes_only_what_needs_it_unknown() -> None:
    cheap = Part(tier="cheap", weight=Decimal(1), input=None, output=None)
    bill = estimate(10, 10, [cheap, part("premium", "1", "5", "25")])
    assert bill.all_premium is not None
    assert (bill.mixed, bill.saving, bill.saved) == (None, None, None)
    unused = Part(tier="cheap", weight=Decimal(0), input=None, output=None)
    assert estimate(10, 10, [unused, part("premium", "1", "5", "25")]).saving == 0


prices = st.decimals(0, 100, places=4)
parts = st.builds(
    Part,
    tier=st.just("t"),
    weight=st.decimals(0, 100, places=2),
    input=prices,
    output=prices,
    escalated=st.just(Decimal(0)),
)


@given(st.integers(0, 10**12), st.integers(0, 10**12), st.lists(parts, min_size=1, max_size=5))
def test_the_lines_add_up_to_the_mix_and_the_saving_to_the_difference(
    tokens_in: int, out: int, mix: list[Part]
) -> None:
    if not any(item.weight for item in mix):
        with pytest.raises(RequestError):
            estimate(tokens_in, out, mix)
        return
    bill = estimate(tokens_in, out, mix)
    assert bill.mixed == money.total(line.cost for line in bill.lines)
    assert money.total((bill.mixed, bill.saving)) == bill.all_premium
    assert all(line.cost is not None and line.cost >= 0 for line in bill.lines)


@given(st.integers(0, 10**10), st.integers(0, 10**10), prices, prices, st.integers(1, 5))
def test_a_mix_of_one_price_costs_the_same_whatever_the_weights(
    tokens_in: int, out: int, price_in: Decimal, price_out: Decimal, scale: int
) -> None:
    mix = [
        part("a", str(scale * 3), str(price_in), str(price_out)),
        part("b", str(scale * 7), str(price_in), str(price_out)),
    ]
    bill = estimate(tokens_in, out, mix)
    assert bill.saving is not None
    assert abs(bill.saving) <= Decimal("0.000000000001")


@pytest.mark.parametrize(
    ("text", "expected"), [("90/10", ("90", "10")), ("80%/15%/5%", ("80", "15", "5")), ("1", ("1",))]
)
def test_a_mix_is_read_as_people_write_it(text: str, expected: tuple[str, ...]) -> None:
    assert weights(text) == tuple(Decimal(weight) for weight in expected)


@pytest.mark.parametrize("text", ["", "a/b", "0/0", "-1/2", "nan/1", "90:10"])
def test_what_is_not_a_mix_is_refused(text: str) -> None:
    with pytest.raises(RequestError, match="not a mix"):
        weights(text)


def test_impossible_numbers_are_refused() -> None:
    good = part("premium", "1", "5", "25")
    for tokens, mix in (
        (-1, [good]),
        (1, [part("a", "-1", "1", "1"), good]),
        (1, [part("a", "1", "1", "1", "2"), good]),
    ):
        with pytest.raises(RequestError):
            estimate(tokens, 0, mix)
    with pytest.raises(RequestError, match="no tier above"):
        estimate(1, 0, [part("premium", "1", "5", "25", "0.5")])
