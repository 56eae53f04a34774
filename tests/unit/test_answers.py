"""Answers made up in code: right for the premium model, mostly right for the cheap one, valid under any sane schema."""

from __future__ import annotations

import json
import random
from collections import Counter
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cheapfirst.checks.parse import Parsed, parse
from cheapfirst.messages import Wire
from cheapfirst.simulator import answers, corpus
from cheapfirst.simulator.answers import Made, answer
from cheapfirst.simulator.corpus import Item
from cheapfirst.simulator.mistakes import MISTAKES, Rates

ITEMS = corpus.load()
NEVER = Rates(harmless={}, faults={}, again=0.0, premium=0.0)
MAIL = (
    "Hello,\nmy name is Anna Keller, order number: A-4471. The kettle leaks since March 3, 2026; "
    "please refund $49.90 to anna@keller.example.\nQuantity: 3"
)


def body(item: Item, form: str = "json_schema") -> Wire:
    turns = [{"role": "user", "content": item.input}] if isinstance(item.input, str) else list(item.input)
    wire: Wire = {"messages": [{"role": "system", "content": "Do it."}, *turns], "max_tokens": 4096}
    if item.schema is None:
        return wire
    if form == "json_schema":
        return {**wire, "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": item.schema}}}
    instructions = f"Answer with one JSON value that is valid under this JSON Schema:\n{json.dumps(item.schema)}"
    wire["messages"][0] = {"role": "system", "content": instructions}
    return {**wire, "response_format": {"type": "json_object"}} if form == "json_object" else wire


def asked(text: str, schema: Any) -> Wire:
    wanted = {"type": "json_schema", "json_schema": {"name": "a", "schema": schema}}
    return {"messages": [{"role": "user", "content": text}], "response_format": wanted}


def filled(text: str, schema: Any, seed: int = 1) -> Any:
    return json.loads(answer("premium", asked(text, schema), random.Random(seed), NEVER).text)


def test_the_premium_model_answers_every_sample_request_right() -> None:
    for item in ITEMS:
        made = answer("premium", body(item), random.Random(item.id))
        if item.schema is None:
            assert made.text == item.gold
        else:
            read = parse(made.text, item.schema)
            assert isinstance(read, Parsed)
            assert read.value == item.gold


@pytest.mark.parametrize("form", ["json_schema", "json_object", "prompt"])
def test_the_schema_is_read_from_wherever_it_stands(form: str) -> None:
    item = next(item for item in ITEMS if item.task == "extract")
    assert json.loads(answer("premium", body(item, form), random.Random(1), NEVER).text) == item.gold


def test_another_schema_than_the_samples_own_gets_a_value_of_that_schema() -> None:
    item = next(item for item in ITEMS if item.task == "extract")
    value = filled(item.text, {"type": "object", "properties": {"words": {"type": "integer"}}, "required": ["words"]})
    assert isinstance(value["words"], int)


def made_by_cheap(form: str, seeds: range) -> list[tuple[Item, Made]]:
    items = [item for item in ITEMS if item.task in ("classify", "extract", "summarize", "chat")]
    return [
        (item, answer("cheap", body(item, form), random.Random(f"{item.id}|{seed}")))
        for item in items
        for seed in seeds
    ]


def test_about_one_cheap_answer_in_ten_has_a_real_fault() -> None:
    made = made_by_cheap("json_schema", range(8))
    faults = [one.mistake for _, one in made if one.mistake is not None and MISTAKES[one.mistake][0] != "harmless"]
    assert 0.08 <= len(faults) / len(made) <= 0.12
    assert set(faults) == {name for name, (kind, _) in MISTAKES.items() if kind != "harmless"}


@pytest.mark.parametrize(
    ("form", "low", "high"), [("json_schema", 0.04, 0.11), ("json_object", 0.13, 0.24), ("prompt", 0.25, 0.4)]
)
def test_json_is_dressed_more_loosely_the_less_the_form_asks(form: str, low: float, high: float) -> None:
    structured = [one for item, one in made_by_cheap(form, range(5)) if item.schema is not None]
    harmless = [one for one in structured if one.mistake is not None and MISTAKES[one.mistake][0] == "harmless"]
    assert low <= len(harmless) / len(structured) <= high


def test_an_unmarked_cheap_answer_is_the_right_one() -> None:
    for item, made in made_by_cheap("json_schema", range(1)):
        if made.mistake is None:
            assert (made.text if item.schema is None else json.loads(made.text)) == item.gold


