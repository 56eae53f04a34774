"""Checks on what an answer says: length, patterns, allowed values, filled fields, refusals, loops."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cheapfirst.checks import content, covered, percent, unique
from cheapfirst.checks.context import Context
from cheapfirst.checks.refusal import declines, refusal
from cheapfirst.checks.repetition import loop, repetition
from cheapfirst.policy.checks import Covered, Enum, Length, Percent, Refusal, Regex, Repetition, Required, Unique

TEXT = Context(text="")


def codes(findings: Any) -> list[str]:
    return [finding.code for finding in findings]


def said(text: str, source: str | None = None) -> tuple[str, Context]:
    return text, Context(text=text, source=source)


# length


@given(st.text(), st.integers(0, 30), st.integers(0, 30))
def test_length_counts_characters_without_the_space_around(text: str, least: int, most: int) -> None:
    found = content.length(*said(text), Length(min_chars=least, max_chars=most))
    size = len(text.strip())
    assert len(found) == (size < least) + (size > most)


@given(st.lists(st.from_regex(r"[a-z]{1,8}", fullmatch=True), max_size=20))
def test_length_counts_words_between_spaces(words: list[str]) -> None:
    assert content.words("  \n ".join(words)) == len(words)


def test_chinese_and_japanese_characters_count_as_words() -> None:
    assert content.words("发票 GPT-5 です") == 5


def test_length_measures_strings_and_lists_at_a_path() -> None:
    value = {"lines": [{"text": "one two three"}, {"text": "one"}]}
    assert codes(content.length(value, TEXT, Length(path="lines.*.text", max_words=2))) == ["length.words"]
    assert codes(content.length(value, TEXT, Length(path="lines", min_items=3))) == ["length.items"]
    assert codes(content.length("text", TEXT, Length(min_items=1))) == ["length.not_list"]
    assert content.length(value, TEXT, Length(path="nowhere", min_chars=3)) == []


# regex


def test_a_pattern_must_occur_or_must_not() -> None:
    assert content.regex(*said("Order 4711"), Regex(pattern=r"\d{4}")) == []
    assert codes(content.regex(*said("Order"), Regex(pattern=r"\d{4}"))) == ["regex.no_match"]
    assert codes(content.regex(*said("Order 4711"), Regex(pattern=r"\d{4}", forbid=True))) == ["regex.forbidden"]
    assert content.regex(*said("Order"), Regex(pattern=r"\d{4}", forbid=True)) == []


def test_a_pattern_at_a_path_looks_at_each_string_there() -> None:
    value = {"ids": ["A1", "b2", 3]}
    found = content.regex(value, TEXT, Regex(pattern="^[A-Z]", path="ids.*"))
    assert [(finding.code, finding.path) for finding in found] == [
        ("regex.no_match", ("ids", 1)),
        ("regex.not_text", ("ids", 2)),
    ]


def test_a_pattern_that_cannot_be_used_is_a_finding() -> None:
    assert codes(content.regex(*said("x"), Regex(pattern="("))) == ["regex.pattern"]


def test_a_hostile_pattern_does_not_hang() -> None:
    assert codes(content.regex(*said("a" * 30_000 + "!"), Regex(pattern="^(a+)+$"))) == ["regex.no_match"]


# enum


def test_the_answer_must_be_one_of_the_values() -> None:
    allowed = Enum(values=["yes", "no"])
    assert content.enum(*said(" yes\n"), allowed) == []
    assert codes(content.enum(*said("maybe"), allowed)) == ["enum.unknown"]


def test_true_is_not_one_and_a_path_names_where() -> None:
    value = {"level": True}
    (finding,) = content.enum(value, Context(shape="json"), Enum(values=[1, 2], path="level"))
    assert (finding.code, finding.path) == ("enum.unknown", ("level",))


# required


def test_fields_must_be_there_and_say_something() -> None:
    value = {"a": [{"b": 1}, {"c": " "}], "d": None, "e": [], "f": 0, "g": False}
    found = content.required(value, TEXT, Required(fields=["a.*.b", "a.1.c", "d", "e", "f", "g", "z"]))
    assert [(finding.code, finding.path) for finding in found] == [
        ("required.missing", ("a", 1, "b")),
        ("required.blank", ("a", 1, "c")),
        ("required.blank", ("d",)),
        ("required.blank", ("e",)),
        ("required.missing", ("z",)),
    ]


def test_a_star_over_an_empty_list_misses_nothing() -> None:
    assert content.required({"a": []}, TEXT, Required(fields=["a.*.b"])) == []


# refusal

DECLINING = """
I'm sorry, but I can't help with that.
I’m sorry, but I can’t assist with that request.
As an AI language model, I cannot provide medical advice.
Sorry, I'm unable to comply with this request.
Unfortunately, I am not able to answer that question.
**I'm sorry**, but I can't do that.
Es tut mir leid, aber ich kann dabei nicht helfen.
Leider kann ich diese Anfrage nicht beantworten.
Je suis désolé, mais je ne peux pas vous aider.
Lo siento, pero no puedo ayudarte con eso.
Mi dispiace, ma non posso aiutarti con questa richiesta.
Desculpe, mas não posso ajudar com isso.
Het spijt me, maar ik kan u hier niet bij helpen.
Przykro mi, ale nie mogę pomóc w tej sprawie.
К сожалению, я не могу помочь с этим.
很抱歉，我无法协助您完成这个请求。
申し訳ありませんが、そのご要望にはお応えできません。
죄송합니다만, 그 요청은 도와드릴 수 없습니다.
""".strip().splitlines()

ANSWERING = """
The assistant said: I'm sorry, but I can't help with that.
"I can't help with that" is what the agent wrote.
I'm sorry, but I can't make it to the meeting on Friday.
Sorry for the late reply. The invoice is attached.
Unfortunately the package arrived damaged.
We are sorry to hear that; a replacement is on its way.
Leider kam das Paket beschädigt an.
Je suis désolé pour le retard.
The customer can't log in.
I can help with that!
El cliente no puede acceder a su cuenta.
抱歉让您久等了，您的包裹已经发出。
お待たせして申し訳ありません。本日発送しました。
""".strip().splitlines()


@pytest.mark.parametrize("text", DECLINING)
def test_a_refusal_is_noticed(text: str) -> None:
    assert codes(refusal(*said(text), Refusal())) == ["refusal.phrase"]


@pytest.mark.parametrize("text", ANSWERING)
def test_an_answer_that_only_sounds_like_one_is_let_through(text: str) -> None:
    assert not declines(text)


def test_a_refusal_inside_a_field_is_noticed_and_a_quotation_of_the_source_is_not() -> None:
    value = {"summary": "I'm sorry, but I can't help with that."}
    (finding,) = refusal(value, Context(text="{...}"), Refusal())
    assert finding.path == ("summary",)
    source = "Customer: I'm sorry, but I can't help with that. You broke it."
    assert refusal(value, Context(text="{...}", source=source), Refusal()) == []


def test_a_long_text_is_an_answer_however_it_begins() -> None:
    assert not declines("I'm sorry, but I can't help with that. " + "Here is what I can say. " * 100)


# repetition


@given(st.text(min_size=1, max_size=40).filter(lambda unit: unit.strip().isalnum()), st.text(max_size=200))
def test_a_loop_at_the_end_is_noticed_whatever_stands_before(unit: str, before: str) -> None:
    unit = unit.strip()
    assert loop(before + unit * max(8, 64 // len(unit) + 1)) is not None


@given(st.lists(st.integers(0, 10**6), min_size=2, max_size=400, unique=True))
def test_a_text_without_repetition_never_counts_as_a_loop(numbers: list[int]) -> None:
    assert loop(" ".join(f"item {number}." for number in numbers)) is None


@pytest.mark.parametrize(
    "text",
    [
        "ha ha ha ha ha ha ha ha ha",
        "| a | b |\n" + "|---|" * 12,
        "[" + ", ".join(["0"] * 400) + "]",
        "\n".join(f"{number}. The customer is happy." for number in range(1, 60)),
        "Chapter 1 " + "." * 300 + " 7",
        "yes\n" * 9,
    ],
)
def test_legitimate_lists_tables_and_leaders_are_let_through(text: str) -> None:
    assert loop(text) is None


def test_the_loop_may_stop_inside_its_stretch() -> None:
    assert loop("So. " + "I will now continue with the next step. " * 9 + "I will now con") is not None


def test_repetition_asked_for_by_the_source_is_let_through() -> None:
    text = "All work and no play makes Jack a dull boy. " * 10
    assert codes(repetition(*said(text), Repetition())) == ["repetition.loop"]
    assert repetition(*said(text, source="Copy this: " + text), Repetition()) == []
    assert repetition(*said(text), Repetition(max_repeats=11)) == []


def test_a_loop_inside_a_field_is_noticed() -> None:
    found = repetition({"a": {"b": "no no " * 40}}, Context(text='{"a": {"b": "..."}}'), Repetition())
    assert [finding.path for finding in found] == [("a", "b")]


# covered

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "mutual_fund.balance",
            "description": "Balance of a fund.",
            "parameters": {
                "type": "object",
                "properties": {
                    "amount": {"type": "integer", "description": "Amount invested."},
                    "annual_yield": {"type": "number", "description": "Yield of a year."},
                    "share_percent": {"type": "number", "description": "Share."},
                    "years": {"type": "integer", "description": "Years, default 10."},
                },
            },
        },
    },
    {"type": "function", "function": {"name": "circle.calculate_area", "parameters": {"type": "object"}}},
]


def called(source: str, *arguments: dict[str, Any]) -> tuple[list[dict[str, Any]], Context]:
    calls = [{"name": "mutual_fund.balance", "arguments": given} for given in arguments]
    return calls, Context(shape="json", source=source, tools=TOOLS, called=True)


def test_a_figure_that_no_call_uses_is_reported() -> None:
    source = "I put $5,000 in a fund, and my brother puts 7000 in it."
    assert codes(covered.covered(*called(source, {"amount": 5000}), Covered())) == ["covered.figure"]
    assert covered.covered(*called(source, {"amount": 5000}, {"amount": 7000}), Covered()) == []


@pytest.mark.parametrize(
    ("source", "arguments"),
    [
        ("a yield of 7%", {"annual_yield": 0.07}),
        ("acceleration of 9 m/s^2", {"amount": 9}),
        ("1) the first thing 2) the 2nd thing", {}),
        ("1. Do this.\n2. Do that.", {}),
        ("open until 22:00", {"years": 22}),
        ("more than 5 years", {"years": 6}),
        ("for 2 weeks", {"years": 14}),
        ("it starts at 0 and 10 years are usual", {}),
        ("5ft 10in tall", {"amount": 70}),
        ("3 million dollars", {"amount": 3000000}),
    ],
)
def test_figures_that_are_no_inputs_or_come_in_another_unit_are_let_through(
    source: str, arguments: dict[str, Any]
) -> None:
    assert covered.covered(*called(source, arguments), Covered()) == []


def test_a_quoted_name_that_nothing_mentions_is_reported() -> None:
    source = "Find 'Call of Duty' and 'FIFA'."
    value = {"games": ["FIFA"]}
    context = Context(shape="json", source=source, text="...")
    assert codes(covered.covered(value, context, Covered())) == ["covered.quote"]
    assert covered.covered({"games": ["fifa", "Call-of-Duty"]}, context, Covered()) == []
    assert covered.covered(value, context, Covered(quotes=False)) == []


def test_a_tool_that_the_source_asks_for_must_be_called() -> None:
    source = "The balance of the mutual fund, and the area of a circle."
    assert codes(covered.covered(*called(source, {}), Covered())) == ["covered.tool"]
    assert covered.covered(*called("The balance of the mutual fund.", {}), Covered()) == []


def test_covered_says_nothing_without_a_source() -> None:
    assert covered.covered({}, Context(), Covered()) == ()


# percent


def test_a_percentage_copied_into_a_fraction_is_reported() -> None:
    (finding,) = percent.percent(*called("yield of 7 %", {"annual_yield": 7.0}), Percent())
    assert (finding.code, finding.path) == ("percent.whole", (0, "arguments", "annual_yield"))


def test_fractions_whole_numbers_and_fields_that_count_in_percent_are_let_through() -> None:
    source = "yield of 7 percent for 7 years"
    assert percent.percent(*called(source, {"annual_yield": 0.07, "share_percent": 7.0, "years": 7}), Percent()) == []


def test_a_maximum_over_one_shows_that_a_field_counts_in_percent() -> None:
    wanted = {"properties": {"rate": {"type": "number", "maximum": 100}}}
    context = Context(shape="json", source="a rate of 7%", schema=wanted)
    assert percent.percent({"rate": 7}, context, Percent()) == []


# unique


def test_identical_calls_are_reported_once_each() -> None:
    value, context = called("", {"amount": 1, "years": 2}, {"years": 2, "amount": 1}, {"amount": 2})
    assert [finding.path for finding in unique.unique(value, context, Unique())] == [(1,)]


def test_identical_items_of_a_list_at_a_path_are_reported() -> None:
    value = {"tags": ["a", "b", "a"], "other": ["x", "x"]}
    assert [finding.path for finding in unique.unique(value, TEXT, Unique(path="tags"))] == [("tags", 2)]
