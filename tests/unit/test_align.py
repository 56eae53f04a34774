"""A value takes the spelling of its schema where one reading is possible, and says so."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cheapfirst.checks.align import align, fits
from cheapfirst.policy.checks import ALIGNMENTS

ITEM = {"type": "object", "properties": {"net_price": {"type": "number"}}, "required": ["net_price"]}
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "first_name": {"type": "string"},
        "age": {"type": "integer"},
        "paid": {"type": "boolean"},
        "items": {"type": "array", "items": {"$ref": "#/$defs/item"}},
        "level": {"enum": ["very-high", "low"]},
        "note": {"anyOf": [{"type": "integer"}, {"type": "null"}]},
        "pair": {"type": "array", "prefixItems": [{"type": "integer"}, {"type": "boolean"}]},
    },
    "additionalProperties": False,
    "$defs": {"item": ITEM},
}


@pytest.mark.parametrize(
    ("name", "given_value", "wanted", "path"),
    [
        ("key", {"FirstName": "a"}, {"first_name": "a"}, ("first_name",)),
        ("number", {"age": "42"}, {"age": 42}, ("age",)),
        ("boolean", {"paid": "True"}, {"paid": True}, ("paid",)),
        ("integer", {"age": 5.0}, {"age": 5}, ("age",)),
        ("list", {"items": {"net_price": 1}}, {"items": [{"net_price": 1}]}, ("items",)),
        ("enum", {"level": "Very High"}, {"level": "very-high"}, ("level",)),
        ("number", {"items": [{"net_price": "1.50"}]}, {"items": [{"net_price": 1.5}]}, ("items", 0, "net_price")),
        ("number", {"note": "7"}, {"note": 7}, ("note",)),
        ("boolean", {"pair": [1, "false"]}, {"pair": [1, False]}, ("pair", 1)),
    ],
)
def test_each_alignment_works_alone_says_where_and_can_be_turned_off(
    name: str, given_value: Any, wanted: Any, path: tuple[str | int, ...]
) -> None:
    value, steps = align(given_value, SCHEMA, (name,))
    assert repr(value) == repr(wanted)
    assert [(step.kind, step.path) for step in steps] == [(f"aligned.{name}", path)]
    others = tuple(other for other in ALIGNMENTS if other != name)
    assert align(given_value, SCHEMA, others) == (given_value, ())


@pytest.mark.parametrize(
    "value",
    [
        {"age": "1,234"},
        {"age": "1.5"},
        {"age": "4 2"},
        {"age": "1e999"},
        {"paid": "yes"},
        {"note": "null"},
        {"level": "lo"},
        {"items": "net"},
        {"firstName": "a", "First_Name": "b"},
        {"first_name": "a", "FirstName": "b"},
    ],
)
def test_what_has_more_than_one_reading_stays_as_it_is(value: Any) -> None:
    assert align(value, SCHEMA) == (value, ())


def test_a_string_stays_a_string_where_the_schema_allows_one() -> None:
    schema = {"type": "object", "properties": {"a": {"type": ["string", "integer"]}, "b": {"type": "boolean"}}}
    assert align({"a": "42", "b": "true"}, schema)[0] == {"a": "42", "b": True}


def test_a_union_is_aligned_only_when_exactly_one_reading_makes_it_valid() -> None:
    one = {"anyOf": [{"type": "integer"}, {"type": "array", "items": ITEM}]}
    two = {"anyOf": [{"type": "integer"}, {"type": "boolean"}]}
    assert align("5", one)[0] == 5
    assert align("x", two) == ("x", ())
    both = {"oneOf": [{"enum": ["Read Only"]}, {"enum": ["read_only"]}]}
    assert align("read-only", both) == ("read-only", ())


def test_references_in_circles_end() -> None:
    schema = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}
    assert align({"x": "1"}, schema)[0] == {"x": "1"}


def test_all_of_and_referenced_branches_are_followed() -> None:
    schema = {"allOf": [{"$ref": "#/$defs/item"}, {"properties": {"n": {"type": "integer"}}}], "$defs": {"item": ITEM}}
    assert align({"Net Price": "3", "n": "4"}, schema)[0] == {"net_price": 3, "n": 4}


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["first_name", "FirstName", "age", "paid", "items", "note", "x"]), inner)
    ),
    max_leaves=8,
)
schemas = st.sampled_from(
    [
        SCHEMA,
        ITEM,
        {},
        {"type": ["integer", "string"]},
        {"type": "array", "items": SCHEMA},
        {**SCHEMA, "additionalProperties": True},
        {"anyOf": [SCHEMA, {"type": "array"}]},
    ]
)


@given(values, schemas)
@settings(max_examples=500, deadline=None)
def test_a_valid_value_comes_back_equal(value: Any, schema: dict[str, Any]) -> None:
    aligned, _ = align(value, schema)
    if fits(value, schema):
        assert aligned == value
        assert fits(aligned, schema)


@given(values, schemas, st.sets(st.sampled_from(ALIGNMENTS)))
@settings(max_examples=300, deadline=None)
def test_only_allowed_alignments_happen_and_no_change_goes_unsaid(
    value: Any, schema: dict[str, Any], allowed: set[str]
) -> None:
    aligned, steps = align(value, schema, allowed)
    assert {step.kind.removeprefix("aligned.") for step in steps} <= allowed
    assert steps or repr(aligned) == repr(value)
