"""`catalog`: prices over time, capabilities and spellings of models."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cheapfirst import catalog
from cheapfirst.catalog import Catalog, Model, ModelOverride, Price, from_openrouter
from cheapfirst.errors import CatalogError
from cheapfirst.messages import Usage

OPUS, FLASH = "anthropic/claude-opus-4.8", "deepseek/deepseek-v4-flash"


@pytest.fixture(autouse=True)
def _no_stored_listing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


@pytest.fixture
def shipped() -> Catalog:
    return catalog.load()


def row(id: str = "vendor/model", **more: Any) -> dict[str, Any]:
    return {
        "id": id,
        "canonical_slug": f"{id}-20260101",
        "context_length": 131072,
        "architecture": {"input_modalities": ["text", "image"]},
        "pricing": {
            "prompt": "0.00000025",
            "completion": "0.000002",
            "input_cache_read": "0.000000025",
            "request": "0",
        },
        "top_provider": {"context_length": 131072, "max_completion_tokens": 16384},
        "supported_parameters": ["tools", "structured_outputs", "response_format"],
        **more,
    }


def test_the_models_of_the_built_in_policy_are_known_with_prices_and_capabilities(shipped: Catalog) -> None:
    for id in (OPUS, FLASH):
        model = shipped.model(id)
        assert model.known
        assert (model.tools, model.structured) == (True, "json_schema")
        assert model.context is not None
        assert shipped.cost(id, Usage(prompt_tokens=1000, completion_tokens=100)) is not None


def test_an_unknown_model_is_unknown_and_costs_an_unknown_amount(shipped: Catalog) -> None:
    assert shipped.model("nobody/nothing") == Model(id="nobody/nothing")
    assert shipped.cost("nobody/nothing", Usage(prompt_tokens=1)) is None
    assert shipped.worst_case("nobody/nothing", 1, 1) is None


def test_the_price_is_the_one_at_the_time_of_the_request(shipped: Catalog) -> None:
    million = Usage(prompt_tokens=1_000_000)
    assert shipped.cost(FLASH, million, datetime(2026, 10, 18, 23, 59, tzinfo=UTC)) == Decimal("0.0983")
    assert shipped.cost(FLASH, million, datetime(2026, 10, 19, tzinfo=UTC)) == Decimal("0.091")
    assert shipped.cost(FLASH, million, datetime(2026, 10, 19)) == Decimal("0.091")


def test_a_price_by_prompt_size_counts_for_the_whole_prompt_above_its_threshold() -> None:
    small, large = Price(input=Decimal(1), output=Decimal(1)), Price(input=Decimal(2), output=Decimal(3), above=200_000)
    model = Model(id="a/b", prices=(small, large))
    assert model.price(None, 200_000) == small
    assert model.price(None, 200_001) == large


def test_a_price_by_hours_counts_only_within_them_and_may_pass_midnight() -> None:
    day, night = Price(input=Decimal(2)), Price(input=Decimal(1), hours=(23 * 60, 6 * 60))
    model = Model(id="a/b", prices=(day, night))
    assert model.price(datetime(2026, 1, 1, 23, 0, tzinfo=UTC)) == night
    assert model.price(datetime(2026, 1, 1, 5, 59, tzinfo=UTC)) == night
    assert model.price(datetime(2026, 1, 1, 6, 0, tzinfo=UTC)) == day
    assert model.price(None) == day


@pytest.mark.parametrize(
    ("served", "asked", "expected"),
    [
        ("anthropic/claude-4.8-opus-20260528", OPUS, OPUS),
        ("anthropic/claude-4.8-opus-20260528", None, OPUS),
        ("deepseek/deepseek-v4-flash-20260423", FLASH, FLASH),
        ("anthropic/claude-4.8-opus-20260528", f"{OPUS}:nitro", f"{OPUS}:nitro"),
        ("new/sonnet-9-20270101", "new/9-sonnet", "new/9-sonnet"),
        ("gpt-4o-mini-2024-07-18", "gpt-4o-mini", "gpt-4o-mini"),
        ("deepseek/deepseek-v4-flash-20260423", OPUS, FLASH),
        ("someone/else", OPUS, "someone/else"),
        ("/models/tiny.gguf", "local/tiny", "/models/tiny.gguf"),
    ],
)
def test_served_names_are_brought_to_the_catalogs_spelling(
    shipped: Catalog, served: str, asked: str | None, expected: str
) -> None:
    assert shipped.normalise(served, asked) == expected


@given(st.text(max_size=40), st.none() | st.text(max_size=40))
def test_any_name_can_be_normalised_and_looked_up(served: str, asked: str | None) -> None:
    known = catalog.load()
    assert known.normalise(known.normalise(served, asked), asked) == known.normalise(served, asked)
    assert known.model(served).id == served


def test_every_known_id_is_its_own_spelling(shipped: Catalog) -> None:
    for id in shipped.ids():
        assert shipped.normalise(id) == id
        assert shipped.model(id).known


def test_a_suffix_keeps_what_the_model_can_do_and_only_a_price_that_cannot_be_exceeded(shipped: Catalog) -> None:
    base = shipped.model(FLASH)
    assert shipped.model(f"{FLASH}:floor").prices == base.prices
    assert shipped.model(f"{FLASH}:nitro").context == base.context
    assert shipped.worst_case(f"{FLASH}:nitro", 1, 1) is None
    assert shipped.worst_case(f"{FLASH}:online", 1, 1) is None
    assert shipped.worst_case(f"{FLASH}:free", 1, 1) == 0


def test_the_users_word_wins_over_the_catalog_and_makes_a_model_known() -> None:
    overrides = {
        OPUS: ModelOverride(input=Decimal(4), vision=False),
        "me/mine": ModelOverride(input=Decimal(1), output=Decimal(2), context=8192),
    }
    known = catalog.load(overrides)
    assert (known.model(OPUS).vision, known.model(OPUS).tools) == (False, True)
    assert known.cost(OPUS, Usage(prompt_tokens=1_000_000, completion_tokens=1_000_000)) == 4 + 25
    assert known.model("me/mine").known
    assert known.cost("me/mine", Usage(prompt_tokens=1_000_000, completion_tokens=1_000_000)) == 3
    assert known.overriding({}).cost("me/mine", Usage(prompt_tokens=1)) is None


def test_a_listing_is_read_with_prices_per_million_and_what_the_model_can_do() -> None:
    (model,) = from_openrouter([row()])
    assert model.price() == Price(input=Decimal("0.25"), output=Decimal(2), cache_read=Decimal("0.025"))
    assert (model.context, model.max_output) == (131072, 16384)
    assert (model.tools, model.vision, model.structured) == (True, True, "json_schema")


def test_a_listing_without_facts_leaves_them_unknown() -> None:
    (model,) = from_openrouter([{"id": "a/b"}, {"name": "no id"}])
    assert model == Model(id="a/b", known=True)
    (auto,) = from_openrouter([row(pricing={"prompt": "-1", "completion": "-1"})])
    assert auto.price() is None


def test_overrides_of_a_listing_count_by_size_and_hour() -> None:
    pricing = {
        "prompt": "0.000001",
        "completion": "0.000002",
        "overrides": [
            {"min_prompt_tokens": 200000, "prompt": "0.000003"},
            {"utc_start": "0100", "utc_end": 400, "prompt": "0"},
        ],
    }
    (model,) = from_openrouter([row(pricing=pricing)])
    large = model.price(datetime(2026, 1, 1, 12, tzinfo=UTC), 200_001)
    assert large == Price(input=Decimal(3), output=Decimal(2), above=200_000)
    night = model.price(datetime(2026, 1, 1, 2, tzinfo=UTC), 10)
    assert night is not None
    assert night.input == 0


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted({*row(), "prompt"})), inner, max_size=4)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(sorted(row())), json_values))
def test_a_listing_in_any_shape_is_read_without_an_error(wire: dict[str, Any]) -> None:
    for model in from_openrouter([{**row(), **wire}]):
        assert all(price.input is None or price.input >= 0 for price in model.prices)


def test_a_stored_listing_adds_models_and_prices_from_when_it_was_made(tmp_path: Path) -> None:
    made = datetime(2026, 11, 20, tzinfo=UTC).timestamp()
    flash = row(FLASH, pricing={"prompt": "0.000009", "completion": "0.00001"}, supported_parameters=["tools"])
    stored = catalog.save_synced([row(), flash], base_url="https://example.com", at=made)
    assert stored == tmp_path / "cheapfirst" / "models.json"
    known = catalog.load()
    assert known.model("vendor/model").known
    assert known.normalise("vendor/model-20260101") == "vendor/model"
    million = Usage(prompt_tokens=1_000_000)
    assert known.cost(FLASH, million, made) == 9
    assert known.cost(FLASH, million, made - 1) == Decimal("0.105")
    assert known.model(FLASH).structured == "prompt"


def test_a_broken_stored_listing_says_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "cheapfirst").mkdir()
    (tmp_path / "cheapfirst" / "models.json").write_text("{")
    with pytest.raises(CatalogError, match="catalog sync"):
        catalog.load()


def test_rows_given_at_load_win_over_shipped_ones() -> None:
    known = catalog.load(extra=[row(FLASH)])
    assert known.cost(FLASH, Usage(prompt_tokens=1_000_000), 0.0) == Decimal("0.25")


@given(
    st.sampled_from([OPUS, FLASH, "openai/gpt-5.5", "deepseek-v4-flash", "gpt-4o-mini"]),
    st.integers(0, 900_000),
    st.integers(0, 100_000),
    st.floats(1.7e9, 1.8e9),
)
def test_no_call_costs_more_than_its_worst_case(id: str, prompt: int, completion: int, at: float) -> None:
    known = catalog.load()
    worst = known.worst_case(id, prompt, completion, at)
    amount = known.cost(id, Usage(prompt_tokens=prompt, completion_tokens=completion), at)
    assert worst is not None
    assert amount is not None
    assert worst >= amount


def test_the_shipped_file_is_small_names_its_sources_and_reads_whole(shipped: Catalog) -> None:
    text = resources.files("cheapfirst.catalog").joinpath("prices.json").read_bytes()
    assert len(text) < 300_000
    assert datetime.fromisoformat(shipped.date)
    assert all(source.version and source.licence for source in shipped.sources)
    assert {source.name for source in shipped.sources} >= {"genai-prices"}
    for id in json.loads(text)["models"]:
        for price in shipped.model(id).prices:
            assert price.input is None or price.input >= 0