def test_a_refusal_is_marked_as_one() -> None:
    refused = [one for _, one in made_by_cheap("json_schema", range(4)) if one.mistake == "refusal"]
    assert refused
    assert all(one.refusal and one.text for one in refused)


def test_asked_again_with_a_verdict_the_cheap_model_mends_about_half() -> None:
    item = next(item for item in ITEMS if item.task == "extract")
    wire = body(item)
    wire["messages"] += [
        {"role": "assistant", "content": "{}"},
        {
            "role": "user",
            "content": "That answer was checked and is not acceptable:\n- `total` is missing.\nAnswer again.",
        },
    ]
    made = [answer("cheap", wire, random.Random(seed)) for seed in range(400)]
    wrong = [one for one in made if one.mistake is not None and MISTAKES[one.mistake][0] != "harmless"]
    assert 0.4 < len(wrong) / len(made) < 0.6
    assert any(one.mistake is None and json.loads(one.text) == item.gold for one in made)


def test_a_conversation_is_answered_by_its_last_turn() -> None:
    item = next(item for item in ITEMS if not isinstance(item.input, str))
    assert answer("premium", body(item), random.Random(1)).text == item.gold


@given(seed=st.integers(0, 2**32), skill=st.sampled_from(["cheap", "premium"]), number=st.integers(0, len(ITEMS) - 1))
def test_the_same_chance_gives_the_same_answer(seed: int, skill: Any, number: int) -> None:
    wire = body(ITEMS[number])
    assert answer(skill, wire, random.Random(seed)) == answer(skill, wire, random.Random(seed))


def test_values_for_an_unknown_text_come_from_the_text() -> None:
    schema = {
        "type": "object",
        "properties": {
            "customer": {"type": "string"},
            "order_number": {"type": "string", "pattern": "^[A-Z]-\\d{4}$"},
            "email": {"type": "string", "format": "email"},
            "date": {"type": "string", "format": "date"},
            "total": {"type": "number"},
            "quantity": {"type": "integer"},
            "intent": {"enum": ["praise", "refund", "delivery"]},
        },
        "required": ["customer", "order_number", "email", "date", "total", "quantity", "intent"],
        "additionalProperties": False,
    }
    assert filled(MAIL, schema) == {
        "customer": "Anna Keller",
        "order_number": "A-4471",
        "email": "anna@keller.example",
        "date": "2026-03-03",
        "total": 49.9,
        "quantity": 3,
        "intent": "refund",
    }


