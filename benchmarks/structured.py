"""Function calls of real models, replayed through the real cascade: what is saved, what is caught, what it costs.

    python -m benchmarks.structured [--data DIR] [--json FILE] [--quick]

Recorded answers (BFCL) of a cheap and a premium model are served by the simulator; the library's own Router asks the
cheap one, checks its answer in code and escalates when a check says no. What is known to be right stays outside: the
cascade gets questions, declared tools and recorded answers, and the grading happens when it is done.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct

from benchmarks import bfcl, intervals, replay, strict
from cheapfirst import money
from cheapfirst.messages import Wire

DATA = Path(__file__).parent.parent / ".." / "shared" / "data"
FILE = "bfcl/bfcl_2024_08_11.jsonl.gz"
UNASKED = '{ grounded = { optional_only = true, kinds = ["text"] } }'
PAIRS = (
    ("claude-3-haiku-20240307", "claude-3-5-sonnet-20240620", ("percent", "unique", "covered", UNASKED)),
    ("gpt-3.5-turbo-0125", "gpt-4-1106-preview", ("percent", "unique", "covered", UNASKED)),
    ("gpt-4o-mini-2024-07-18", "claude-3-5-sonnet-20240620", ("percent",)),
    ("open-mistral-nemo-2407-FC-Auto", "gpt-4o-2024-08-06-FC", ("unique",)),
)
"""Cheap and premium model, and the checks of their route beyond the tools' own schemas.

Each pair is a route of its own, as it would be in a policy: where tolerant reading spares many escalations there is
room for more checks; where nearly none is spared, only the most precise ones stay within the same bill.
"""


class Gold(Struct, frozen=True):
    """What is known to be right about one row. Never leaves this module."""

    possible_answer: Any
    functions: list[Wire]
    task: str
    verdicts: dict[str, bool]  # model -> the official verdict on its recorded answer

    def right(self, model: str, out: Any, value: Any) -> bool:
        """Whether a value read from a model's recorded answer is right.

        The official verdict holds for the calls that strict decoding gives. What strict decoding refused, or what
        was changed on the way, is graded by content.
        """
        decoded = strict.decode(out, python=self.task not in bfcl.LANGUAGES)
        if value is None or strict.same(decoded, value):
            return self.verdicts[model]
        return bfcl.grade(value, self.possible_answer, self.functions) if isinstance(value, list) else False


class Result(Struct, frozen=True):
    """One row of one pair, decided and graded."""

    cheap: bool
    premium: bool
    ours: bool
    read: bool  # the cheap answer as the cascade read it is right
    escalated: bool
    plain: bool  # right under the plain strict schema check
    plain_escalated: bool
    cost: Decimal  # USD
    plain_cost: Decimal
    cheap_cost: Decimal
    premium_cost: Decimal


def key(name: str, models: dict[str, Any]) -> str | None:
    """The recorded model of that name: its own key, or the first that begins with it."""
    return name if name in models else next((model for model in models if model.startswith(name)), None)


Row = tuple[replay.Question, dict[str, replay.Recorded], Gold]


def load(path: Path) -> Iterator[Row]:
    """Each row in three parts that are kept apart: what was asked, what was answered, what is right."""
    for number, row in enumerate(bfcl.rows(path)):
        if row["task"] == "relevance":
            continue
        functions = bfcl.functions(row)
        yield (
            replay.Question(key=str(number), text=row["question"], tools=bfcl.tools(functions, row["task"])),
            {
                model: replay.Recorded(
                    out=one["out"],
                    cost=money.usd(one["cost_usd"]),
                    tokens_in=one.get("tokens_in") or 0,
                    tokens_out=one.get("tokens_out") or 0,
                )
                for model, one in row["models"].items()
            },
            Gold(
                possible_answer=row["possible_answer"],
                functions=functions,
                task=row["task"],
                verdicts={model: bool(one["correct"]) for model, one in row["models"].items()},
            ),
        )


def results(
    rows: list[Row], cheap: str, premium: str, run: Callable[[Sequence[replay.Case]], list[replay.Decision]]
) -> list[Result]:
    """Replay one pair's rows through `run` and grade what came out."""
    both = [
        (question, answers[one], answers[other], gold, one, other)
        for question, answers, gold in rows
        if (one := key(cheap, answers)) and (other := key(premium, answers))
    ]
    decisions = run([(question, first, second) for question, first, second, *_ in both])
    return [
        _graded(decision, first, second, gold, one, other)
        for decision, (_, first, second, gold, one, other) in zip(decisions, both, strict=True)
    ]


