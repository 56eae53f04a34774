"""The right answers of the sample requests pass the checks that the built-in policy holds them to."""

from __future__ import annotations

import json

import pytest

from cheapfirst import policy
from cheapfirst.checks import judge, read_schema
from cheapfirst.messages import Outcome
from cheapfirst.simulator import Item, load_corpus


@pytest.mark.parametrize("item", load_corpus(), ids=lambda item: item.id)
def test_a_right_answer_is_accepted(item: Item) -> None:
    route = policy.loads("").routes[item.task]
    text = item.gold if isinstance(item.gold, str) and item.schema is None else json.dumps(item.gold)
    judgment = judge(
        Outcome(kind="answer", text=text, message={"role": "assistant", "content": text}, finish="stop"),
        shape=route.shape,
        schema=read_schema(item.schema),
        checks=route.checks,
        source=item.text,
    )
    assert judgment.verdict.findings == ()
