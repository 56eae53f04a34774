"""The guard: what it cuts and where, and that it never cuts what the verdict accepts."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cheapfirst.checks import Schema, judge
from cheapfirst.checks.guard import Guard
from cheapfirst.messages import Finding, Outcome, Wire
from cheapfirst.policy.checks import Repetition

TICKET: Wire = {
    "type": "object",
    "properties": {
        "kind": {"enum": ["bug_report", "question"]},
        "title": {"type": "string", "maxLength": 12},
        "count": {"type": "integer", "minimum": 1},
        "tags": {"type": "array", "items": {"type": "string"}, "maxItems": 2},
        "who": {"type": "object", "properties": {"age": {"type": "number"}}, "required": ["age"]},
    },
    "required": ["kind"],
    "additionalProperties": False,
}
TOOLS: list[Wire] = [
    {
        "type": "function",
        "function": {
            "name": "add_note",
            "parameters": {
                "type": "object",
                "properties": {"text": {"type": "string"}, "stars": {"type": "integer"}},
                "required": ["text"],
            },
        },
    }
]


def content(text: str) -> Wire:
    return {"choices": [{"index": 0, "delta": {"content": text}}]}


def cut(text: str, schema: Wire | None = TICKET, size: int = 1, **options: Any) -> tuple[str, Finding] | None:
    """What had come when the guard doomed the text, and why; None when it never did."""
    guard = Guard(shape="json", schema=Schema(schema) if schema is not None else None, **options)
    for at in range(0, len(text), size):
        found = guard.feed(content(text[at : at + size]))
        if found is not None:
            return text[: at + size], found
    return None


@pytest.mark.parametrize(
    ("text", "until", "code"),
    [
        ('{"count": [1]}', '{"count": [', "schema.type"),
        ('{"title": 12}', '{"title": 1', "schema.type"),
        ('{"colour": "red"}', '{"col', "schema.additional"),
        ('{"kind": "feature"}', '{"kind": "f', "schema.enum"),
        ('{"title": "a very long title"}', '{"title": "a very long t', "schema.max_length"),
        ('{"tags": ["a", "b", "c"]}', '{"tags": ["a", "b", "', "schema.max_items"),
        ('{"count": 0, "kind": "question"}', '{"count": 0,', "schema.minimum"),
        ('{"who": {"name": "x"}, "kind": "question"}', '{"who": {"name": "x"}', "schema.required"),
        ('{"count": 1.5, "kind": "question"}', '{"count": 1.5,', "schema.type"),
        ('{"count": maybe, "kind": "question"}', '{"count": m', "parse.word"),
        ('{"count": 3}  trailing words', '{"count": 3}', "schema.required"),
        ('```json\n{"count": null}\n```', '```json\n{"count": n', "schema.type"),
    ],
)
def test_a_doomed_value_is_cut_at_the_character_that_dooms_it(text: str, until: str, code: str) -> None:
    found = cut(text)
    assert found is not None
    assert (found[0], found[1].code) == (until, code)
    assert not judge(Outcome(kind="answer", text=text, message={}), shape="json", schema=Schema(TICKET)).verdict.accept


@pytest.mark.parametrize(
    "text",
    [
        '{"kind": "Bug Report", "count": "3", "TITLE": "short"}',
        '{"kind": "question", "tags": ["a", "b",], }',
        "{'kind': 'question'}",
        '{"kind": "question", // a remark\n "count": 2}',
        'Here it is:\n```json\n{"kind": "question"}\n```\nDone.',
        '<think>{"kind": 5}</think>{"kind": "question"}',
        '{"kind": "question", "count": 3.0}',
        '[note] {"kind": "question"}',
        '{"kind": "question", "who": {"age": "41"}}',
    ],
)
@pytest.mark.parametrize("size", [1, 3, 1000])
def test_what_the_verdict_forgives_is_not_cut(text: str, size: int) -> None:
    assert judge(Outcome(kind="answer", text=text, message={}), shape="json", schema=Schema(TICKET)).verdict.accept
    assert cut(text, size=size) is None


def call(arguments: str, name: str = "", index: int = 0) -> Wire:
    function = {"arguments": arguments, **({"name": name} if name else {})}
    return {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": index, "function": function}]}}]}


def test_a_tools_arguments_are_followed_and_hold_only_what_it_declares() -> None:
    guard = Guard(shape="text", tools=TOOLS)
    assert guard.feed(call("", "add_note")) is None
    assert guard.feed(call('{"text": "hi", "st')) is None
    found = guard.feed(call('yle"'))
    assert found is not None
    assert (found.check, found.code, found.path[:2]) == ("calls", "calls.additional", (0, "arguments"))


def test_a_tool_that_was_not_declared_is_cut_when_its_arguments_begin() -> None:
    guard = Guard(shape="text", tools=TOOLS)
    assert guard.feed(call("", "drop_table")) is None
    found = guard.feed(call("{"))
    assert found is not None
    assert found.code == "calls.unknown_tool"


def test_text_before_a_tool_call_is_not_taken_for_the_answer() -> None:
    guard = Guard(shape="json", schema=Schema(TICKET), tools=TOOLS)
    assert guard.feed(content('{"nonsense": ')) is None


def test_only_the_first_choice_is_looked_at() -> None:
    guard = Guard(shape="json", schema=Schema(TICKET))
    assert guard.feed({"choices": [{"index": 1, "delta": {"content": '{"nonsense": 1}'}}]}) is None


def test_a_loop_is_cut_where_the_route_looks_for_loops_and_nowhere_else() -> None:
    text = "So it goes on and on. " * 200
    watched = Guard(shape="text", checks=(Repetition(max_repeats=8),))
    found = [watched.feed(content(text[at : at + 40])) for at in range(0, len(text), 40)]
    assert any(one is not None and one.code == "repetition.loop" for one in found)
    free = Guard(shape="text")
    assert all(free.feed(content(text[at : at + 40])) is None for at in range(0, len(text), 40))


@pytest.mark.parametrize("chunk", [{}, {"choices": None}, {"choices": [3]}, {"choices": [{"delta": 5}]}, call("x")])
def test_odd_chunks_are_passed_over(chunk: Wire) -> None:
    assert Guard(shape="json", schema=Schema(TICKET), tools=TOOLS).feed(chunk) is None


NAMES = st.sampled_from(["a", "b", "aB", "a_b", "c"])
SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 20),
    st.floats(-2, 2, allow_nan=False),
    st.sampled_from(["", "x", "Red", "red", "dark red", "1", "true", "a longer text", "é\n\"'"]),
)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
LEAVES: st.SearchStrategy[Wire] = st.one_of(
    st.sampled_from([{"type": name} for name in ("string", "integer", "number", "boolean", "null", "array", "object")]),
    st.sampled_from(
        [
            {},
            {"type": ["string", "null"]},
            {"enum": ["red", "dark_red"]},
            {"enum": [1, "red"]},
            {"const": "red"},
            {"type": "string", "maxLength": 3},
            {"type": "string", "pattern": "^r"},
            {"type": "integer", "minimum": 0},
        ]
    ),
)


def _nested(inner: st.SearchStrategy[Wire]) -> st.SearchStrategy[Wire]:
    objects = st.builds(
        lambda properties, required, closed: {
            "type": "object",
            "properties": properties,
            "required": [name for name in properties if name in required],
            **({} if closed is None else {"additionalProperties": closed}),
        },
        st.dictionaries(NAMES, inner, max_size=3),
        st.sets(NAMES),
        st.sampled_from([None, False, {"type": "string"}]),
    )
    arrays = st.builds(
        lambda items, most: {"type": "array", "items": items, **({} if most is None else {"maxItems": most})},
        inner,
        st.sampled_from([None, 1, 2]),
    )
    either = st.builds(lambda key, parts: {key: parts}, st.sampled_from(["anyOf", "oneOf", "allOf"]),
                       st.lists(inner, min_size=1, max_size=3))  # fmt: skip
    return st.one_of(objects, arrays, either)


PARTS = st.recursive(LEAVES, _nested, max_leaves=6)
SHARED = {"$ref": "#/$defs/part"}
SCHEMAS = PARTS | st.builds(
    lambda part, whole: {**whole, "$defs": {"part": part}},
    PARTS,
    st.sampled_from([SHARED, {"type": "object", "properties": {"a": SHARED, "b": SHARED}}, {"items": SHARED}]),
)
WRAPS = st.sampled_from(["{}", "```json\n{}\n```", "Sure:\n{}", " \n{} ", "{}\nDone.", "~~~\n{}"])


@given(SCHEMAS, VALUES, WRAPS, st.sampled_from([None, 1]), st.integers(1, 7))
def test_what_the_verdict_accepts_is_never_cut(
    schema: Wire, value: Any, wrap: str, indent: int | None, size: int
) -> None:
    text = wrap.replace("{}", json.dumps(value, ensure_ascii=False, indent=indent))
    outcome = Outcome(kind="answer", text=text, message={})
    if judge(outcome, shape="json", schema=Schema(schema)).verdict.accept:
        assert cut(text, schema, size) is None


@given(SCHEMAS, VALUES, st.integers(1, 7))
def test_the_same_for_the_arguments_of_a_call(schema: Wire, value: Any, size: int) -> None:
    parameters = {"type": "object", "properties": {"a": schema, "b": {}}}
    tools = [{"type": "function", "function": {"name": "f", "parameters": parameters}}]
    text = json.dumps({"a": value})
    message = {"tool_calls": [{"id": "1", "type": "function", "function": {"name": "f", "arguments": text}}]}
    if judge(Outcome(kind="answer", message=message), shape="text", tools=tools).verdict.accept:
        guard = Guard(shape="text", tools=tools)
        assert guard.feed(call("", "f")) is None
        assert all(guard.feed(call(text[at : at + size])) is None for at in range(0, len(text), size))


@given(VALUES, st.integers(1, 7))
def test_where_pieces_end_does_not_matter(value: Any, size: int) -> None:
    text = json.dumps(value, ensure_ascii=False)
    one, other = cut(text, size=1), cut(text, size=size)
    assert (one is None) == (other is None)
    if one is not None and other is not None:
        assert one[1].code == other[1].code or len(other[0]) > len(one[0])
