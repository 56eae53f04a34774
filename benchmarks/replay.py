"""Runs recorded answers through the real cascade: the library's Router against the simulator in replay mode."""

from __future__ import annotations

import functools
import json
import tempfile
from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from msgspec import Struct

from cheapfirst.checks import judge
from cheapfirst.messages import Outcome, Wire
from cheapfirst.policy.checks import Check
from cheapfirst.policy.load import loads

CHEAP, PREMIUM = "recorded/cheap", "recorded/premium"
TASK = "call"
MODEL = "context = 1000000\nmax_output = 100000\ntools = true\ninput = 0.1\noutput = 0.1\n"
"""Room for any recorded prompt. Costs come from the recordings, which win over prices."""


class Question(Struct, frozen=True):
    """What the cascade is asked: no more than a caller would send."""

    key: str
    text: str
    tools: list[Wire]


class Recorded(Struct, frozen=True):
    """What a model answered, and what that cost."""

    out: Any
    cost: Decimal  # USD
    tokens_in: int = 0
    tokens_out: int = 0

    def message(self) -> Wire:
        """The answer as an assistant message: native calls as tool calls, all else as text."""
        if not isinstance(self.out, list) or not all(isinstance(part, dict) for part in self.out):
            return {"role": "assistant", "content": self.out if isinstance(self.out, str) else json.dumps(self.out)}
        calls = [
            {
                "id": f"call_{number}",
                "type": "function",
                "function": {"name": name, "arguments": given if isinstance(given, str) else json.dumps(given)},
            }
            for number, (name, given) in enumerate(pair for part in self.out for pair in part.items())
        ]
        return {"role": "assistant", "content": None, "tool_calls": calls}


class Decision(Struct, frozen=True):
    """What the cascade did with one question."""

    value: Any  # the calls it answered with; None when nothing could be read
    cheap_value: Any  # the calls read from the cheap answer; None when nothing could be read
    won: Literal["cheap", "premium"]
    escalated: bool
    cost: Decimal  # USD


Case = tuple[Question, Recorded, Recorded]
"""A question, the cheap model's answer to it, the premium model's."""


def table(checks: Sequence[str]) -> str:
    """The policy that the cases run under: one route, escalating once, which hands the best answer back.

    A check is its name or, with options, the table as TOML has it.
    """
    return (
        f'[tiers]\ncheap = "{CHEAP}"\npremium = "{PREMIUM}"\n\n'
        f'[routes.{TASK}]\ntier = "cheap"\nshape = "json"\non_reject = "return"\n'
        f"checks = [{', '.join(one if one.startswith('{') else json.dumps(one) for one in checks)}]\n\n"
        f'[models."{CHEAP}"]\n{MODEL}\n[models."{PREMIUM}"]\n{MODEL}'
    )


def by_router(cases: Sequence[Case], checks: Sequence[str]) -> list[Decision]:
    """Every case through the Router and the simulator, over HTTP."""
    from cheapfirst import Router
    from cheapfirst.simulator import Options, SimModel, serve_in_thread

    with tempfile.TemporaryDirectory() as folder:
        recordings = Path(folder) / "answers.jsonl"
        recordings.write_text("".join(_lines(cases)), encoding="utf-8")
        models = tuple(SimModel(id=name, context=1_000_000, max_output=100_000) for name in (CHEAP, PREMIUM))
        with serve_in_thread(Options(models=models, replay=str(recordings))) as simulator:
            router = Router(loads(table(checks)), base_url=simulator.base_url, api_key="none", ledger=False)
            with router:
                answers = router.batch(
                    TASK,
                    [
                        {"input": question.text, "tools": question.tools, "metadata": {"replay": question.key}}
                        for question, *_ in cases
                    ],
                )
    return [_told(answer) for answer in answers]


def by_judge(cases: Sequence[Case], checks: Sequence[str]) -> list[Decision]:
    """The same decisions from the judge alone, without Router, simulator and HTTP: quick, for developing checks."""
    return [_decided(*case, checks) for case in cases]


def _lines(cases: Sequence[Case]) -> list[str]:
    return [
        json.dumps(
            {
                "model": model,
                "key": question.key,
                "message": one.message(),
                "usage": {"prompt_tokens": one.tokens_in, "completion_tokens": one.tokens_out},
                "cost": str(one.cost),
            }
        )
        + "\n"
        for question, cheap, premium in cases
        for model, one in ((CHEAP, cheap), (PREMIUM, premium))
    ]


def _told(answer: Any) -> Decision:
    if isinstance(answer, Exception):
        raise answer
    first = answer.attempts[0]
    return Decision(
        value=answer.value,
        cheap_value=first.value,
        won="premium" if answer.tier == "premium" else "cheap",
        escalated=answer.escalated,
        cost=answer.cost,
    )


def _decided(question: Question, cheap: Recorded, premium: Recorded, checks: Sequence[str]) -> Decision:
    first = _judged(question, cheap, checks)
    if first.verdict.accept:
        return Decision(first.value, first.value, "cheap", False, cheap.cost)
    second = _judged(question, premium, checks)
    # With both rejected, the answer with fewer findings is handed back, and of equals the later one.
    last = len(second.verdict.findings) <= len(first.verdict.findings)
    best, won = (second, "premium") if last else (first, "cheap")
    return Decision(
        best.value, first.value, "premium" if won == "premium" else "cheap", True, cheap.cost + premium.cost
    )


@functools.cache
def _made(checks: tuple[str, ...]) -> tuple[Check, ...]:
    return loads(table(checks)).routes[TASK].checks


def _judged(question: Question, one: Recorded, checks: Sequence[str]) -> Any:
    message = one.message()
    outcome = Outcome(kind="answer", text=message["content"] or "", message=message)
    return judge(outcome, shape="json", checks=_made(tuple(checks)), tools=question.tools, source=question.text)
