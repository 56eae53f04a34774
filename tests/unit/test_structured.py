"""The benchmark of recorded function calls: what the cascade may see, and how answers are graded."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from benchmarks import intervals, replay, strict, structured

FUNCTION = {
    "name": "fund.balance",
    "description": "Balance of a fund.",
    "parameters": {
        "type": "dict",
        "properties": {
            "amount": {"type": "integer", "description": "Amount."},
            "rate": {"type": "float", "description": "Yearly yield."},
        },
        "required": ["amount"],
    },
}


def row(cheap: Any, premium: Any, *, right: tuple[int, int], gold: Any, task: str = "simple") -> dict[str, Any]:
    return {
        "id": "r",
        "task": task,
        "question": "The balance of 5000 dollars at 7%?",
        "functions": [FUNCTION],
        "possible_answer": gold,
        "models": {
            "small-1": {"out": cheap, "correct": right[0], "error_type": None, "cost_usd": 0.001},
            "large-1": {"out": premium, "correct": right[1], "error_type": None, "cost_usd": 0.1},
        },
    }


GOLD = {"fund.balance": {"amount": [5000], "rate": [0.07, ""]}}
GOOD = "[fund.balance(amount=5000, rate=0.07)]"
ROWS = [
    row(GOOD, GOOD, right=(1, 1), gold=GOLD),
    row("[fund.balance(amount=5000, rate=7.0)]", GOOD, right=(0, 1), gold=GOLD),
    row(f"Sure! Here it is:\n```python\n{GOOD}\n```", GOOD, right=(0, 1), gold=GOLD),
    row([{"fund_balance": '{"rate": 0.07}'}], [{"fund_balance": '{"amount": 5000}'}], right=(0, 1), gold=GOLD),
    row("I cannot.", "Me neither.", right=(0, 0), gold=GOLD),
    row("no call", "no call", right=(1, 1), gold=None, task="relevance"),
]


def write(path: Path, rows: list[dict[str, Any]]) -> Path:
    with gzip.open(path, "wt", encoding="utf-8") as lines:
        lines.writelines(json.dumps(one) + "\n" for one in rows)
    return path


def graded(path: Path, *checks: str) -> list[structured.Result]:
    return structured.results(list(structured.load(path)), "small", "large", partial(replay.by_judge, checks=checks))


def test_each_row_is_decided_paid_and_graded(tmp_path: Path) -> None:
    found = graded(write(tmp_path / "rows.gz", ROWS), "percent")
    assert [one.escalated for one in found] == [False, True, False, True, True]
    assert [one.ours for one in found] == [True, True, True, True, False]
    assert [one.plain_escalated for one in found] == [False, False, True, True, True]
    assert [one.cost for one in found] == [Decimal(text) for text in ("0.001", "0.101", "0.001", "0.101", "0.101")]
    summed = structured.summary(found, "small", "large")
    assert (summed["n"], summed["accuracy_cheap"], summed["accuracy"]) == (5, 0.2, 0.8)
    assert summed["saved"] == pytest.approx(1 - 0.305 / 0.5)
    assert (summed["caught"], summed["false_alarms"]) == (1.0, 0.0)


def test_what_is_known_to_be_right_changes_no_decision(tmp_path: Path) -> None:
    lied = [
        {
            **one,
            "possible_answer": {"other": {}},
            "models": {name: {**said, "correct": 1 - said["correct"]} for name, said in one["models"].items()},
        }
        for one in ROWS
    ]
    honest = graded(write(tmp_path / "rows.gz", ROWS), "percent")
    blind = graded(write(tmp_path / "lied.gz", lied), "percent")
    assert [(one.escalated, one.cost) for one in honest] == [(one.escalated, one.cost) for one in blind]


def test_strict_decoding_reads_only_calls_with_keywords() -> None:
    assert strict.decode("[f(a=1, b=[x])]") == [("f", {"a": 1, "b": "[x]"})]
    assert strict.decode([{"f": '{"a": 1}'}]) == [("f", {"a": 1})]
    for out in ("Sure: f(a=1)", "[f(1)]", [{"f": "{"}], None, "[f(a=1), 2]"):
        assert strict.decode(out) is None


def test_names_that_python_reserves_are_names_in_other_languages() -> None:
    out = "[g(from='1', to='2')]"
    assert strict.decode(out) is None
    assert strict.decode(out, python=False) == [("g", {"from": "1", "to": "2"})]


def test_a_value_is_the_same_call_up_to_the_dots_of_its_name() -> None:
    assert strict.same([("a_b", {"x": 1})], [{"name": "a.b", "arguments": {"x": 1}}])
    assert not strict.same([("a_b", {"x": 1})], [{"name": "a.b", "arguments": {"x": 1.5}}])
    assert not strict.same(None, [])


def test_a_bootstrap_interval_holds_the_measured_value() -> None:
    rows = [0] * 30 + [1] * 70
    low, high = intervals.bootstrap(rows, lambda drawn: sum(drawn) / len(drawn))
    assert 0.55 < low < 0.7 < high < 0.85


def test_the_policy_of_a_replay_is_one_that_loads() -> None:
    from cheapfirst.policy.load import loads

    for _, _, checks in structured.PAIRS:
        route = loads(replay.table(checks)).routes[replay.TASK]
        assert len(route.checks) == len(checks)
        for read, written in zip(route.checks, checks, strict=True):
            assert type(read).__name__.lower() in written