NASTY: dict[str, Any] = {
    "anything": True,
    "no keywords": {},
    "one constant": {"const": {"a": [1, None]}},
    "mixed enum": {"enum": [None, 3, "x", [1], {"a": 1}]},
    "nullable by list": {"type": ["null", "string"], "minLength": 3},
    "recursive tree": {
        "$ref": "#/$defs/node",
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "name": {"type": "string"},
                    "left": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                    "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
                },
                "required": ["name", "left", "children"],
            }
        },
    },
    "reference with siblings": {
        "$defs": {"short": {"type": "string", "maxLength": 10}},
        "$ref": "#/$defs/short",
        "minLength": 8,
    },
    "escaped pointer": {"$ref": "#/$defs/a~1b%20c", "$defs": {"a/b c": {"type": "integer", "minimum": 5}}},
    "anchor": {"$ref": "#here", "$defs": {"x": {"$anchor": "here", "type": "boolean"}}},
    "all of": {
        "allOf": [
            {"type": "object", "properties": {"a": {"type": "integer", "minimum": 3}}, "required": ["a"]},
            {"properties": {"a": {"maximum": 4}, "b": {"type": "string"}}, "required": ["b"]},
        ]
    },
    "exactly one of": {
        "type": "object",
        "oneOf": [
            {"properties": {"kind": {"const": "cat"}, "lives": {"type": "integer"}}, "required": ["kind", "lives"]},
            {"properties": {"kind": {"const": "dog"}, "tricks": {"type": "array"}}, "required": ["kind", "tricks"]},
        ],
    },
    "if then else": {
        "type": "object",
        "properties": {"country": {"enum": ["DE", "US"]}},
        "required": ["country"],
        "if": {"properties": {"country": {"const": "DE"}}},
        "then": {"properties": {"plz": {"type": "string", "pattern": "^\\d{5}$"}}, "required": ["plz"]},
        "else": {"properties": {"zip": {"type": "string"}}, "required": ["zip"]},
    },
    "tuple": {
        "type": "array",
        "prefixItems": [{"type": "integer"}, {"type": "string"}],
        "items": False,
        "minItems": 2,
    },
    "unique items": {"type": "array", "items": {"type": "integer"}, "minItems": 12, "uniqueItems": True},
    "unique labels": {"type": "array", "items": {"enum": ["a", "b", "c"]}, "minItems": 3, "uniqueItems": True},
    "contains": {"type": "array", "items": {"type": "integer"}, "contains": {"minimum": 100}, "minContains": 2},
    "empty array": {"type": "array", "maxItems": 0},
    "multiple of": {"type": "number", "multipleOf": 0.25, "exclusiveMinimum": 7, "maximum": 7.5},
    "integers by halves": {"type": "integer", "multipleOf": 1.5, "minimum": 4},
    "narrow open interval": {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 0.5},
    "negative": {"type": "integer", "maximum": -10},
    "long string": {"type": "string", "minLength": 900},
    "empty string": {"type": "string", "maxLength": 0},
    "pattern with sizes": {"type": "string", "pattern": "^[a-f0-9]+$", "minLength": 8, "maxLength": 12},
    "pattern with branches": {"type": "string", "pattern": "^(EUR|USD) \\d{1,3}(\\.\\d{2})$"},
    "map": {"type": "object", "additionalProperties": {"type": "integer"}, "minProperties": 3},
    "map by pattern": {
        "type": "object",
        "patternProperties": {"^x-": {"type": "boolean"}},
        "additionalProperties": False,
        "minProperties": 2,
    },
    "named names": {"type": "object", "propertyNames": {"pattern": "^[a-z]{3}$"}, "minProperties": 2},
    "few properties": {
        "type": "object",
        "properties": {"a": {"type": "string"}, "b": {"type": "string"}, "c": {"type": "string"}},
        "required": ["c"],
        "maxProperties": 1,
    },
    "forbidden property": {"type": "object", "properties": {"a": False, "b": {"type": "string"}}},
    "dependent": {
        "type": "object",
        "properties": {"card": {"type": "string"}, "address": {"type": "string"}},
        "required": ["card"],
        "dependentRequired": {"card": ["address"]},
    },
    "not": {"type": "string", "not": {"const": "simulated"}},
    "required but undeclared": {"type": "object", "required": ["mystery"]},
    "unknown keywords": {"type": "string", "x-widget": "area", "examples": ["a"], "$comment": "nothing"},
    "formats": {
        "type": "object",
        "properties": {
            form: {"type": "string", "format": form} for form in ("date", "date-time", "uuid", "ipv4", "uri")
        },
        "required": ["date", "date-time", "uuid", "ipv4", "uri"],
    },
}


@pytest.mark.parametrize("name", NASTY)
@pytest.mark.parametrize(
    "text", [MAIL, "", "x", "注文番号は A-4471 です。"], ids=["mail", "empty", "letter", "japanese"]
)
def test_the_premium_answer_is_valid_under_a_nasty_schema(name: str, text: str) -> None:
    schema = NASTY[name]
    validator = jsonschema_rs.validator_for(schema, validate_formats=True)
    for seed in range(3):
        value = filled(text, schema, seed)
        assert validator.is_valid(value), value


@pytest.mark.parametrize(
    "schema",
    [
        False,
        {"type": "string", "pattern": "(?=impossible)^$"},
        {"type": "integer", "minimum": 5, "maximum": 4},
        {"$ref": "https://example.com/elsewhere.json"},
        {"type": "object", "properties": {"a": {"$ref": "#"}}, "required": ["a"]},
        {"type": "string", "pattern": "(unclosed"},
        {"type": "nonsense"},
    ],
)
def test_an_unusable_schema_still_gets_some_json(schema: Any) -> None:
    json.loads(answer("premium", asked(MAIL, schema), random.Random(1), NEVER).text)
    answer("cheap", asked(MAIL, schema), random.Random(1))


def _sized(kind: str, low: str, high: str, lows: st.SearchStrategy[Any], more: st.SearchStrategy[Any]) -> Any:
    return st.tuples(lows, more).map(lambda size: {"type": kind, low: size[0], high: size[0] + size[1]})


_LEAF = st.one_of(
    _sized("string", "minLength", "maxLength", st.integers(0, 40), st.integers(0, 30)),
    _sized("integer", "minimum", "maximum", st.integers(-99, 99), st.integers(0, 9)),
    _sized("number", "exclusiveMinimum", "maximum", st.integers(-99, 99), st.floats(0.5, 9)),
    st.lists(st.text(max_size=5), min_size=1, max_size=4, unique=True).map(lambda labels: {"enum": labels}),
    st.sampled_from([{"type": "boolean"}, {"type": "null"}, {"type": ["number", "null"]}, {}]),
    st.just({"type": "string", "format": "date"}),
)


