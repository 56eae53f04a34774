"""The simulator's pure parts: tokens, prices, filled schemas, chosen faults."""

from __future__ import annotations

import json
import random
from decimal import Decimal

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cheapfirst.errors import SimulatorError
from cheapfirst.simulator import FAULTS, Override, SimModel, tokens
from cheapfirst.simulator.books import plain
from cheapfirst.simulator.pricing import bill, prices
from cheapfirst.simulator.sample import fill
from cheapfirst.simulator.switchboard import Switchboard, asked_of

MODEL = SimModel(id="acme/small")


@given(st.text())
def test_the_pieces_of_a_text_joined_are_the_text(text: str) -> None:
    assert "".join(tokens.pieces(text)) == text
    assert tokens.count(text) == len(tokens.pieces(text)) <= len(text)


def test_english_has_about_four_characters_a_token() -> None:
    text = (
        "Dear support team, I ordered three lamps two weeks ago and the parcel arrived yesterday, but one of them "
        "is broken. Could you please send a replacement, or refund the price of $49.90? My order number is 48213. "
    )
    assert 3.0 < len(text) / tokens.count(text) < 5.0


_PRICE = st.decimals(min_value=0, max_value=1000, places=6)
_SIZE = st.integers(0, 2_000_000)


@given(price_in=_PRICE, price_out=_PRICE, read=_PRICE, write=_PRICE, sizes=st.tuples(_SIZE, _SIZE, _SIZE, _SIZE))
def test_a_bill_is_the_exact_sum_of_its_parts(
    price_in: Decimal, price_out: Decimal, read: Decimal, write: Decimal, sizes: tuple[int, int, int, int]
) -> None:
    fresh, cached, written, completion = sizes
    model = SimModel(id="acme/m", input=price_in, output=price_out, cache_read=read, cache_write=write)
    made = bill(model, prompt=fresh + cached + written, cached=cached, written=written, completion=completion)
    exact = fresh * price_in + cached * read + written * write + completion * price_out
    assert Decimal(plain(made.cost)) == exact / 1_000_000
    assert made.cost == made.upstream_prompt + made.upstream_completion


@given(st.integers(-(10**18), 10**18))
def test_money_is_written_without_exponent_and_read_back_exactly(pico: int) -> None:
    text = plain(pico)
    assert Decimal(text) * 10**12 == pico
    assert "e" not in text.lower()
    json.loads(text)


@pytest.mark.parametrize(
    ("clock", "input_price"), [("0000", 2), ("0559", 2), ("0600", 1), ("2159", 1), ("2200", 2), ("2359", 2)]
)
def test_a_price_may_hold_over_midnight(clock: str, input_price: int) -> None:
    night = Override(utc_start="2200", utc_end="0600", input=Decimal(2))
    model = SimModel(id="acme/m", input=Decimal(1), overrides=(night,))
    assert prices(model, 10, clock).input == input_price


def test_later_overrides_win_price_by_price_and_apply_strictly_above_their_length() -> None:
    model = SimModel(
        id="acme/m",
        input=Decimal(1),
        output=Decimal(1),
        overrides=(
            Override(min_prompt_tokens=100, input=Decimal(2), output=Decimal(2)),
            Override(min_prompt_tokens=200, input=Decimal(3)),
        ),
    )
    assert [prices(model, size).input for size in (100, 101, 200, 201)] == [1, 2, 2, 3]
    assert prices(model, 201).output == 2


SCHEMAS = [
    {"type": "object", "properties": {"a": {"type": "string", "minLength": 20}}, "required": ["a"]},
    {"type": "array", "minItems": 3, "items": {"type": "integer", "minimum": 5, "maximum": 6}},
    {"enum": ["x", "y"]},
    {"const": 7},
    {"anyOf": [{"type": "null"}, {"type": "string"}]},
    {"type": ["boolean", "null"]},
    {"type": "number", "exclusiveMinimum": 0},
    {"type": "string", "maxLength": 3},
    {
        "$defs": {"n": {"type": "object", "required": ["v"], "properties": {"v": {"type": "integer"}}}},
        "$ref": "#/$defs/n",
    },
    {"type": "string", "format": "date"},
]


@pytest.mark.parametrize("schema", SCHEMAS, ids=json.dumps)
def test_a_filled_schema_is_valid(schema: dict[str, object]) -> None:
    for seed in range(20):
        assert jsonschema_rs.is_valid(schema, fill(schema, random.Random(seed)))


def test_a_schema_that_refers_to_itself_ends() -> None:
    assert fill({"type": "object", "properties": {"next": {"$ref": "#"}}, "required": ["next"]}, random.Random(0))


def test_what_is_no_schema_is_an_error() -> None:
    with pytest.raises(SimulatorError, match="cannot be filled"):
        fill({"type": "integer", "minimum": "low"}, random.Random(0))


def test_rates_are_met_and_one_refusal_at_most_comes_at_once() -> None:
    board = Switchboard(rates={"*": {"429_plain": 0.25, "500_server": 0.25, "undated_model": 0.5}})
    found = [board.choose(MODEL, None, random.Random(seed), stream=False) for seed in range(4000)]
    share = sum("429_plain" in names for names in found) / len(found)
    assert 0.22 < share < 0.28
    assert all(sum(FAULTS[name].stage == "refuse" for name in names) <= 1 for names in found)
    assert any(len(names) == 2 for names in found)


def test_a_models_own_rate_wins_over_the_one_for_every_model() -> None:
    board = Switchboard(rates={"*": {"429_plain": 1.0}, "acme/small": {"429_plain": 0.0}})
    assert board.choose(MODEL, None, random.Random(0), stream=False) == ()
    assert board.choose(SimModel(id="acme/other"), None, random.Random(0), stream=False) == ("429_plain",)


def test_a_request_that_names_no_fault_at_all_is_spared_by_the_rates() -> None:
    board = Switchboard(rates={"*": {"429_plain": 1.0}})
    asked = asked_of("none", MODEL, first=True, stream=False)
    assert asked == ()
    assert board.choose(MODEL, asked, random.Random(0), stream=False) == ()
