"""Every extracted value occurs in the source, however it is written there."""

from __future__ import annotations

import datetime
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from cheapfirst.checks.context import Context
from cheapfirst.checks.dates import dates
from cheapfirst.checks.grounded import grounded
from cheapfirst.checks.numerals import numbers
from cheapfirst.policy.checks import Grounded

INVOICE = """Rechnung Nr. 4711 vom 25. Dezember 2018 an Müller GmbH, Haupt-
straße 5, 10115 Berlin. Summe 1.234,56 € inkl. 19% USt. Two items, fünfundzwanzig Euro each; 3.5 million in stock.
Due 03/04/2019. On Jan 5 we meet at 2:30 pm. Discount -12 and .75, about one hundred and twenty people.
"""


def found(value: Any, source: str = INVOICE, schema: Any = None, **options: Any) -> list[tuple[str, tuple[Any, ...]]]:
    context = Context(shape="json", source=source, schema=schema)
    return [(finding.code, finding.path) for finding in grounded(value, context, Grounded(**options))]


@pytest.mark.parametrize(
    "value",
    [
        "4711",
        "MULLER GMBH",
        "Müller GmbH",
        "Hauptstraße 5",
        "Haupt-straße 5, 10115 Berlin",
        "2018-12-25",
        "25/12/2018",
        "Dec 25, 2018",
        "25 décembre 2018",
        "2018-12-25T00:00:00Z",
        "2019-04-03",
        "2019-03-04",
        "2018-01-05T14:30:00",
        1234.56,
        "1,234.56",
        "€ 1234.56",
        "EUR",
        19,
        0.19,
        "19 %",
        2,
        25,
        120,
        3_500_000,
        "two",
        -12,
        0.75,
        "",
        None,
        True,
    ],
)
def test_what_stands_in_the_source_is_grounded_in_any_notation(value: Any) -> None:
    assert found({"value": value}) == []


@pytest.mark.parametrize(
    ("value", "code"),
    [
        ("Mueller AG", "grounded.text"),
        ("Hamburg", "grounded.text"),
        ("rch", "grounded.text"),
        ("471", "grounded.number"),
        ("47110", "grounded.number"),
        (471, "grounded.number"),
        (1234.5, "grounded.number"),
        ("12,34", "grounded.number"),
        ("$99.00", "grounded.number"),
        ("2018-12-26", "grounded.date"),
        ("2019-12-25", "grounded.date"),
        ("2018-01-05T15:30:00", "grounded.date"),
        ("USD", "grounded.text"),
        (float("nan"), "grounded.number"),
        (10**40, "grounded.number"),
    ],
)
def test_what_does_not_stand_in_the_source_is_reported(value: Any, code: str) -> None:
    assert found({"value": value}) == [(code, ("value",))]


WORDS = st.lists(st.from_regex(r"[a-zA-Zäöüéñß0-9]{1,10}", fullmatch=True), min_size=3, max_size=30)


@given(WORDS, st.data())
def test_spans_of_the_source_are_always_grounded(words: list[str], data: st.DataObject) -> None:
    spans = []
    for _ in range(data.draw(st.integers(1, 4))):
        start = data.draw(st.integers(0, len(words) - 1))
        spans.append(" ".join(words[start : data.draw(st.integers(start + 1, len(words)))]))
    source = data.draw(st.sampled_from([" ", "\n", ", ", "  "])).join(words)
    dressed = [span.upper() if data.draw(st.booleans()) else f" {span} " for span in spans]
    assert found({"spans": dressed}, source) == []


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=12), st.integers(0, 10**9))
def test_a_number_that_the_source_does_not_hold_is_never_grounded(held: list[int], other: int) -> None:
    assume(other not in held)
    source = "; ".join(f"item {number} pcs" for number in held)
    assert found(other, source) == [("grounded.number", ())]
    assert found(str(other), source) == [("grounded.number", ())]


