"""`catalog.cost`: what a call cost, from its tokens or from the upstream's own word."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from cheapfirst import money
from cheapfirst.catalog import Price, cost
from cheapfirst.messages import Usage

PRICE = Price(
    input=Decimal("5"),
    output=Decimal("25"),
    cache_read=Decimal("0.5"),
    cache_write=Decimal("6.25"),
    request=Decimal("0.01"),
)

prices = st.decimals(0, 200, places=4)
price_rows = st.builds(
    Price,
    input=prices,
    output=prices,
    cache_read=st.none() | prices,
    cache_write=st.none() | prices,
    reasoning=st.none() | prices,
    request=st.none() | prices,
)


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    prompt, completion = draw(st.integers(0, 2_000_000)), draw(st.integers(0, 200_000))
    cached = draw(st.integers(0, prompt))
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=cached,
        cache_write_tokens=draw(st.integers(0, prompt - cached)),
        reasoning_tokens=draw(st.integers(0, completion)),
    )


def test_cached_and_written_tokens_are_inside_the_prompt_and_priced_once() -> None:
    usage = Usage(prompt_tokens=1_000_000, cached_tokens=600_000, cache_write_tokens=100_000, completion_tokens=100_000)
    assert cost.computed(PRICE, usage) == Decimal("0.01") + Decimal("1.5") + Decimal("0.3") + Decimal(
        "0.625"
    ) + Decimal("2.5")


def test_reasoning_is_inside_the_completion_and_has_its_own_price_only_where_there_is_one() -> None:
    usage = Usage(completion_tokens=1_000_000, reasoning_tokens=400_000)
    plain = structs.replace(PRICE, request=None)
    assert cost.computed(plain, usage) == 25
    assert cost.computed(structs.replace(plain, reasoning=Decimal(10)), usage) == 15 + 4


def test_a_missing_cache_price_is_the_input_price() -> None:
    usage = Usage(prompt_tokens=1_000_000, cached_tokens=500_000, cache_write_tokens=500_000)
    assert cost.computed(Price(input=Decimal(3), output=Decimal(4)), usage) == 3


def test_an_unknown_price_is_an_unknown_cost_only_where_it_is_needed() -> None:
    only_input = Price(input=Decimal(3))
    assert cost.computed(None, Usage()) is None
    assert cost.computed(only_input, Usage(prompt_tokens=1, completion_tokens=1)) is None
    assert cost.computed(only_input, Usage(prompt_tokens=1_000_000)) == 3


@given(price_rows, usages())
def test_the_cost_is_the_formula_rounded_once(price: Price, usage: Usage) -> None:
    assert price.input is not None
    assert price.output is not None
    read = price.input if price.cache_read is None else price.cache_read
    write = price.input if price.cache_write is None else price.cache_write
    think = price.output if price.reasoning is None else price.reasoning
    exact = (
        (usage.prompt_tokens - usage.cached_tokens - usage.cache_write_tokens) * price.input
        + usage.cached_tokens * read
        + usage.cache_write_tokens * write
        + (usage.completion_tokens - usage.reasoning_tokens) * price.output
        + usage.reasoning_tokens * think
    ) / Decimal(1_000_000) + (price.request or 0)
    assert cost.computed(price, usage) == money.usd(exact)


@given(price_rows, usages(), usages())
def test_costs_of_usages_add_up_to_the_cost_of_their_sum(price: Price, one: Usage, two: Usage) -> None:
    free = structs.replace(price, request=None)
    both = Usage(**{name: getattr(one, name) + getattr(two, name) for name in Usage.__struct_fields__})
    assert money.total([cost.computed(free, one), cost.computed(free, two)]) == cost.computed(free, both)


@given(price_rows, st.builds(Usage, **{name: st.integers(-10, 1000) for name in Usage.__struct_fields__}))
def test_no_usage_however_contradictory_costs_less_than_nothing(price: Price, usage: Usage) -> None:
    amount = cost.computed(price, usage)
    assert amount is not None
    assert amount >= 0


@given(price_rows, usages(), st.integers(0, 1000), st.integers(0, 1000))
def test_the_worst_case_is_never_exceeded(price: Price, usage: Usage, more_in: int, more_out: int) -> None:
    dearest = cost.dearest([price])
    amount = cost.computed(price, usage)
    assert dearest is not None
    worst = cost.worst_case(dearest, usage.prompt_tokens + more_in, usage.completion_tokens + more_out)
    assert amount is not None
    assert worst >= amount


def test_the_worst_case_of_an_unknown_price_is_unknown() -> None:
    assert cost.dearest([]) is None
    assert cost.dearest([PRICE, Price(input=Decimal(1))]) is None


def test_without_a_key_of_the_callers_own_the_reported_cost_is_the_whole_charge() -> None:
    wire = msgspec.json.decode(
        b'{"cost":0.00000735,"is_byok":false,"cost_details":{"upstream_inference_cost":0.00000735}}'
    )
    assert cost.reported(wire) == Decimal("0.00000735")


def test_with_a_key_of_the_callers_own_both_parts_are_added() -> None:
    wire = {"cost": 0.00005, "is_byok": True, "cost_details": {"upstream_inference_cost": 0.001}}
    assert cost.reported(wire) == Decimal("0.00105")
    assert cost.reported({"cost": 0, "is_byok": True, "cost_details": {"upstream_inference_cost": None}}) is None


@pytest.mark.parametrize(
    "wire",
    [None, {}, {"cost": None}, {"cost": True}, {"cost": "much"}, {"cost": -1}, {"cost": float("nan")}, {"cost": []}],
)
def test_what_is_not_reported_is_unknown(wire: dict[str, object] | None) -> None:
    assert cost.reported(wire) is None


def test_a_reported_cost_of_zero_is_known() -> None:
    assert cost.reported({"cost": 0}) == 0


@given(st.decimals(0, 1000, places=12))
def test_a_reported_cost_is_read_to_the_last_place(amount: Decimal) -> None:
    assert cost.reported({"cost": str(amount)}) == amount
    assert cost.reported({"cost": amount}) == amount