def _graded(
    decision: replay.Decision, first: replay.Recorded, second: replay.Recorded, gold: Gold, cheap: str, premium: str
) -> Result:
    winner, out = (premium, second.out) if decision.won == "premium" else (cheap, first.out)
    plain_ok = strict.fits(strict.decode(first.out), gold.functions, typed=gold.task not in bfcl.LANGUAGES)
    return Result(
        cheap=gold.verdicts[cheap],
        premium=gold.verdicts[premium],
        ours=gold.right(winner, out, decision.value),
        read=gold.right(cheap, first.out, decision.cheap_value),
        escalated=decision.escalated,
        plain=gold.verdicts[cheap if plain_ok else premium],
        plain_escalated=not plain_ok,
        cost=decision.cost,
        plain_cost=first.cost if plain_ok else first.cost + second.cost,
        cheap_cost=first.cost,
        premium_cost=second.cost,
    )


def share(part: int, whole: int) -> float:
    """A share between 0 and 1; 0 of nothing."""
    return part / whole if whole else 0.0


def summary(found: list[Result], cheap: str, premium: str) -> dict[str, Any]:
    """The row that `--json` writes for a pair."""
    n = len(found)
    wrong = [one for one in found if not one.read]
    right = [one for one in found if one.read]
    cost = money.total_known(one.cost for one in found)
    alone = money.total_known(one.premium_cost for one in found)
    return {
        "workload": "structured",
        "cheap": cheap,
        "premium": premium,
        "n": n,
        "accuracy_cheap": share(sum(one.cheap for one in found), n),
        "accuracy_premium": share(sum(one.premium for one in found), n),
        "accuracy": share(sum(one.ours for one in found), n),
        "cost_usd": float(cost),
        "premium_cost_usd": float(alone),
        "saved": float(1 - cost / alone) if alone else 0.0,
        "escalated": share(sum(one.escalated for one in found), n),
        "caught": share(sum(one.escalated for one in wrong), len(wrong)),
        "false_alarms": share(sum(one.escalated for one in right), len(right)),
    }


def show(found: list[Result], row: dict[str, Any], checks: Sequence[str]) -> None:
    """Print one pair beside its baselines, with paired bootstrap intervals (95 %)."""
    n = len(found)
    print(f"\n{row['cheap']} -> {row['premium']}  ({n} rows; checks: schema, {', '.join(checks)})")
    print(f"  {'':28s} accuracy   saved  escalated  caught  false alarms")
    alone = row["premium_cost_usd"]
    plain_cost = float(money.total_known(one.plain_cost for one in found))
    wrong = [one for one in found if not one.cheap]
    right = [one for one in found if one.cheap]
    oracle_cost = sum(
        float(one.cheap_cost if one.cheap or not one.premium else one.cheap_cost + one.premium_cost) for one in found
    )
    lines = [
        (
            "always cheap",
            row["accuracy_cheap"],
            1 - float(money.total_known(o.cheap_cost for o in found)) / alone,
            0,
            0,
            0,
        ),
        ("always premium", row["accuracy_premium"], 0.0, 1.0, 1.0, 1.0),
        (
            "plain strict schema check",
            share(sum(one.plain for one in found), n),
            1 - plain_cost / alone,
            share(sum(one.plain_escalated for one in found), n),
            share(sum(one.plain_escalated for one in wrong), len(wrong)),
            share(sum(one.plain_escalated for one in right), len(right)),
        ),
        ("cheapfirst", row["accuracy"], row["saved"], row["escalated"], row["caught"], row["false_alarms"]),
        (
            "oracle",
            share(sum(one.cheap or one.premium for one in found), n),
            1 - oracle_cost / alone,
            share(sum(not o.cheap and o.premium for o in found), n),
            1,
            0,
        ),
    ]
    for name, accuracy, saved, escalated, caught, false in lines:
        print(f"  {name:28s}  {accuracy:6.1%}  {saved:6.1%}     {escalated:6.1%}  {caught:6.1%}        {false:6.2%}")
    for what, low, high in intervals.of_pair(found):
        print(f"  {what:46s} 95 % interval {low:+.1%} to {high:+.1%}")


def main() -> None:
    """Read the arguments, replay every pair, print the tables, write the rows."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.structured", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA, help="folder that holds bfcl/ (default: %(default)s)")
    parser.add_argument("--json", type=Path, help="write the rows to this file")
    parser.add_argument("--quick", action="store_true", help="decide by the judge alone, without Router and simulator")
    options = parser.parse_args()
    way = replay.by_judge if options.quick else replay.by_router
    if not (options.data / FILE).is_file():
        parser.exit(1, f"{options.data / FILE} is not there: give the folder that holds bfcl/ with --data\n")
    rows = list(load(options.data / FILE))
    written = []
    for cheap, premium, checks in PAIRS:
        found = results(rows, cheap, premium, partial(way, checks=checks))
        row = summary(found, cheap, premium)
        show(found, row, checks)
        written.append(row)
    if options.json:
        options.json.write_text(json.dumps(written, indent=2) + "\n")


if __name__ == "__main__":
    main()
