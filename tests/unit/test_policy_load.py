"""`policy.load`: where the table is found, what it means, and every way it can be wrong."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Collection
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from cheapfirst import policy
from cheapfirst.catalog import ModelOverride
from cheapfirst.errors import PolicyError
from cheapfirst.policy import lines
from cheapfirst.policy.checks import CHECKS, Custom, Enum, Grounded, Language, Length, Python, Regex, Required
from cheapfirst.policy.table import LedgerOptions, Limits, LongPrompt, Route, Timeouts, Upstream

TIERS = '[tiers]\ncheap = "deepseek/deepseek-v4-flash"\npremium = "anthropic/claude-opus-4.8"\n'
ONE = TIERS.replace("deepseek/deepseek-v4-flash", "openai/gpt-4o-mini")


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.delenv("CHEAPFIRST_POLICY", raising=False)


def problems(text: str, custom: Collection[str] = ()) -> tuple[str, ...]:
    with pytest.raises(PolicyError) as caught:
        policy.loads(text, source="my.toml", custom=custom)
    assert str(caught.value).startswith("my.toml: ")
    return caught.value.problems


def test_the_built_in_policy_sends_verifiable_tasks_to_cheap_and_writing_to_premium() -> None:
    built_in = policy.load()
    assert built_in.source == "built-in"
    assert {task: route.tier for task, route in built_in.routes.items()} == {
        "classify": "cheap",
        "extract": "cheap",
        "summarize": "cheap",
        "chat": "cheap",
        "draft": "premium",
        "reason": "premium",
        "report": "premium",
    }
    assert built_in.premium.models == ("anthropic/claude-opus-4.8",)
    assert (built_in.routes["extract"].temperature, built_in.routes["draft"].temperature) == (0, None)
    assert (built_in.routes["chat"].stream, built_in.routes["extract"].stream) == ("pass", "hold")
    assert built_in.routes["extract"].checks == (Grounded(),)
    assert len(built_in.hash) == 12


def test_the_nearest_table_is_found_in_the_documented_order(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    given, named, here = (tmp_path / name for name in ("given.toml", "named.toml", "cheapfirst.toml"))
    for file in (given, named, here):
        file.write_text(TIERS)
    assert policy.load().source == str(here)
    monkeypatch.setenv("CHEAPFIRST_POLICY", str(named))
    assert policy.load().source == str(named)
    assert policy.load(given).source == policy.load(str(given)).source == str(given)
    ready = policy.load(given)
    assert policy.load(ready) is ready


def test_a_table_beside_the_main_program_is_found_from_any_directory(tmp_path: Path) -> None:
    program = tmp_path / "app" / "main.py"
    program.parent.mkdir()
    program.write_text("from cheapfirst import policy\nprint(policy.load().source)")
    (program.parent / "cheapfirst.toml").write_text(TIERS)
    where = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    ran = subprocess.run([sys.executable, program], cwd=tmp_path, env=where, capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == str(program.parent.resolve() / "cheapfirst.toml")


def test_a_named_file_that_is_missing_is_an_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(PolicyError, match="no such file"):
        policy.load(tmp_path / "nowhere.toml")
    monkeypatch.setenv("CHEAPFIRST_POLICY", str(tmp_path / "nowhere.toml"))
    with pytest.raises(PolicyError, match="CHEAPFIRST_POLICY"):
        policy.load()


def test_a_users_table_keeps_the_built_in_routes_whose_tiers_it_has() -> None:
    assert set(policy.loads(TIERS).routes) == set(policy.load().routes)
    cheap_only = policy.loads('[tiers]\ncheap = "openai/gpt-4o-mini"\n')
    assert set(cheap_only.routes) == {"classify", "extract", "summarize", "chat"}
    own = policy.loads(TIERS + '[routes]\nextract = { shape = "text" }')
    assert own.routes["extract"].checks == ()
    assert own.routes["classify"] == policy.load().routes["classify"]


@pytest.mark.parametrize(
    ("row", "tier", "word"),
    [
        ('shape = "json"', "cheap", "json"),
        ('shape = "text"', "cheap", "neither"),
        ('shape = "json", user_facing = true', "premium", "user-facing"),
        ('shape = "json", difficulty = "hard"', "premium", "hard"),
        ('shape = "text", difficulty = "hard", tier = "cheap"', "cheap", "table"),
    ],
)
def test_a_route_without_a_tier_gets_one_from_what_is_known_about_the_task(row: str, tier: str, word: str) -> None:
    route = policy.loads(TIERS + f"[routes]\nx = {{ {row} }}").routes["x"]
    assert route.tier == tier
    assert word in route.tier_reason


def test_checks_are_written_by_name_by_table_or_by_shorthand() -> None:
    text = TIERS + (
        '[routes.x]\nchecks = ["grounded", { length = { max_words = 3 } }, { regex = "^a" }, { enum = ["a", 1, 1.5] },'
        ' { required = ["a.b"] }, { language = "en" }, { python = "json:dumps" }, "mine"]'
    )
    assert policy.loads(text, custom=["mine"]).routes["x"].checks == (
        Grounded(),
        Length(max_words=3),
        Regex(pattern="^a"),
        Enum(values=["a", 1, 1.5]),
        Required(fields=["a.b"]),
        Language(expect="en"),
        Python(call="json:dumps"),
        Custom(name="mine"),
    )


def test_every_key_reaches_the_policy() -> None:
    loaded = policy.loads(
        'default_task = "x"\n'
        + TIERS
        + """
