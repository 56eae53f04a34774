"""`money`: USD as exact decimals."""

from __future__ import annotations

import decimal
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cheapfirst import money

amounts = st.decimals(min_value=Decimal("-1000000"), max_value=Decimal("1000000"), places=12)


@given(amounts)
def test_an_amount_survives_the_way_through_picodollars(amount: Decimal) -> None:
    assert money.from_pico(money.to_pico(amount)) == amount


@given(st.integers(-(10**18), 10**18))
def test_picodollars_survive_the_way_through_usd(pico: int) -> None:
    assert money.to_pico(money.from_pico(pico)) == pico


@given(st.lists(amounts, max_size=50), st.randoms())
def test_a_sum_is_exact_in_any_order_and_grouping(values: list[Decimal], chance: object) -> None:
    expected = sum(money.to_pico(value) or 0 for value in values)
    shuffled = sorted(values, key=lambda _: chance.random())  # type: ignore[attr-defined]
    half = len(values) // 2
    parts = (money.total(shuffled[:half]), money.total(shuffled[half:]))
    assert money.to_pico(money.total(values)) == expected
    assert money.to_pico(money.total(parts)) == expected


@given(amounts, st.integers(1, 5))
def test_the_callers_decimal_context_changes_no_amount(amount: Decimal, precision: int) -> None:
    outside = (money.usd(amount), money.to_pico(amount), money.total([amount, amount]))
    with decimal.localcontext() as context:
        context.prec = precision
        assert (money.usd(amount), money.to_pico(amount), money.total([amount, amount])) == outside


def test_a_sum_with_an_unknown_amount_is_unknown_and_says_the_known_part_apart() -> None:
    assert money.total([Decimal(1), None, Decimal(2)]) is None
    assert money.total_known([Decimal(1), None, Decimal(2)]) == 3
    assert money.total([]) == 0


@given(st.integers(0, 10**9), st.integers(0, 10**9), st.decimals(0, 1000, places=6))
def test_the_cost_of_tokens_adds_up(some: int, more: int, price: Decimal) -> None:
    whole = money.usd(money.tokens_cost(some + more, price))
    assert whole == money.usd(money.tokens_cost(some, price)) + money.usd(money.tokens_cost(more, price))


def test_a_float_is_read_as_it_is_written() -> None:
    assert money.usd(7.35e-06) == Decimal("0.00000735")
    assert money.per_mtok(0.1) == Decimal("0.1")


@pytest.mark.parametrize("wrong", ["nan", "inf", float("nan"), "a lot", ""])
def test_what_is_not_an_amount_is_refused(wrong: object) -> None:
    with pytest.raises(ValueError, match="not an amount"):
        money.usd(wrong)  # type: ignore[arg-type]


def test_a_negative_price_is_refused() -> None:
    with pytest.raises(ValueError, match="not a price"):
        money.per_mtok("-1")


@pytest.mark.parametrize(
    ("amount", "shown"),
    [
        (Decimal(500), "$500.00"),
        (Decimal("1234.5"), "$1,234.50"),
        (Decimal("0.5567"), "$0.5567"),
        (Decimal("0.0000231"), "$0.0000231"),
        (Decimal("-1.2"), "-$1.20"),
        (Decimal(0), "$0.00"),
        (None, "unknown"),
    ],
)
def test_amounts_are_shown_for_people(amount: Decimal | None, shown: str) -> None:
    assert money.show(amount) == shown
