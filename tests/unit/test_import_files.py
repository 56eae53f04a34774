"""Rows of exported logs: exact, by their line, whatever stands between them."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cheapfirst import catalog
from cheapfirst.ledger.importing import cells, files, langfuse, litellm, openai
from cheapfirst.ledger.importing.entry import Entry, Malformed, Skip
from cheapfirst.ledger.importing.naming import spelled

SCALARS = st.none() | st.booleans() | st.integers(-(2**60), 2**60) | st.text(max_size=8)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
)
OBJECTS = st.dictionaries(st.text(max_size=6), VALUES, max_size=4)
AMOUNTS = st.decimals(min_value=0, max_value=100_000, places=12)


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("logs") / "log.json"


def read(log: Path, text: str | bytes, suffix: str = ".json") -> list[tuple[int, Any]]:
    path = log.with_suffix(suffix)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return list(files.rows(path))


@given(objects=st.lists(OBJECTS, max_size=6), indent=st.sampled_from([None, 0, 2]), chunk=st.integers(1, 40))
def test_a_json_list_gives_its_objects_however_it_is_cut_into_pieces(
    log: Path, objects: list[dict[str, Any]], indent: int | None, chunk: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(files, "CHUNK", chunk)
        found = read(log, json.dumps(objects, indent=indent))
    assert [row for _, row in found] == objects
    lines = [number for number, _ in found]
    assert lines == sorted(lines)


@given(objects=st.lists(OBJECTS, min_size=1, max_size=6))
def test_lines_give_their_objects_with_their_numbers(log: Path, objects: list[dict[str, Any]]) -> None:
    text = "\n\n".join(json.dumps(one) for one in objects)
    assert read(log, text, ".jsonl") == [(1 + 2 * number, one) for number, one in enumerate(objects)]


@given(data=st.binary(max_size=200), suffix=st.sampled_from([".json", ".jsonl", ".csv", ".log"]))
def test_no_bytes_stop_the_reading(log: Path, data: bytes, suffix: str) -> None:
    for number, row in read(log, data, suffix):
        assert number >= 1
        assert isinstance(row, dict | str)


@given(good=OBJECTS, bad=st.sampled_from(["oops", "{'a': 1}", "{1}", "[1, 2]", "3", '"text"', "{,}"]))
def test_an_element_that_is_no_object_costs_only_itself(log: Path, good: dict[str, Any], bad: str) -> None:
    one = json.dumps(good)
    found = read(log, f"[\n{one},\n{bad},\n{one}\n]")
    assert [(number, row) for number, row in found if isinstance(row, dict)] == [(2, good), (4, good)]
    assert [number for number, row in found if isinstance(row, str)] == [3]


@pytest.mark.parametrize("text", ['[{"a": 1}, {"b": ', '[{"a": 1}, {"b": "x', '[{"a": 1}', '[{"a": 1}] {"b": 2}'])
def test_a_list_that_ends_too_soon_or_too_late_says_so(log: Path, text: str) -> None:
    found = read(log, text)
    assert found[0] == (1, {"a": 1})
    assert "list ends" in found[-1][1]


@pytest.mark.parametrize(
    ("text", "suffix", "count"),
    [
        ('{"data": [{"id": 1}, {"id": 2}], "meta": {}}', ".json", 2),
        ('{\n "data": [\n {"id": 1}\n ]\n}', ".json", 1),
        ('{"id": 1}\n{"id": 2}\n', ".json", 2),
        ('\ufeff{"id": 1}\n{"id": 2}\n', ".jsonl", 2),
        ('oops\n{"id": 2}\n', ".jsonl", 2),
        ('{"id": oops}\n{"id": 2}\n', ".json", 2),
        ('{"id": 1}', ".log", 1),
        ("\ufeffid,name\n1,a\n2,b\n", ".csv", 2),
        ("id,name\n1,a\n2,b\n", ".txt", 2),
        ("", ".json", 0),
        ("", ".csv", 0),
    ],
)
def test_the_form_is_told_by_the_name_or_by_the_beginning(log: Path, text: str, suffix: str, count: int) -> None:
    assert len(read(log, text, suffix)) == count


def test_a_cell_over_several_lines_keeps_the_numbers_right(log: Path) -> None:
    found = read(log, 'id,text\n1,"a\nb\nc"\n2,d\n', ".csv")
    assert found == [(2, {"id": "1", "text": "a\nb\nc"}), (5, {"id": "2", "text": "d"})]


@given(amount=AMOUNTS)
def test_an_amount_keeps_every_digit_in_json_and_in_csv(log: Path, amount: Decimal) -> None:
    for text, suffix in ((f'{{"spend": {amount}}}', ".jsonl"), (f"spend,x\n{amount},\n", ".csv")):
        row = read(log, text, suffix)[0][1]
        assert cells.amount(row, "spend") == amount


def understood(reader: Any, row: dict[str, Any]) -> Entry | Skip | str:
    """What the row is; text: why it is malformed."""
    try:
        found: Entry | Skip = reader(row)
    except Malformed as error:
        return str(error)
    return found


@given(row=OBJECTS)
def test_a_row_of_anything_is_a_call_a_skip_or_malformed(row: dict[str, Any]) -> None:
    for reader in (litellm.entry, langfuse.entry, openai.entry):
        assert understood(reader, row)


NAMES = {
    litellm: ["request_id", "call_type", "model", "startTime", "endTime", "metadata", "spend", "prompt_tokens"],
    langfuse: [
        "id",
        "type",
        "model",
        "startTime",
        "usageDetails",
        "costDetails",
        "metadata",
        "modelParameters",
        "tags",
    ],
    openai: ["id", "created", "model", "usage", "request", "response", "custom_id", "choices", "error"],
}


@given(data=st.data(), module=st.sampled_from(list(NAMES)))
def test_cells_of_the_wrong_kind_are_never_more_than_malformed(data: st.DataObject, module: Any) -> None:
    row = data.draw(st.dictionaries(st.sampled_from(NAMES[module]), VALUES))
    assert understood(module.entry, row)


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("2026-09-14T08:00:00.137", 1789372800.137),
        ("2026-09-14 08:00:00.137", 1789372800.137),
        ("2026-09-14T10:00:00.137+02:00", 1789372800.137),
        ("2026-09-14T08:00:00.137Z", 1789372800.137),
        ("1789372800.137", 1789372800.137),
        (1789372800137, 1789372800.137),
    ],
)
def test_times_are_read_in_every_form_and_are_utc_without_a_zone(written: Any, seconds: float) -> None:
    assert cells.moment({"at": written}, "at") == pytest.approx(seconds, abs=1e-6)


@pytest.mark.parametrize(
    ("name", "provider", "id"),
    [
        ("gpt-4o-mini", "openai", "openai/gpt-4o-mini"),
        ("gpt-4o-mini", None, "openai/gpt-4o-mini"),
        ("gpt-4o-mini-2024-07-18", None, "openai/gpt-4o-mini"),
        ("azure/gpt-4o-mini", "azure", "openai/gpt-4o-mini"),
        ("openrouter/deepseek/deepseek-v4-flash", "openrouter", "deepseek/deepseek-v4-flash"),
        ("deepseek/deepseek-v4-flash", "openrouter", "deepseek/deepseek-v4-flash"),
        ("claude-haiku-4-5-20251001", "anthropic", "anthropic/claude-haiku-4.5"),
        ("us.anthropic.claude-haiku-4-5-20251001-v1:0", "bedrock", "anthropic/claude-haiku-4.5"),
        ("bedrock/anthropic.claude-haiku-4-5-20251001-v1:0", "bedrock", "anthropic/claude-haiku-4.5"),
        ("gemini/gemini-2.5-flash", "gemini", "google/gemini-2.5-flash"),
        ("acme-internal-7b", "openai", "acme-internal-7b"),
    ],
)
def test_a_model_is_found_under_the_name_that_its_provider_gives_it(name: str, provider: str | None, id: str) -> None:
    assert spelled(catalog.load(), name, provider) == id
