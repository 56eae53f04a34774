"""The verdict on one answer: every failure reported, nothing raised."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cheapfirst.checks import Context, judge, load, read_schema
from cheapfirst.errors import PolicyError
from cheapfirst.messages import Finding, Outcome
from cheapfirst.policy.checks import (
    CHECKS,
    Check,
    Custom,
    Enum,
    Grounded,
    Length,
    Python,
    Refusal,
    Regex,
    Repetition,
    Required,
)

TICKET = {
    "type": "object",
    "properties": {"kind": {"enum": ["bug", "question"]}, "title": {"type": "string"}},
    "required": ["kind", "title"],
}
TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "weather",
            "parameters": {
                "type": "object",
                "properties": {"city": {"type": "string"}, "days": {"type": "integer"}},
                "required": ["city"],
            },
        },
    }
]


def answer(text: str = "", kind: Any = "answer", **message: Any) -> Outcome:
    return Outcome(kind=kind, text=text, message={"role": "assistant", "content": text, **message})


def calling(*calls: tuple[str, Any]) -> Outcome:
    return answer(
        tool_calls=[
            {"id": f"call_{number}", "type": "function", "function": {"name": name, "arguments": json.dumps(given)}}
            for number, (name, given) in enumerate(calls)
        ]
    )


def codes(judgment: Any) -> list[str]:
    return [finding.code for finding in judgment.verdict.findings]


def test_free_text_is_its_own_value() -> None:
    judgment = judge(answer("Hello."), shape="text", checks=(Length(max_words=3),))
    assert judgment.verdict.accept
    assert (judgment.value, judgment.text, judgment.trail) == ("Hello.", "Hello.", ())
    assert judgment.verdict.checked == ("length",)


def test_an_empty_answer_is_rejected() -> None:
    assert codes(judge(answer(" \n"), shape="text")) == ["parse.empty"]
    assert not judge(answer(""), shape="json").verdict.accept


def test_a_fenced_value_that_fits_is_accepted_and_the_exact_text_is_kept() -> None:
    text = '```json\n{"kind": "bug", "title": "It breaks"}\n```'
    judgment = judge(answer(text), shape="json", schema=read_schema(TICKET))
    assert judgment.verdict.accept
    assert judgment.value == {"kind": "bug", "title": "It breaks"}
    assert judgment.text == text
    assert judgment.trail[0].kind == "unfenced"


def test_the_schema_and_all_checks_report_together() -> None:
    judgment = judge(
        answer('{"kind": "rant", "title": "x"}'),
        shape="json",
        schema=read_schema(TICKET),
        checks=(Length(path="title", min_chars=3), Grounded(), Required(fields=["owner"]), Regex(pattern="z")),
        source="nothing of it",
    )
    assert codes(judgment) == [
        "schema.enum",
        "length.chars",
        "grounded.text",
        "grounded.text",
        "required.missing",
        "regex.no_match",
    ]
    assert judgment.verdict.checked == ("parse", "schema", "length", "grounded", "required", "regex")


def test_what_cannot_be_read_is_judged_by_its_text_alone() -> None:
    judgment = judge(
        answer("I'm sorry, but I can't help with that."),
        shape="json",
        checks=(Refusal(), Length(max_chars=3), Repetition()),
    )
    assert judgment.value is None
    assert codes(judgment)[1:] == ["refusal.phrase"]
    assert judgment.verdict.checked == ("parse", "refusal", "repetition")


def test_a_provider_that_says_refusal_is_believed() -> None:
    assert "refusal.structured" in codes(judge(answer("", refusal="I can't"), shape="json"))
    assert "refusal.structured" in codes(judge(answer("No.", kind="refusal"), shape="text"))


def test_json_that_stops_in_the_middle_is_incomplete_whatever_the_finish_reason() -> None:
    judgment = judge(answer('{"kind": "bug", "title": "It br'), shape="json", schema=read_schema(TICKET))
    assert judgment.incomplete
    assert codes(judgment) == ["parse.incomplete"]


@pytest.mark.parametrize(
    ("text", "accept"),
    [
        ('{"kind": "bug", "title": "x"}', True),
        ('```json\n{"kind": "bug", "title": "x"}\n```', True),
        ('{"kind": "bug", "title": "x"', False),
        ('"bug"', False),
        ("12", False),
    ],
)
def test_a_cut_off_answer_passes_only_as_one_complete_container(text: str, accept: bool) -> None:
    assert judge(answer(text, kind="cut-off"), shape="json").verdict.accept is accept


def test_cut_off_text_never_passes() -> None:
    assert codes(judge(answer("A whole sentence.", kind="cut-off"), shape="text")) == ["parse.cut_off"]


def test_tool_calls_are_held_against_their_tools() -> None:
    judgment = judge(
        calling(("weather", {"city": "Rome", "days": 2}), ("weather", {"days": "many", "unit": "C"})),
        shape="text",
        tools=TOOLS,
    )
    assert [(finding.code, finding.path) for finding in judgment.verdict.findings] == [
        ("calls.required", (1, "arguments")),
        ("calls.type", (1, "arguments", "days")),
        ("calls.additional", (1, "arguments", "unit")),
    ]


def test_good_tool_calls_are_the_value() -> None:
    judgment = judge(calling(("weather", {"city": "Rome"})), shape="text", tools=TOOLS)
    assert judgment.verdict.accept
    assert judgment.value == [{"name": "weather", "arguments": {"city": "Rome"}}]


def test_a_tool_that_nobody_declared_is_rejected() -> None:
    judgment = judge(calling(("delete_everything", {})), shape="text", tools=TOOLS)
    assert not judgment.verdict.accept
    assert codes(judgment)[0].startswith("calls.")


def test_text_beside_declared_tools_is_an_answer_unless_json_was_asked_for() -> None:
    assert judge(answer("It rains."), shape="text", tools=TOOLS).verdict.accept
    assert not judge(answer("It rains."), shape="json", tools=TOOLS).verdict.accept
    given_json = judge(answer('{"kind": "bug", "title": "x"}'), shape="json", schema=read_schema(TICKET), tools=TOOLS)
    assert given_json.verdict.accept


class Person(msgspec.Struct):
    name: str
    age: int

    def __post_init__(self) -> None:
        if self.age < 0:
            raise ValueError("born in the future")


def test_the_callers_type_is_checked_and_converts_the_value() -> None:
    wanted = read_schema(Person)
    assert wanted is not None
    judgment = judge(answer('{"name": "Ada", "age": 36}'), shape="json", schema=wanted)
    assert wanted.convert(judgment.value) == Person("Ada", 36)
    assert codes(judge(answer('{"name": "Ada", "age": -1}'), shape="json", schema=wanted)) == ["schema.type_check"]


@pytest.mark.parametrize(
    ("result", "expected"),
    [
        (None, []),
        (True, []),
        ([], []),
        (False, ["python.rejected"]),
        ("too rude", ["python.rejected"]),
        (["one", "two"], ["python.rejected", "python.rejected"]),
        (Finding(check="tone", code="tone.rude", sentence="Rude."), ["tone.rude"]),
        (7, ["python.error"]),
        ([3], ["python.error"]),
    ],
)
def test_a_registered_function_speaks_in_its_own_way(result: object, expected: list[str]) -> None:
    judgment = judge(answer("x"), shape="text", checks=(Custom(name="tone"),), custom={"tone": lambda v, c: result})
    assert codes(judgment) == expected
    assert judgment.verdict.checked == ("tone",)


def test_a_function_that_raises_is_a_finding_that_names_only_the_type() -> None:
    def breaks(value: Any, context: Context) -> None:
        raise RuntimeError(f"leaked {value}")

    judgment = judge(answer("secret"), shape="text", checks=(Custom(name="breaks"),), custom={"breaks": breaks})
    (finding,) = judgment.verdict.findings
    assert finding.code == "python.error"
    assert "RuntimeError" in finding.sentence
    assert "secret" not in finding.sentence


def test_a_function_that_ends_the_program_is_a_finding_because_it_would_end_the_routers_loop() -> None:
    def leaves(value: Any, context: Context) -> None:
        raise SystemExit(3)

    judgment = judge(answer("x"), shape="text", checks=(Custom(name="leaves"),), custom={"leaves": leaves})
    assert codes(judgment) == ["python.error"]


def test_an_async_function_and_an_unregistered_name_are_findings() -> None:
    async def slow(value: Any, context: Context) -> bool:
        return True

    checks = (Custom(name="slow"), Custom(name="nobody"))
    assert codes(judge(answer("x"), shape="text", checks=checks, custom={"slow": slow})) == ["python.error"] * 2


def test_functions_are_found_by_their_import_path() -> None:
    assert load("json:dumps").__name__ == "dumps"
    for wrong in ("json:nothing", "no_such_module_here:f", "json", "json:__name__"):
        with pytest.raises(PolicyError, match=r"package\.module:function"):
            load(wrong)
    assert codes(judge(answer("x"), shape="text", checks=(Python(call="builtins:len"),))) == ["python.error"]


def test_a_function_sees_the_callers_type_and_the_context() -> None:
    seen: list[Any] = []

    def look(value: Any, context: Context) -> None:
        seen.append((value, context.source, context.shape))

    judge(
        answer('{"name": "Ada", "age": 36}'),
        shape="json",
        schema=read_schema(Person),
        source="Ada is 36",
        checks=(Custom(name="look"),),
        custom={"look": look},
    )
    assert seen == [(Person("Ada", 36), "Ada is 36", "json")]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=10,
)
TEXTS = (
    st.text(st.characters())
    | st.binary(max_size=200).map(lambda raw: raw.decode("utf-8", "surrogateescape"))
    | JSON.map(json.dumps)
    | JSON.map(lambda value: f"Here:\n```json\n{json.dumps(value)}\n```")
    | JSON.map(lambda value: json.dumps(value)[:-1])
)
OPTIONS: dict[str, Any] = dict(CHECKS)
EVERY_CHECK: tuple[Check, ...] = (
    *(made() for name, made in OPTIONS.items() if name not in ("regex", "enum", "required", "python")),
    Length(path="a.*", max_chars=3, min_items=1),
    Regex(pattern="x"),
    Enum(values=[1, "a"], path="*"),
    Required(fields=["a.*.b"]),
)


@given(
    text=TEXTS,
    source=st.none() | st.text(max_size=100),
    shape=st.sampled_from(["json", "text", "stream"]),
    kind=st.sampled_from(["answer", "cut-off", "refusal", "fault"]),
    schema=st.sampled_from([None, TICKET]),
    calls=st.none() | st.lists(st.tuples(st.sampled_from(["weather", "other"]), TEXTS), max_size=3),
)
def test_judging_never_raises(text: str, source: Any, shape: Any, kind: Any, schema: Any, calls: Any) -> None:
    outcome = answer(text, kind=kind)
    if calls is not None:
        outcome.message["tool_calls"] = [{"function": {"name": name, "arguments": given}} for name, given in calls]
    judgment = judge(outcome, shape=shape, schema=read_schema(schema), checks=EVERY_CHECK, tools=TOOLS, source=source)
    assert judgment.verdict.accept == (not judgment.verdict.findings)
    assert judgment.text == text


@pytest.mark.parametrize(
    "tool_calls",
    [{}, "x", [None], [{"function": None}], [{"function": {"name": 3}}], [{"function": {"name": "weather"}}], [7]],
)
def test_malformed_tool_calls_are_findings_or_read(tool_calls: Any) -> None:
    judge(answer("", tool_calls=tool_calls), shape="text", tools=TOOLS)
