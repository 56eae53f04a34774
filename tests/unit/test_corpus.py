"""The shipped sample requests: complete, valid, grounded in their texts, found again in a message."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from typing import Any

import jsonschema_rs
import pytest
from scripts import build_corpus

from cheapfirst.policy import load as load_policy
from cheapfirst.simulator import corpus
from cheapfirst.simulator.corpus import Item

ITEMS = corpus.load()
EXTRACTED = [item for item in ITEMS if item.task == "extract"]


def test_there_are_a_few_hundred_requests_of_every_task_in_ten_languages() -> None:
    assert 300 <= len(ITEMS) <= 340
    assert {item.task for item in ITEMS} == set(load_policy().routes)
    assert {item.language for item in ITEMS} == {"en", "de", "fr", "es", "it", "pt", "nl", "tr", "ja", "zh"}
    assert Counter(item.language for item in ITEMS).most_common(1)[0][0] == "en"


def test_ids_and_texts_are_unique() -> None:
    assert len({item.id for item in ITEMS}) == len({item.text for item in ITEMS}) == len(ITEMS)


def test_the_shipped_files_are_small_and_are_what_the_documents_give() -> None:
    path = build_corpus.OUT / corpus.CORPUS
    assert path.stat().st_size <= 400_000
    rebuilt = build_corpus.rows()
    assert [row["id"] for row in rebuilt] == [item.id for item in ITEMS]
    assert [(row["input"], row["gold"]) for row in rebuilt] == [(item.input, item.gold) for item in ITEMS]


def test_no_slot_and_no_choice_is_left_unfilled() -> None:
    for item in ITEMS:
        assert not re.search(r"\{\w+\}|\[\[|\]\]", f"{item.input}{item.gold}"), item.id


@pytest.mark.parametrize("item", [item for item in ITEMS if item.schema is not None], ids=lambda item: item.id)
def test_a_right_value_is_valid_under_its_schema(item: Item) -> None:
    assert item.schema is not None
    assert jsonschema_rs.validator_for(item.schema, validate_formats=True).is_valid(item.gold)


@pytest.mark.parametrize("item", EXTRACTED, ids=lambda item: item.id)
def test_everything_extracted_stands_in_the_text(item: Item) -> None:
    assert item.schema is not None
    labels = {label for part in item.schema["properties"].values() for label in part.get("enum", ())}
    for leaf in _leaves(item.gold):
        if leaf is None or leaf in labels:
            continue
        if isinstance(leaf, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", leaf):
            assert {leaf[:4], str(int(leaf[8:]))} <= set(re.findall(r"\d+", item.text)), leaf
        elif isinstance(leaf, str):
            assert leaf in item.text
        else:
            digits = f"{leaf:.2f}".replace(".", "") if isinstance(leaf, float) else str(leaf)
            assert digits in {re.sub(r"\D", "", figure) for figure in re.findall(r"\d[\d.,\xa0 ]*", item.text)} | {
                re.sub(r"\D", "", figure) for figure in re.findall(r"\d[\d.,]*", item.text)
            }, leaf


def test_the_lines_of_an_invoice_add_up_to_its_total() -> None:
    invoices = [item.gold for item in EXTRACTED if "line_items" in item.gold]
    assert len(invoices) > 30
    for gold in invoices:
        assert round(sum(line["amount"] for line in gold["line_items"]), 2) == gold["total"]


def test_a_good_summary_is_shorter_than_its_text_and_within_the_policys_limit() -> None:
    for item in ITEMS:
        if item.task == "summarize":
            assert len(item.gold) < len(item.text) / 2
            assert len(item.gold.split()) <= 100


def test_made_up_prose_for_users_is_labelled_simulated() -> None:
    label = re.compile(r"simul|simülasyon|シミュレーション|模拟", re.I)
    for item in ITEMS:
        if item.task in ("chat", "draft", "reason", "report"):
            assert label.search(item.gold), item.id


def test_a_request_is_found_by_its_text_however_it_is_wrapped() -> None:
    for item in ITEMS:
        assert corpus.find(item.text) == item
        wrapped = f"Please handle this:\n\n  {item.text.upper() if item.language == 'en' else item.text}\n\nThanks!"
        assert corpus.find(wrapped) == item


def test_another_text_is_not_taken_for_a_sample_request() -> None:
    assert corpus.find("What is the capital of France?") is None
    assert corpus.find("") is None


def test_loading_gives_a_list_of_ones_own() -> None:
    first = corpus.load()
    first.clear()
    assert len(corpus.load()) == len(ITEMS)


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        value = list(value.values())
    if not isinstance(value, list):
        yield unicodedata.normalize("NFC", value) if isinstance(value, str) else value
        return
    for entry in value:
        yield from _leaves(entry)
