"""Reading the caller's schema, and saying everything that an answer lacks."""

from __future__ import annotations

import dataclasses
import datetime
import socket
import subprocess
import sys
from typing import Any, Literal, TypedDict

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field, TypeAdapter, field_validator

from cheapfirst.checks import schema
from cheapfirst.errors import RequestError

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters()), inner, max_size=4),
    max_leaves=12,
)


class Line(BaseModel):
    text: str
    amount: float = Field(ge=0)


class Invoice(BaseModel):
    number: str
    day: datetime.date
    lines: list[Line] = []

    @field_validator("number")
    @classmethod
    def starts_with_a_letter(cls, number: str) -> str:
        if not number[:1].isalpha():
            raise ValueError("a number starts with a letter")
        return number


@dataclasses.dataclass
class Ticket:
    title: str
    urgent: bool
    kind: Literal["bug", "question"] = "bug"


class Movie(TypedDict):
    title: str


class Node(msgspec.Struct):
    name: str
    children: list[Node] = []


def codes(wanted: schema.Schema, value: Any) -> list[tuple[str, tuple[str | int, ...]]]:
    return [(finding.code, finding.path) for finding in wanted.findings(value)]


def read(given_schema: object) -> schema.Schema:
    wanted = schema.read(given_schema)
    assert wanted is not None
    return wanted


def test_no_schema_stays_none() -> None:
    assert schema.read(None) is None


def test_a_ready_schema_comes_back_as_it_is() -> None:
    wanted = read({"type": "object"})
    assert schema.read(wanted) is wanted


def test_every_failure_is_reported_with_its_place() -> None:
    wanted = read(
        {
            "type": "object",
            "properties": {
                "kind": {"enum": ["bug", "question"]},
                "lines": {"type": "array", "items": {"type": "integer", "minimum": 3}},
                "day": {"type": "string", "format": "date"},
                "code": {"type": "string", "pattern": "^[A-Z]+$", "maxLength": 3},
            },
            "required": ["title", "kind"],
            "additionalProperties": False,
        }
    )
    value = {"kind": "rant", "lines": [1, "x", 5, True], "day": "soon", "code": "abcd", "extra": 1}
    assert sorted(codes(wanted, value)) == sorted(
        [
            ("schema.required", ()),
            ("schema.enum", ("kind",)),
            ("schema.minimum", ("lines", 0)),
            ("schema.type", ("lines", 1)),
            ("schema.type", ("lines", 3)),
            ("schema.format", ("day",)),
            ("schema.pattern", ("code",)),
            ("schema.max_length", ("code",)),
            ("schema.additional", ()),
        ]
    )


def test_a_sentence_says_what_was_expected_and_what_stands_there() -> None:
    wanted = read({"type": "object", "properties": {"n": {"type": "integer"}}})
    (finding,) = wanted.findings({"n": "five"})
    assert finding.sentence == "`n` must be integer, and is string: 'five'."


def test_more_failures_than_fit_are_counted() -> None:
    found = read({"type": "array", "items": {"type": "string"}}).findings(list(range(250)))
    assert len(found) == schema.MAX_FINDINGS + 1
    assert (found[-1].code, found[-1].sentence) == ("schema.more", "150 more failures are not listed.")


def test_a_pydantic_model_gives_its_schema_and_its_own_validators_speak() -> None:
    wanted = read(Invoice)
    good = {"number": "A1", "day": "2024-05-06", "lines": [{"text": "x", "amount": 2}]}
    assert wanted.json["properties"]["lines"]["items"] == {"$ref": "#/$defs/Line"}
    assert wanted.findings(good) == ()
    assert wanted.typed(good) == (
        Invoice(number="A1", day=datetime.date(2024, 5, 6), lines=[Line(text="x", amount=2)]),
        (),
    )
    value, found = wanted.typed({**good, "number": "1", "day": "2024-99-06"})
    assert value["number"] == "1"
    assert [(finding.code, finding.path) for finding in found] == [
        ("schema.type_check", ("number",)),
        ("schema.type_check", ("day",)),
    ]


@pytest.mark.parametrize("kind", [list[Line], TypeAdapter(list[Line])])
def test_a_list_of_pydantic_models_is_a_schema_too(kind: object) -> None:
    wanted = read(kind)
    assert wanted.json["type"] == "array"
    assert wanted.convert([{"text": "x", "amount": 1}]) == [Line(text="x", amount=1.0)]


