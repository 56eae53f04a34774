"""`policy.diff` and `policy.show`: what changes for whom, and the table for people."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from cheapfirst import catalog, policy
from cheapfirst.policy import Policy

BASE = """
[tiers]
cheap = "deepseek/deepseek-v4-flash"
premium = "anthropic/claude-opus-4.8"
[routes.extract]
tier = "cheap"
shape = "json"
checks = ["grounded", "refusal"]
prompt = "Extract."
"""


@pytest.fixture(autouse=True)
def _no_stored_listing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))


def sentences(before: str, after: str) -> list[str]:
    found = policy.diff(policy.loads(before), policy.loads(after), catalog.load(), at=1_795_000_000.0)
    return [change.sentence for change in found]


def test_a_policy_does_not_differ_from_itself_reordered() -> None:
    reordered = BASE.replace('["grounded", "refusal"]', '["refusal", "grounded"]  # a comment')
    assert sentences(BASE, reordered) == []


def test_a_change_of_tier_says_the_models_and_the_prices() -> None:
    (sentence,) = sentences(BASE, BASE.replace('tier = "cheap"', 'tier = "premium"'))
    assert sentence == (
        "extract: tier cheap (deepseek/deepseek-v4-flash, $0.105 in, $0.21 out per million tokens) -> "
        "premium (anthropic/claude-opus-4.8, $5.00 in, $25.00 out per million tokens)"
    )


def test_checks_added_and_removed_are_named_with_their_options() -> None:
    after = BASE.replace('"refusal"', "{ length = { max_words = 9 } }")
    assert sentences(BASE, after) == [
        "extract: no longer checked by refusal",
        "extract: now checked by length(max_words = 9)",
    ]


def test_tasks_limits_models_and_upstream_are_compared() -> None:
    after = (
        'default_task = "triage"\n'
        + BASE
        + """
[routes.triage]
shape = "json"
[limits]
max_cost = 0.10
[limits.timeouts]
total = 30
[models."openai/gpt-5-mini"]
input = 0.2
[upstream]
base_url = "http://127.0.0.1:9/v1"
"""
    )
    found = sentences(BASE, after)
    assert any(sentence.startswith("triage: a new task on tier cheap") for sentence in found)
    assert "limits: max_cost absent -> 0.1" in found
    assert "limits: timeouts.total 90.0 -> 30.0" in found
    assert "models: openai/gpt-5-mini absent -> input = 0.2" in found
    assert "default_task chat -> triage" in found
    assert any("base_url" in sentence for sentence in found)
    assert any(sentence.startswith("triage: the task is gone") for sentence in sentences(after, BASE))


def test_a_change_of_a_tiers_models_names_the_tasks_it_touches() -> None:
    after = BASE.replace(
        'cheap = "deepseek/deepseek-v4-flash"', 'cheap = ["deepseek/deepseek-v4-flash", "openai/gpt-4o-mini"]'
    )
    (sentence,) = sentences(BASE, after)
    assert "openai/gpt-4o-mini ($0.15 in, $0.60 out)" in sentence
    assert "extract" in sentence.partition("(tasks:")[2]


base = policy.loads(BASE)
routes = st.fixed_dictionaries(
    {},
    optional={
        "max_tokens": st.sampled_from([4096, 10]),
        "escalate": st.booleans(),
        "reask": st.booleans(),
        "prompt": st.sampled_from(["Extract.", "Other.", None]),
        "align": st.sampled_from([None, (), ("key",), ("key", "list"), ("list", "key")]),
        "checks": st.sampled_from([base.routes["extract"].checks, base.routes["extract"].checks * 2, ()]),
        "tier": st.sampled_from(["cheap", "premium"]),
        "prompts": st.sampled_from([{}, {"cheap": "a"}, {"premium": "a"}]),
    },
)
policies = st.builds(
    lambda changed, limits, tiers, task: structs.replace(
        base,
        routes={**base.routes, "extract": structs.replace(base.routes["extract"], **changed)},
        limits=structs.replace(base.limits, **limits),
        tiers=tiers,
        default_task=task,
    ),
    routes,
    st.fixed_dictionaries(
        {}, optional={"max_cost": st.sampled_from([Decimal("0.1"), Decimal("0.10")]), "retries": st.integers(2, 3)}
    ),
    st.sampled_from([base.tiers, base.tiers[::-1], (base.tiers[0], structs.replace(base.tiers[1], models=("a/b",)))]),
    st.sampled_from(["chat", "extract"]),
)


@given(policies, policies)
def test_there_is_a_difference_exactly_when_the_hashes_differ(one: Policy, two: Policy) -> None:
    one, two = (policy.load(structs.replace(each, hash="")) for each in (one, two))
    assert (policy.diff(one, two, catalog.load()) == []) == (one.hash == two.hash)


def test_the_table_shows_each_task_with_its_first_model_price_and_escalation() -> None:
    shown = policy.show(base, catalog.load(), at=1_795_000_000.0)
    row = next(row for row in shown.routes if row.task == "extract")
    assert (row.model, row.input, row.output) == ("deepseek/deepseek-v4-flash", Decimal("0.105"), Decimal("0.21"))
    assert (row.checks, row.escalates_to) == (("grounded", "refusal"), ("premium",))
    assert next(row for row in shown.routes if row.task == "draft").escalates_to == ()
    assert [tier.tier for tier in shown.tiers] == ["cheap", "premium"]


def test_the_table_shows_an_unknown_price_as_unknown() -> None:
    own = policy.loads(
        '[tiers]\nonly = "llama"\n[upstream]\nbase_url = "http://127.0.0.1:1/v1"\n[routes.x]\nshape = "json"'
    )
    (row,) = policy.show(own, catalog.load()).routes
    assert (row.input, row.output) == (None, None)