@given(st.dates(datetime.date(1970, 1, 1), datetime.date(2068, 12, 31)), st.data())
def test_a_date_is_grounded_whichever_way_the_source_writes_it(day: datetime.date, data: st.DataObject) -> None:
    month = data.draw(st.sampled_from([day.strftime("%B"), day.strftime("%b")]))
    written = data.draw(
        st.sampled_from(
            [
                day.isoformat(),
                f"{day.day}/{day.month}/{day.year}",
                f"{day.month}/{day.day}/{day.year}",
                f"{day.day:02}.{day.month:02}.{day.year % 100:02}",
                f"{day.day} {month} {day.year}",
                f"{month} {day.day}, {day.year}",
                f"the {day.day}th of {month}, {day.year}",
                f"{day.year}年{day.month}月{day.day}日",
            ]
        )
    )
    assert found(day.isoformat(), f"Signed on {written} in Bonn.") == []
    later = day + datetime.timedelta(days=400)
    assert found(later.isoformat(), f"Signed on {written} in Bonn.") == [("grounded.date", ())]


@given(st.decimals(0, 10**9, places=2), st.sampled_from(["{:,.2f}", "{:.2f}", "swiss", "german", "french"]))
def test_amounts_are_read_in_every_notation(amount: Decimal, style: str) -> None:
    english = f"{amount:,.2f}"
    written = {
        "german": english.translate(str.maketrans(",.", ".,")),
        "swiss": english.replace(",", "'"),
        "french": english.translate(str.maketrans(",.", "\u202f,")),
    }.get(style, style.format(amount))
    assert amount in numbers(f"Total: {written} EUR")


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("vingt", 20),
        ("zweiundvierzig", 42),
        ("two hundred and five", 205),
        ("three thousand", 3000),
        ("half", Decimal("0.5")),
        ("1/2", Decimal("0.5")),
        ("1 1/2", Decimal("1.5")),
        ("½", Decimal("0.5")),
        ("a dozen", 12),
        ("2 dozen", 24),
        ("5k", 5000),
        ("1,2 Mio", 1_200_000),
        ("三", 3),
        ("(450)", -450),
    ],
)
def test_written_numbers_and_scales_are_read(text: str, number: Any) -> None:
    assert number in numbers(text)


def test_impossible_dates_are_not_dates() -> None:
    assert dates("31/31/2018 and 2018-02-30").days == frozenset()


def test_values_that_the_schema_itself_names_are_exempt() -> None:
    schema = {
        "type": "object",
        "properties": {
            "kind": {"enum": ["complaint", "praise"]},
            "version": {"const": 7},
            "unit": {"type": "string", "default": "pieces"},
            "lines": {"type": "array", "items": {"$ref": "#/$defs/Line"}},
        },
        "$defs": {"Line": {"properties": {"status": {"anyOf": [{"enum": ["open"]}, {"type": "null"}]}}}},
    }
    value = {"kind": "praise", "version": 7, "unit": "pieces", "lines": [{"status": "open"}, {"status": "shut"}]}
    assert found(value, schema=schema) == [("grounded.text", ("lines", 1, "status"))]


def test_paths_choose_what_is_looked_at() -> None:
    value = {"lines": [{"text": "Hamburg", "n": 4711}, {"text": "Bremen"}], "note": "mine"}
    assert found(value, exclude=["note"]) == [
        ("grounded.text", ("lines", 0, "text")),
        ("grounded.text", ("lines", 1, "text")),
    ]
    assert found(value, only=["lines.1"]) == [("grounded.text", ("lines", 1, "text"))]
    assert found(value, only=["lines.*.n"]) == []


def test_tool_calls_are_held_against_the_tools_own_schema() -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"properties": {"unit": {"enum": ["km"]}}}}}]
    value = [{"name": "f", "arguments": {"unit": "km", "city": "Paris"}}]
    context = Context(shape="json", source="to Rome", tools=tools, called=True)
    assert [finding.path for finding in grounded(value, context, Grounded())] == [(0, "arguments", "city")]


def test_without_a_source_nothing_is_said() -> None:
    assert grounded({"a": "b"}, Context(), Grounded()) == ()


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=10,
)


@given(JSON, st.text(max_size=200))
def test_grounding_never_raises(value: Any, source: str) -> None:
    found(value, source)