@pytest.mark.parametrize(
    ("kind", "value", "converted"),
    [
        (Ticket, {"title": "t", "urgent": True}, Ticket("t", True)),
        (Movie, {"title": "Alien"}, {"title": "Alien"}),
        (Literal["a", "b"], "a", "a"),
        (list[Ticket], [{"title": "t", "urgent": False, "kind": "question"}], [Ticket("t", False, "question")]),
        (Node, {"name": "r", "children": [{"name": "c"}]}, Node("r", [Node("c")])),
        (dict[str, int], {"a": 1}, {"a": 1}),
    ],
)
def test_plain_python_types_are_schemas_and_values_become_them(kind: object, value: Any, converted: Any) -> None:
    wanted = read(kind)
    assert wanted.findings(value) == ()
    assert wanted.convert(value) == converted


def test_the_root_of_a_types_schema_is_spelled_out_for_the_wire() -> None:
    assert read(Ticket).json["type"] == "object"
    node = read(Node).json
    assert node["type"] == "object"
    assert node["properties"]["children"]["items"] == {"$ref": "#/$defs/Node"}
    assert "Node" in node["$defs"]


def test_a_plain_schema_asserts_formats_and_a_type_leaves_them_to_itself() -> None:
    stamp = {"at": "2024-05-06T10:00:00"}
    assert codes(read({"type": "object", "properties": {"at": {"type": "string", "format": "date-time"}}}), stamp)

    class Event(BaseModel):
        at: datetime.datetime

    wanted = read(Event)
    assert wanted.findings(stamp) == ()
    assert wanted.convert(stamp) == Event(at=datetime.datetime(2024, 5, 6, 10))


def test_a_validator_that_breaks_is_a_finding_without_its_text() -> None:
    class Broken(BaseModel):
        a: int

        @field_validator("a")
        @classmethod
        def breaks(cls, _: int) -> int:
            raise KeyError("secret")

    value, (finding,) = read(Broken).typed({"a": 1})
    assert value == {"a": 1}
    assert finding.code == "schema.type_check"
    assert "KeyError" in finding.sentence
    assert "secret" not in finding.sentence


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"type": "strng"}, "type"),
        ({"type": "object", "properties": []}, "properties"),
        ({"pattern": "("}, "pattern"),
        ({"$ref": "#/$defs/missing"}, "missing"),
        ({"$schema": "http://example.com/mine"}, "example.com"),
        ({"const": object()}, "plain JSON"),
        ("a string", "cannot be used"),
        (3, "cannot be used"),
        (object, "cannot be used"),
    ],
)
def test_an_unusable_schema_is_refused_with_where_and_why(bad: object, said: str) -> None:
    with pytest.raises(RequestError, match=said):
        schema.read(bad)


@pytest.mark.parametrize("reference", ["http://127.0.0.1:{port}/schema.json", "file://{file}"])
def test_a_reference_outside_the_schema_is_never_fetched(reference: str, tmp_path: Any) -> None:
    outside = tmp_path / "schema.json"
    outside.write_text('{"type": "object"}')
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(0)
        where = reference.format(port=listening.getsockname()[1], file=outside)
        with pytest.raises(RequestError, match="outside itself"):
            schema.read({"$ref": where})
        with pytest.raises(BlockingIOError):
            listening.accept()


def test_a_hostile_pattern_does_not_hang() -> None:
    wanted = read({"type": "string", "pattern": "^(a+)+$"})
    assert codes(wanted, "a" * 50_000 + "!") == [("schema.pattern", ())]


def test_a_hostile_pattern_with_look_ahead_gives_up_as_no_match() -> None:
    wanted = read({"type": "string", "pattern": "^(?=(a+)+$)(a|aa)+$"})
    assert codes(wanted, "a" * 5_000 + "!") == [("schema.pattern", ())]
    assert codes(wanted, "aaaa") == []


def test_equal_schemas_are_compiled_once() -> None:
    document = {"type": "object", "title": "compiled once"}
    before = schema._compiled.cache_info().misses
    read(document).findings({})
    read(dict(document)).findings({})
    assert schema._compiled.cache_info().misses == before + 1


def test_text_that_is_not_unicode_is_a_finding() -> None:
    assert codes(read({"type": "string"}), "\ud800") == [("schema.unreadable", ())]


@given(JSON)
def test_findings_never_raise_and_agree_with_conversion(value: Any) -> None:
    wanted = read(Ticket)
    if not wanted.findings(value):
        assert isinstance(wanted.convert(value), Ticket)


def test_reading_schemas_does_not_import_pydantic() -> None:
    program = (
        "import sys; from cheapfirst.checks import schema; schema.read({'type': 'object'}).findings({}); "
        "schema.read(list[int]); sys.exit('pydantic' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