[routes.x]
tier = "cheap"
shape = "json"
max_tokens = 100
temperature = 0.5
stream = "pass"
escalate = false
reask = true
on_reject = "return"
align = ["key"]
long_prompt = { tokens = 1000, tier = "premium" }
prompt = "p"
prompts = { premium = "q", "deepseek/deepseek-v4-flash" = "r" }
params = { reasoning = { effort = "low" }, top_p = 0.9 }
[limits]
max_cost = 0.25
deadline = 10
timeouts = { connect = 1 }
[upstream]
key_env = "MY_KEY"
[ledger]
path = "rows.db"
[models."openai/gpt-4o-mini"]
input = 0.15
structured = "json_schema"
"""
    )
    route = loaded.routes["x"]
    assert (route.max_tokens, route.temperature, route.stream, route.on_reject) == (100, 0.5, "pass", "return")
    assert (route.escalate, route.reask, route.align) == (False, True, ("key",))
    assert (route.prompt, route.prompts["premium"], route.params["top_p"]) == ("p", "q", 0.9)
    assert (loaded.limits.max_cost, loaded.limits.deadline, loaded.limits.timeouts.connect) == (
        Decimal("0.25"),
        10.0,
        1.0,
    )
    assert (loaded.upstream.key_env, loaded.ledger.path, loaded.default_task) == ("MY_KEY", "rows.db", "x")
    assert loaded.models["openai/gpt-4o-mini"].input == Decimal("0.15")


@pytest.mark.parametrize(
    ("line", "says"),
    [
        ('[routes]\nx = { tier = "chep" }', ["line 5", "routes.x.tier", '"chep"', "cheap, premium", '"cheap"?']),
        ('[routes]\nx = { tyer = "cheap" }', ["line 5", 'unknown key "tyer"', '"tier"?']),
        ('[routes]\nx = { shape = "jsn" }', ["routes.x.shape", "json, text, stream", '"json"?']),
        ('[routes]\nx = { checks = ["groundd"] }', ["routes.x.checks[0]", '"grounded"?', "Router(checks="]),
        ("[routes]\nx = { checks = [{ length = { max_word = 1 } }] }", ["max_word", '"max_words"?']),
        ("[routes]\nx = { checks = [{ length = {} }] }", ["needs a bound"]),
        ("[routes]\nx = { checks = [{ length = { min_words = 5, max_words = 1 } }] }", ["more than"]),
        ('[routes]\nx = { checks = [{ regex = "(" }] }', ["not a regular expression"]),
        ("[routes]\nx = { checks = [{ enum = [] }] }", ["must not be empty"]),
        ('[routes]\nx = { checks = [{ language = "english" }] }', ["ISO 639-1"]),
        ('[routes]\nx = { checks = [{ python = "no.such:thing" }] }', ["cannot be imported"]),
        ('[routes]\nx = { checks = [{ python = "json" }] }', ["package.module:function"]),
        ('[routes]\nx = { checks = [{ python = "json:__name__" }] }', ["not a function"]),
        ("[routes]\nx = { max_tokens = 0 }", ["routes.x.max_tokens", "between 1 and 1,000,000,000 tokens"]),
        ('[routes]\nx = { max_tokens = "4k" }', ["whole number", "a text"]),
        ('[routes]\nx = { stream = "off" }', ["pass, hold"]),
        ('[routes]\nx = { params = { model = "a/b" } }', ["routes.x.params.model", "the tier decides it"]),
        ("[routes]\nx = { params = { max_tokens = 5 } }", ["write max_tokens on the route"]),
        ('[routes]\nx = { prompts = { chep = "a" } }', ['unknown tier or model "chep"']),
        ('[routes]\nx = { align = ["keys"] }', ['"key"?']),
        ('[routes]\nx = { long_prompt = { tokens = 5, tier = "cheap" } }', ["not above"]),
        ("[routes]\nx = { long_prompt = { tokens = 5 } }", ["needs tier"]),
        ('[routes]\nauto = { shape = "text" }', ["taken"]),
        ("[limits]\ndeadline = 0", ["line 5", "limits.deadline", "above 0 seconds"]),
        ("[limits]\nmax_attempts = 0", ["between 1 and 100"]),
        ("[limits]\nmax_cost = -1", ["between 0 and 1,000,000 USD"]),
        ("[limits]\ndeadline = inf", ["limits.deadline"]),
        ("[limits.timeouts]\nconect = 1", ['"connect"?']),
        ('[upstream]\nbase_url = "openrouter.ai"', ["address like"]),
        ('[ledger]\ndurability = "fsnc"', ['"fsync"?']),
        ('[models."a/b"]\ninput = -1', ["USD per million"]),
        ("[model]\n", ['unknown section "model"', '"models"?']),
    ],
)
def test_each_problem_says_where_what_is_allowed_and_what_is_near(line: str, says: list[str]) -> None:
    (problem,) = problems(TIERS + line)
    for words in says:
        assert words in problem


def test_all_problems_are_reported_at_once_in_the_order_of_the_file() -> None:
    found = problems(TIERS + '[limits]\ndeadline = 0\n[routes.x]\ntier = "a"\nshape = "b"\n')
    assert [problem.partition(":")[0] for problem in found] == ["line 5", "line 7", "line 8"]


def test_an_unknown_model_names_the_nearest_one_and_how_to_declare_it() -> None:
    (problem,) = problems('[tiers]\ncheap = "deepseek/deepseek-v4-flsh"\n')
    assert '"deepseek/deepseek-v4-flash"?' in problem
    assert '[models."deepseek/deepseek-v4-flsh"]' in problem
    declared = policy.loads('[tiers]\ncheap = "a/b"\n[models."a/b"]\ninput = 1\noutput = 2\n')
    assert declared.tiers[0].models == ("a/b",)
    elsewhere = policy.loads('[tiers]\ncheap = "anything"\n[upstream]\nbase_url = "http://localhost:8080/v1"\n')
    assert elsewhere.tiers[0].models == ("anything",)


def test_a_syntax_error_has_its_line() -> None:
    (problem,) = problems("[tiers]\ncheap = \n")
    assert problem.startswith("line 2, column 9: not valid TOML")


@pytest.mark.parametrize(
    "line",
    [
        '[upstream]\nkey_env = "sk-or-v1-0123456789abcdef"',
        '[upstream]\nkey_env = "not a name 0123456789abcdef"',
        '[upstream]\nbase_url = "https://user:0123456789abcdef@openrouter.ai/api/v1"',
        '[upstream]\napi_key = "sk-0123456789abcdef0123"',
        '[routes]\nx = { tier = "sk-or-v1-0123456789abcdef" }',
        '[routes]\nx = { params = { key = "Bearer 0123456789abcdef" } }',
        '[routes]\nx = { prompts = { chep = "a", "sk-or-v1-0123456789abcdef" = "b" } }',
    ],
)
def test_a_key_in_the_table_is_refused_and_never_repeated(line: str) -> None:
    assert "0123456789abcdef" not in "\n".join(problems(TIERS + line))


def test_a_registered_check_may_not_take_a_built_in_name() -> None:
    (problem,) = problems(TIERS, custom=["length"])
    assert "length" in problem


def test_the_hash_is_of_the_meaning() -> None:
    one = policy.loads(TIERS + '[routes]\na = { shape = "json" }\nb = { shape = "text" }\n[limits]\nmax_cost = 0.5\n')
    same = policy.loads(
        '# a comment\n[limits]\nmax_cost = 0.50\n[routes.b]\n[routes.a]\ntier = "cheap"\nshape = "json"\n' + TIERS
    )
    swapped = policy.loads(
        '[tiers]\npremium = "anthropic/claude-opus-4.8"\ncheap = "deepseek/deepseek-v4-flash"\n'
        '[routes]\na = { shape = "json", tier = "cheap" }\nb = { tier = "cheap" }\n[limits]\nmax_cost = 0.5\n'
    )
    assert one.hash == same.hash
    assert one.hash != swapped.hash
    assert one.hash != policy.loads(TIERS).hash
    assert policy.loads(TIERS).hash == policy.load().hash
    assert policy.loads(ONE).hash != policy.load().hash


def test_the_line_of_a_key_is_found_behind_comments_and_multi_line_values() -> None:
    text = '# [a]\n[a]\nb = """\n[c]\nd = 1\n"""\ne.f = [\n  1, # ]\n  "]",\n]\n["x.y"]\n"z w" = { q = 1 }\n'
    found = lines.find(text)
    assert {dotted: found[path] for dotted, path in {"a.b": ("a", "b"), "a.e.f": ("a", "e", "f")}.items()} == {
        "a.b": 3,
        "a.e.f": 7,
    }
    assert found[("x.y", "z w")] == 12
    assert ("c",) not in found
    assert lines.line_of(found, ("x.y", "z w", "q")) == 12


@given(st.text(alphabet=st.sampled_from("[]{}=\"'#\n\\ab.,1 "), max_size=60))
def test_lines_can_be_looked_for_in_any_text(text: str) -> None:
    found = lines.find(text)
    assert all(1 <= line <= text.count("\n") + 1 for line in found.values())


tables = st.dictionaries(
    st.sampled_from(["tiers", "routes", "limits", "models", "upstream", "ledger", "default_task", "x"]),
    st.recursive(
        st.sampled_from(
            ['"cheap"', '"json"', "1", "-1", "0.5", "nan", "true", "1979-05-27", '"a/b"', '"openai/gpt-4o-mini"']
        ),
        lambda inner: (
            st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
            | st.dictionaries(
                st.sampled_from(
                    [
                        *CHECKS,
                        "cheap",
                        "x",
                        "tier",
                        "shape",
                        "checks",
                        "prompts",
                        "params",
                        "max_tokens",
                        "timeouts",
                        "base_url",
                    ]
                ),
                inner,
                max_size=4,
            ).map(lambda items: "{ " + ", ".join(f"{key} = {value}" for key, value in items.items()) + " }")
        ),
        max_leaves=12,
    ),
)


@given(tables)
def test_any_table_either_loads_or_is_a_policy_error(table: dict[str, str]) -> None:
    text = "\n".join(f"{key} = {value}" for key, value in table.items())
    tomllib.loads(text)
    with contextlib.suppress(PolicyError):
        loaded = policy.loads(text)
        assert all(loaded.tier(route.tier).models for route in loaded.routes.values())


@pytest.mark.parametrize(
    "kind", [Route, LongPrompt, Limits, Timeouts, ModelOverride, Upstream, LedgerOptions, *CHECKS.values()]
)
def test_every_key_of_the_table_is_documented(kind: type[Struct]) -> None:
    page = (Path(__file__).parents[2] / "docs/reference/policy.md").read_text()
    inner = {"task", "tier_reason", "timeouts"}
    missing = [name for name in kind.__struct_fields__ if name not in inner and not re.search(rf"\b{name}\b", page)]
    assert missing == []


@pytest.mark.parametrize("line", ['base_url = "http://[::1"', 'title = "a\\nb: c"', 'referer = "https://a\\r\\nX: y"'])
def test_an_upstream_that_could_not_be_called_is_an_error_when_the_policy_is_loaded(line: str) -> None:
    (problem,) = problems(f"[upstream]\n{line}\n")
    assert f"upstream.{line.partition(' ')[0]}" in problem


def test_a_byte_order_mark_before_the_table_is_read_over() -> None:
    assert policy.loads("\ufeff[limits]\nretries = 1\n").limits.retries == 1


def test_a_table_nested_without_end_is_a_problem_and_not_a_crash() -> None:
    (problem,) = problems(f"x = {'[' * 5000}{']' * 5000}\n")
    assert "inside each other" in problem


@pytest.mark.parametrize("address", ["nope", "http://[::1", "http://a b/v1", "ftp://a/v1", "http://u:p@a/v1", 3])
def test_an_address_given_beside_the_table_is_held_to_the_same_rules(address: Any) -> None:
    with pytest.raises(PolicyError, match="base_url: must"):
        policy.load(base_url=address)


def test_another_address_may_have_models_of_its_own_and_leaves_the_hash() -> None:
    table = '[tiers]\ncheap = "a/small"\npremium = "a/large"\n'
    with pytest.raises(PolicyError, match="unknown model"):
        policy.loads(table)
    moved = policy.loads(table, base_url="http://127.0.0.1:1/v1")
    assert moved.upstream.base_url == "http://127.0.0.1:1/v1"
    assert moved.hash == policy.loads(table, base_url="http://127.0.0.1:2/v1").hash
