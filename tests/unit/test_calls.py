"""Tool calls read from the wire and from text: what is written, all of it, or nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cheapfirst.checks.calls import read
from cheapfirst.checks.parse import Parsed, Unparsed


def tool(name: str, required: list[str], **properties: Any) -> dict[str, Any]:
    kinds = {key: {"type": kind} if isinstance(kind, str) else kind for key, kind in properties.items()}
    parameters = {"type": "object", "properties": kinds, "required": required}
    return {"type": "function", "function": {"name": name, "parameters": parameters}}


TOOLS = [
    tool("weather.get", ["city"], city="string", days="integer", units={"enum": ["metric", "imperial"]}),
    tool(
        "add_event", ["title", "tags"], title="string", tags={"type": "array", "items": {"type": "string"}}, at="number"
    ),
]
PARIS = {"name": "weather.get", "arguments": {"city": "Paris", "days": 3}}
LUNCH = {"name": "add_event", "arguments": {"title": "lunch", "tags": ["x", "y"]}}


def told(text: str) -> Any:
    result = read({"content": text}, TOOLS)
    return result.value if isinstance(result, Parsed) else result.code


@pytest.mark.parametrize(
    "text",
    [
        '[{"name": "weather.get", "arguments": {"city": "Paris", "days": 3}}]',
        '{"name": "weather_get", "parameters": {"city": "Paris", "days": 3}}',
        '{"tool_calls": [{"type": "function", "function": {"name": "weather.get", '
        '"arguments": "{\\"city\\": \\"Paris\\", \\"days\\": 3}"}}]}',
        '{"weather.get": {"city": "Paris", "days": 3}}',
        "[{'name': 'weather.get', 'city': 'Paris', 'days': 3}]",
        "['weather.get', {'city': 'Paris', 'days': 3}]",
        "[weather.get(city='Paris', days=3)]",
        "weather.get(city='Paris', days=3);",
        "weather.get({'city': 'Paris', 'days': 3})",
        "weather.get('Paris', 3)",
        "weather.get(city=Paris, days=3)",
        "print(default_api.weather_get(city='Paris', days=3))",
        "[\"weather.get(city='Paris', days=3)\"]",
        "```python\n[weather.get(city='Paris', days=3)]\n```",
        "Here is the call:\n\nforecast = weather_get(city='Paris', days=3)\n\nIt returns the forecast.",
        '<tool_call>\n{"arguments": {\'city\': "Paris", "days": 3}, "name": "weather_get"}\n</tool_call>',
        'I will make the call.weather_get\n{"city": "Paris", "days": 3}',
        "[weather\\_get(city='Paris', days=3)]",
        "<think>weather.get(city='Rome')?</think>[weather.get(city='Paris', days=3)]",
        "[weather.get(city='Paris', days=3)]\n\nThe call is:\n[weather.get(city='Paris', days=3)]",
        "[weather.get(city='Paris', days=3)]<|im_end|>\n[weather.get(city='Rome')]",
        '[{"name": "weather.get", "arguments": {"city": "Paris", "days": "3"}}]',
    ],
)
def test_one_call_is_read_from_every_shape(text: str) -> None:
    assert told(text) == [PARIS]


@pytest.mark.parametrize(
    "text",
    [
        "[weather.get(city='Paris', days=3), add_event(title='lunch', tags=['x', 'y'])]",
        "weather.get(city='Paris', days=3)\nadd_event(title='lunch', tags=['x', 'y'])",
        "1. [weather.get(city='Paris', days=3)]\n2. [add_event(title='lunch', tags=['x', 'y'])]",
        "First the weather:\n```\nweather.get(city='Paris', days=3)\n```\nThen the event:\n"
        "```\nadd_event(title='lunch', tags=['x', 'y'])\n```",
        "['weather.get', {'city': 'Paris', 'days': 3}, 'add_event', {'title': 'lunch', 'tags': ['x', 'y']}]",
        "weather\\_get(city='Paris', days=3), add_event(title='lunch', tags=['x', 'y'])",
        "```python\na = weather.get(city='Paris', days=3)\nprint(a)\n# then\n"
        "add_event(title='lunch', tags=['x', 'y'])\n```",
    ],
)
def test_several_calls_are_read_in_order(text: str) -> None:
    assert told(text) == [PARIS, LUNCH]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("I cannot help with that.", "calls.none"),
        ("You may use weather.get for that.", "calls.none"),
        ("[weather.get(city=city_name)]", "calls.expression"),
        ("[weather.get(city='Paris', days=2*7)]", "parse.syntax"),
        ("[weather.get(city='Paris', days=days_of(3))]", "calls.expression"),
        ("[weather.get(city='Paris'), add_event(title='x', tags=y)]", "calls.expression"),
        ("weather.get(city=Paris, France)", "calls.positional"),
        ("weather.get(city='Paris', city='Rome')", "parse.duplicate_key"),
        ('{"name": "launch", "arguments": {}}', "calls.unknown_tool"),
        ('<tool_call>{"arguments": {"city": "Paris"}}</tool_call>', "calls.unknown_tool"),
        ("[weather.get(city='Paris')] or instead [weather.get(city='Rome')]", "calls.ambiguous"),
        ("Use weather.get(city='Paris') for one and weather.get(city='Rome') for two.", "calls.ambiguous"),
        ("weather.get(city='Paris')\n" * 9, "calls.repeated"),
        ("If the city were known, it would be:\n[weather.get(city='your city')]", "calls.unreal"),
        ("def weather_get(city): pass", "calls.none"),
        ("[weather.get(city='Paris'), 5]", "calls.mixed"),
    ],
)
def test_what_is_no_call_or_has_no_one_reading_is_refused(text: str, code: str) -> None:
    assert told(text) == code


@pytest.mark.parametrize(
    "arguments", ['{"city": "Paris", "days": 3}', '{"city": "Paris", "days": 3} ', "{'city': 'Paris', 'days': 3,}"]
)
def test_calls_on_the_wire_are_read_whatever_their_arguments_look_like(arguments: str) -> None:
    message = {
        "content": None,
        "tool_calls": [{"id": "1", "function": {"name": "weather_get", "arguments": arguments}}],
    }
    result = read(message, TOOLS)
    assert isinstance(result, Parsed)
    assert result.value == [PARIS]


def test_a_call_on_the_wire_without_arguments_has_none() -> None:
    result = read({"tool_calls": [{"function": {"name": "add_event", "arguments": ""}}]}, TOOLS)
    assert isinstance(result, Parsed)
    assert result.value == [{"name": "add_event", "arguments": {}}]


@pytest.mark.parametrize(
    ("function", "code"),
    [
        ({"name": "launch", "arguments": "{}"}, "calls.unknown_tool"),
        ({"name": "add_event", "arguments": '{"title": "x'}, "parse.incomplete"),
        ({"name": "add_event", "arguments": "[1]"}, "calls.arguments"),
        ({"name": "add_event", "arguments": '{"title": 1, "title": 2}'}, "calls.arguments"),
        ({"name": None}, "calls.unknown_tool"),
    ],
)
def test_calls_on_the_wire_that_cannot_be_read_are_refused(function: dict[str, Any], code: str) -> None:
    result = read({"tool_calls": [{"function": function}]}, TOOLS)
    assert isinstance(result, Unparsed)
    assert result.code == code
    assert result.incomplete == (code == "parse.incomplete")


words = st.text(max_size=12)
arguments = st.fixed_dictionaries(
    {"title": words, "tags": st.lists(words, max_size=3)}, optional={"at": st.integers() | st.floats(-1e9, 1e9)}
)


def as_python(given: dict[str, Any]) -> str:
    return "add_event(" + ", ".join(f"{key}={value!r}" for key, value in given.items()) + ")"


def as_json(given: dict[str, Any]) -> str:
    return json.dumps({"name": "add_event", "arguments": given})


@given(st.lists(arguments, min_size=1, max_size=3), st.sampled_from([as_python, as_json]), st.booleans())
@settings(max_examples=300, deadline=None)
def test_written_calls_are_read_back(given_ones: list[dict[str, Any]], spell: Any, fenced: bool) -> None:
    text = "[" + ", ".join(map(spell, given_ones)) + "]"
    result = read({"content": f"```\n{text}\n```" if fenced else text}, TOOLS)
    assert isinstance(result, Parsed)
    assert repr(result.value) == repr([{"name": "add_event", "arguments": one} for one in given_ones])


@given(st.lists(arguments, min_size=1, max_size=3), st.sampled_from([as_python, as_json]), st.data())
@settings(max_examples=300, deadline=None)
def test_a_list_of_calls_cut_off_anywhere_gives_no_call(
    given_ones: list[dict[str, Any]], spell: Any, data: st.DataObject
) -> None:
    text = "[" + ", ".join(map(spell, given_ones)) + "]"
    cut = data.draw(st.integers(min_value=0, max_value=len(text) - 1))
    assert isinstance(read({"content": text[:cut]}, TOOLS), Unparsed)


@given(st.text(alphabet="[](){}'\"=,:`\\ \nadd_eventi.get12<>/", max_size=60))
@settings(max_examples=500, deadline=None)
def test_no_text_makes_the_reader_raise(text: str) -> None:
    read({"content": text + "add_event(" + text}, TOOLS)


@pytest.mark.parametrize("text", ["[add_event(" * 5000, "add_event({" * 5000, '{"add_event": ' * 5000])
def test_deep_nesting_is_refused(text: str) -> None:
    assert told(text) in ("parse.too_deep", "parse.syntax")