def _closed(named: dict[str, Any]) -> Any:
    return {"type": "object", "properties": named, "required": sorted(named), "additionalProperties": False}


def _larger(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    properties = st.dictionaries(st.text(min_size=1, max_size=6), inner, max_size=4)
    return st.one_of(
        properties.map(_closed),
        properties.map(lambda named: {"type": "object", "properties": named, "maxProperties": max(1, len(named) - 1)}),
        st.tuples(inner, st.integers(0, 4)).map(
            lambda made: {"type": "array", "items": made[0], "minItems": made[1], "maxItems": made[1] + 1}
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda branches: {"anyOf": branches}),
        inner.map(lambda part: {"allOf": [part, {}]}),
    )


@settings(max_examples=200)
@given(schema=st.recursive(_LEAF, _larger, max_leaves=8), text=st.text(max_size=200), seed=st.integers(0, 99))
def test_the_premium_answer_is_valid_under_any_sane_schema(schema: Any, text: str, seed: int) -> None:
    assert jsonschema_rs.is_valid(schema, filled(text, schema, seed))


@settings(max_examples=200)
@given(text=st.text(max_size=400), system=st.text(max_size=50), seed=st.integers(0, 99))
def test_any_text_gets_an_answer_from_both_skills(text: str, system: str, seed: int) -> None:
    wire = {"messages": [{"role": "system", "content": system}, {"role": "user", "content": text}], "max_tokens": 200}
    assert answer("premium", wire, random.Random(seed)).text
    answer("cheap", wire, random.Random(seed))


def test_free_chat_with_an_unknown_text_says_that_it_is_simulated() -> None:
    wire = {"messages": [{"role": "user", "content": "Who wrote Middlemarch?"}]}
    made = answer("premium", wire, random.Random(1))
    assert made.text.startswith("(simulated reply)")
    assert "Who wrote Middlemarch?" in made.text


def test_an_unknown_text_is_summarized_by_its_first_sentences() -> None:
    text = "The mill burned down. Nobody was hurt. " + "Much else was said about it afterwards. " * 40
    wire = {"messages": [{"role": "system", "content": "Summarize the text."}, {"role": "user", "content": text}]}
    made = answer("premium", wire, random.Random(1)).text
    assert made.startswith("The mill burned down. Nobody was hurt.")
    assert len(made.split()) < 60


def test_listed_labels_are_chosen_by_shared_words() -> None:
    text = "Choose one of: billing question, delivery problem, praise\n\nThe delivery never came."
    made = answer("premium", {"messages": [{"role": "user", "content": text}]}, random.Random(1))
    assert made.text == "delivery problem"


TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "get_weather",
            "description": "The weather of a city",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer", "minimum": 1}},
                "required": ["city", "days"],
            },
        },
    },
    {"type": "function", "function": {"name": "send_mail", "description": "Send a mail to somebody"}},
]


def test_a_tool_is_chosen_by_its_words_and_its_arguments_come_from_the_text() -> None:
    wire = {"messages": [{"role": "user", "content": "How is the weather in Paris over 3 days?"}], "tools": TOOLS}
    made = answer("premium", wire, random.Random(1), NEVER)
    assert made.tool_calls is not None
    (call,) = made.tool_calls
    assert call["function"]["name"] == "get_weather"
    assert json.loads(call["function"]["arguments"]) == {"city": "Paris", "days": 3}


def test_a_named_tool_is_called_and_with_none_nothing_is() -> None:
    wire: Wire = {"messages": [{"role": "user", "content": "weather in Paris"}], "tools": TOOLS}
    named = {**wire, "tool_choice": {"type": "function", "function": {"name": "send_mail"}}}
    made = answer("premium", named, random.Random(1), NEVER)
    assert made.tool_calls is not None
    assert made.tool_calls[0]["function"]["name"] == "send_mail"
    assert answer("premium", {**wire, "tool_choice": "none"}, random.Random(1), NEVER).tool_calls is None


def test_the_cheap_models_calls_have_the_same_mistakes() -> None:
    wire = {"messages": [{"role": "user", "content": "weather in Paris for 3 days"}], "tools": TOOLS, "max_tokens": 200}
    made = Counter(answer("cheap", wire, random.Random(seed)).mistake for seed in range(600))
    assert made[None] > 400
    assert made["missing_field"] > 0
    assert made["refusal"] > 0


def test_answers_can_be_made_without_mistakes() -> None:
    assert not [
        one for item in ITEMS[:100] if (one := answers.answer("cheap", body(item), random.Random(1), NEVER)).mistake
    ]
