"""Text to value: every decoration read exactly, every cut-off and every second reading refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cheapfirst.checks.parse import Parsed, Unparsed, parse

finite = st.floats(allow_nan=False, allow_infinity=False)
scalars = st.none() | st.booleans() | st.integers() | finite | st.text()
values: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4), max_leaves=12
)
containers = values.filter(lambda value: isinstance(value, dict | list))


class Style:
    """How a value is written: which liberties, drawn anew for each place."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.liberties = draw(st.frozensets(st.sampled_from(["comma", "comment", "quotes", "python", "keys", "raw"])))

    def has(self, liberty: str) -> bool:
        return liberty in self.liberties and self.draw(st.booleans())

    def gap(self) -> str:
        if not self.has("comment"):
            return self.draw(st.sampled_from(["", " ", "\n  "]))
        return self.draw(st.sampled_from([" // it's a note }]\n", '/* "note" ]} */', " # note, [\n"]))

    def string(self, text: str) -> str:
        quote = "'" if self.has("quotes") else '"'
        body = json.dumps(text, ensure_ascii=self.draw(st.booleans()))[1:-1].replace('\\"', '"')
        body = body.replace(quote, "\\" + quote)
        if self.has("raw"):
            body = _unescaped(body)
        return quote + body + quote

    def key(self, text: str) -> str:
        plain = text.isascii() and text.isidentifier()
        return text if plain and self.has("keys") else self.string(text)

    def written(self, value: Any) -> str:
        if isinstance(value, dict):
            members = [
                f"{self.gap()}{self.key(key)}{self.gap()}:{self.gap()}{self.written(part)}{self.gap()}"
                for key, part in value.items()
            ]
            return "{" + ",".join(members) + self.last(members) + "}"
        if isinstance(value, list):
            if len(value) > 1 and self.has("python"):
                return "(" + ",".join(map(self.written, value)) + self.last(value) + ")"
            items = [f"{self.gap()}{self.written(item)}{self.gap()}" for item in value]
            return "[" + ",".join(items) + self.last(items) + "]"
        if isinstance(value, str):
            return self.string(value)
        return repr(value) if isinstance(value, bool | None) and self.has("python") else json.dumps(value)

    def last(self, members: list[Any]) -> str:
        return "," + self.gap() if members and self.has("comma") else self.gap()


def _unescaped(body: str) -> str:
    """The same string body with newlines and tabs as they are."""
    out, at = [], 0
    while at < len(body):
        two = body[at : at + 2]
        out.append({"\\n": "\n", "\\t": "\t"}.get(two, two if two[:1] == "\\" else body[at]))
        at += 2 if two[:1] == "\\" else 1
    return "".join(out)


@st.composite
def written(draw: st.DrawFn) -> tuple[Any, str]:
    """A container and one loose spelling of it. The outermost brackets are square or curly."""
    value = draw(containers)
    style = Style(draw)
    text = style.written(value)
    return (value, text) if text[0] != "(" else (value, json.dumps(value))


WRAPPINGS = {
    "bare": "{}",
    "fenced": "```json\n{}\n```",
    "fenced without a word": "```\n{}\n```",
    "fence left open": "```json\n{}\n",
    "prose": "Sure! Here's what you asked for:\n\n{}\n\nI hope it's useful.",
    "prose and fence": "Here it is:\n```json\n{}\n```\nLet me know.",
    "thoughts": "<think>Maybe {{'a': 1}} or [2]?</think>\n{}",
    "thoughts opened in the prompt": "so [1] it is</think>{}",
    "byte order mark": "\ufeff{}",
    "call tag": "<tool_call>\n{}\n</tool_call>",
    "call mark": "[TOOL_CALLS] {}",
    "thoughts, prose and fence": "<thinking>\nhm\n</thinking>\nAnswer:\n```\n{}\n```",
}


def same(one: Any, two: Any) -> bool:
    """Equal, with 1 and 1.0 and True told apart."""
    return repr(one) == repr(two)


@given(written(), st.sampled_from(sorted(WRAPPINGS)))
@settings(max_examples=600, deadline=None)
def test_a_written_value_is_read_back_whatever_its_spelling_and_wrapping(one: tuple[Any, str], how: str) -> None:
    value, text = one
    result = parse(WRAPPINGS[how].format(text))
    assert isinstance(result, Parsed), (result, text)
    assert same(result.value, value)
    assert result.trail


@given(written(), st.sampled_from(sorted(WRAPPINGS)), st.data())
@settings(max_examples=600, deadline=None)
def test_a_container_cut_off_anywhere_is_never_completed(one: tuple[Any, str], how: str, data: st.DataObject) -> None:
    _, text = one
    cut = data.draw(st.integers(min_value=1, max_value=len(text) - 1))
    before = WRAPPINGS[how].split("{}")[0].replace("{{", "{").replace("}}", "}")
    assert isinstance(parse(before + text[:cut]), Unparsed)


@given(values)
@settings(max_examples=300, deadline=None)
def test_json_is_read_as_the_standard_library_reads_it(value: Any) -> None:
    for text in (json.dumps(value), json.dumps(value, indent=2), json.dumps(value, ensure_ascii=False)):
        result = parse(text)
        assert isinstance(result, Parsed)
        assert same(result.value, json.loads(text))
        assert [step.kind for step in result.trail] == ["strict"]


@given(scalars, st.sampled_from(["```\n{}\n```", "<think>hm</think>{}", "\ufeff{}"]))
@settings(deadline=None)
def test_a_value_without_brackets_is_read_when_it_is_the_whole_answer(value: Any, how: str) -> None:
    result = parse(how.format(json.dumps(value)))
    assert isinstance(result, Parsed)
    assert same(result.value, value)


