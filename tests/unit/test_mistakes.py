"""The cheap model's mistakes: harmless ones are read back exactly, real ones are told apart by the checks."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from cheapfirst.checks import read_schema
from cheapfirst.checks.judge import judge
from cheapfirst.checks.parse import Parsed, parse
from cheapfirst.errors import SimulatorError
from cheapfirst.messages import Outcome
from cheapfirst.policy import load as load_policy
from cheapfirst.simulator import corpus, tokens
from cheapfirst.simulator.corpus import Item
from cheapfirst.simulator.decorations import DECORATIONS
from cheapfirst.simulator.mistakes import MISTAKES, Rates, draw
from cheapfirst.simulator.slips import FAULTS, Right

ITEMS = corpus.load()
STRUCTURED = [item for item in ITEMS if item.schema is not None]
ROUTES = load_policy().routes


def right(item: Item, room: int | None = 500) -> Right:
    text = item.gold if item.schema is None else json.dumps(item.gold, ensure_ascii=False)
    return Right(
        source=item.text,
        value=None if item.schema is None else item.gold,
        schema=item.schema,
        text=text,
        language=item.language,
        room=room,
    )


def accepted(item: Item, text: str) -> bool:
    route = ROUTES[item.task]
    outcome = Outcome(kind="answer", text=text, finish="stop")
    schema = read_schema(item.schema) if item.schema is not None else None
    return judge(outcome, shape=route.shape, schema=schema, checks=route.checks, source=item.text).verdict.accept


def test_every_mistake_has_its_row_and_every_row_its_mistake() -> None:
    assert set(DECORATIONS) == {name for name, (kind, _) in MISTAKES.items() if kind == "harmless"}
    assert set(FAULTS) == {name for name, (kind, _) in MISTAKES.items() if kind != "harmless"}


@pytest.mark.parametrize("name", DECORATIONS)
def test_a_harmless_mistake_changes_the_text_and_keeps_the_value(name: str) -> None:
    made = 0
    for number, item in enumerate(STRUCTURED):
        text = DECORATIONS[name](item.gold, item.schema, random.Random(number))
        if text is None:
            continue
        made += 1
        read = parse(text, item.schema)
        assert isinstance(read, Parsed), (item.id, text)
        assert read.value == item.gold, (item.id, text)
        assert [step.kind for step in read.trail] != ["strict"], text
    assert made >= 20


@pytest.mark.parametrize("name", ["missing_field", "wrong_enum", "empty", "refusal"])
def test_a_fault_in_a_structured_answer_is_rejected(name: str) -> None:
    made = [(item, FAULTS[name](right(item), random.Random(item.id))) for item in STRUCTURED]
    spoiled = [(item, slip) for item, slip in made if slip is not None]
    assert len(spoiled) > 60
    assert not [item.id for item, slip in spoiled if accepted(item, slip.text)]


def test_an_invented_value_is_valid_under_the_schema_and_not_in_the_text() -> None:
    made = [
        (item, FAULTS["invented_value"](right(item), random.Random(item.id)))
        for item in STRUCTURED
        if item.task == "extract"
    ]
    spoiled = [(item, json.loads(slip.text)) for item, slip in made if slip is not None]
    assert len(spoiled) == len(made)
    for item, value in spoiled:
        assert value != item.gold
        assert item.schema is not None
        assert jsonschema_rs.is_valid(item.schema, value)
    assert not [item.id for item, value in spoiled if accepted(item, json.dumps(value))]


@pytest.mark.parametrize("name", ["too_long", "loop", "empty", "refusal"])
def test_a_fault_in_a_summary_is_rejected(name: str) -> None:
    summaries = [item for item in ITEMS if item.task == "summarize" and item.language not in ("ja", "zh")]
    for item in summaries:
        slip = FAULTS[name](right(item), random.Random(item.id))
        assert slip is not None
        assert not accepted(item, slip.text), item.id


@pytest.mark.parametrize("name", ["long_winded", "reasoning_eats_room"])
@pytest.mark.parametrize("room", [16, 500, 4096])
def test_a_cut_off_takes_more_than_the_room(name: str, room: int) -> None:
    slip = FAULTS[name](right(STRUCTURED[0], room), random.Random(1))
    assert slip is not None
    assert tokens.count(slip.reasoning or slip.text) > room


def test_without_a_limit_the_model_stops_in_the_middle_by_itself() -> None:
    slip = FAULTS["long_winded"](right(STRUCTURED[0], None), random.Random(1))
    assert slip is not None
    assert slip.finish == "length"
    assert right(STRUCTURED[0]).text.startswith(slip.text)


def test_the_model_declines_in_the_language_of_the_text() -> None:
    german = next(item for item in STRUCTURED if item.language == "de")
    slip = FAULTS["refusal"](right(german), random.Random(1))
    assert slip is not None
    assert slip.refused
    assert slip.text.startswith("Es tut mir leid")


def test_mistakes_are_due_as_often_as_the_rates_say() -> None:
    rates = {"empty": 0.06, "refusal": 0.02}
    drawn = [names[0] for seed in range(4000) if (names := draw(rates, random.Random(seed)))]
    assert 0.065 < len(drawn) / 4000 < 0.095
    assert drawn.count("empty") > 2 * drawn.count("refusal")


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"faults": {"extract": {"empti": 0.1}}}, "did you mean"),
        ({"faults": {"extract": {"fenced": 0.1}}}, "unknown fault"),
        ({"faults": {"extract": {"empty": 0.8, "loop": 0.4}}}, "shares"),
        ({"again": 1.5}, "shares"),
        ({"harmless": {"prompt": -0.1}}, "shares"),
    ],
)
def test_wrong_rates_are_refused(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(SimulatorError, match=told):
        Rates(**wrong)


def test_every_mistake_is_documented_in_the_same_words() -> None:
    page = (Path(__file__).parents[2] / "docs/reference/corpus.md").read_text(encoding="utf-8")
    rows = [f"| `{name}` | {kind} | {sentence} |" for name, (kind, sentence) in MISTAKES.items()]
    assert "\n".join(rows) in page