@given(st.text(alphabet="{}[](),:'\"\\/*#` \nab1.-<>tu", max_size=60))
@settings(max_examples=800, deadline=None)
def test_no_text_makes_the_parser_raise(text: str) -> None:
    result = parse(text)
    assert isinstance(result, Unparsed) or result.trail


@given(st.text(alphabet="{}[],:\"'ab1 \n", max_size=30))
@settings(max_examples=500, deadline=None)
def test_what_the_standard_library_reads_is_read_alike(text: str) -> None:
    try:
        wanted = json.loads(text)
    except ValueError:
        return
    result = parse(text)
    assert isinstance(result, Parsed)
    assert same(result.value, wanted)


@pytest.mark.parametrize(
    ("text", "value", "kind"),
    [
        ("{'a': True, 'b': None}", {"a": True, "b": None}, "repaired.python_literal"),
        ("{“a”: “b”}", {"a": "b"}, "repaired.smart_quotes"),
        ('{"a": "say "hi" to"}', {"a": 'say "hi" to'}, "repaired.quote_in_string"),
        ("{'t': 'It's ok', 'n': 1}", {"t": "It's ok", "n": 1}, "repaired.quote_in_string"),
        ('{"a": 1\n "b": 2}', {"a": 1, "b": 2}, "repaired.missing_comma"),
        ("[.5, +1, 5., 1_000, 0x1F]", [0.5, 1, 5.0, 1000, 31], "repaired.number"),
        ('{"a": """x\ny"""}', {"a": "x\ny"}, "repaired.triple_quotes"),
        ('{"a": 1}}', {"a": 1}, "repaired.extra_bracket"),
        ('{"a": 1}\n{"a": 1}', {"a": 1}, "candidate"),
        ('["\\ud800"]', ["\ud800"], "strict"),
        ("[123456789012345678901234567890, 1.0, 1]", [123456789012345678901234567890, 1.0, 1], "strict"),
        ('{"a": 1, "a": 2}', {"a": 2}, "duplicate_key"),
    ],
)
def test_each_liberty_leaves_its_step_in_the_trail(text: str, value: Any, kind: str) -> None:
    result = parse(text)
    assert isinstance(result, Parsed)
    assert same(result.value, value)
    assert kind in [step.kind for step in result.trail]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "parse.none"),
        ("no value here", "parse.none"),
        ('{"a": 1} or {"a": 2}', "parse.ambiguous"),
        ('{"a": "say "hi"}', "parse.quote"),
        ("{'a': 1, 'a': 2}", "parse.duplicate_key"),
        ('{"a": {"b": 1}}, "c": 2}', "parse.unbalanced"),
        ('"a": [1]', "parse.fragment"),
        ('[{"a": 1}], [2]', "parse.ambiguous"),
        ("[3[4]]", "parse.nested"),
        ('[oops, {"a": 1}]', "parse.nested"),
        ("[1, 2, // ... and so on\n]", "parse.elided"),
        ("[1, NaN]", "parse.no_value"),
        ("[1e400]", "parse.number"),
        ("[1e-400]", "parse.number"),
        ("[" + "1" * 5000 + "]", "parse.number"),
        ("[007]", "parse.number"),
        ("{a: hello}", "parse.word"),
        ("{'p': 'C:\\q'}", "parse.escape"),
        ("[1,, 2]", "parse.syntax"),
        ("{'a' 'b'}", "parse.syntax"),
        ('["a" "b"]', "parse.syntax"),
    ],
)
def test_what_has_no_reading_or_two_is_refused_with_its_reason(text: str, code: str) -> None:
    result = parse(text)
    assert isinstance(result, Unparsed), result
    assert result.code == code
    assert not result.incomplete
    assert result.sentence


@pytest.mark.parametrize("text", ['{"a": "x', "[1, 2", "[nul", "<think>still {", "```json\n{", "{'a': /* hm", '"a'])
def test_a_text_that_ends_inside_its_value_is_told_apart(text: str) -> None:
    result = parse(text)
    assert isinstance(result, Unparsed)
    assert result.incomplete


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "([" * 50_000, "[" * 200 + "]" * 200])
def test_deep_nesting_is_refused(text: str) -> None:
    result = parse(text)
    assert isinstance(result, Unparsed)
    assert result.code == "parse.too_deep"


SCHEMA = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}


def test_the_schema_chooses_between_candidates() -> None:
    result = parse('Format: {"name": "x"}. Sources [1], [2].\n```json\n{"total": 3}\n```', SCHEMA)
    assert isinstance(result, Parsed)
    assert result.value == {"total": 3}
    assert "candidate" in [step.kind for step in result.trail]


def test_two_candidates_that_both_fit_are_refused() -> None:
    result = parse('{"total": 3}\nor {"total": 4}', SCHEMA)
    assert isinstance(result, Unparsed)
    assert result.code == "parse.ambiguous"


def test_arguments_are_taken_out_of_a_call_when_the_schema_describes_them() -> None:
    result = parse('<tool_call>{"name": "answer", "arguments": {"total": 3}}</tool_call>', SCHEMA)
    assert isinstance(result, Parsed)
    assert result.value == {"total": 3}
    assert "arguments" in [step.kind for step in result.trail]


def test_alignments_are_in_the_trail_and_can_be_turned_off() -> None:
    text = '{"Total": "3"}'
    result = parse(text, SCHEMA)
    assert isinstance(result, Parsed)
    assert result.value == {"total": 3}
    assert {"aligned.key", "aligned.number"} <= {step.kind for step in result.trail}
    plain = parse(text, SCHEMA, align=())
    assert isinstance(plain, Parsed)
    assert plain.value == {"Total": "3"}
