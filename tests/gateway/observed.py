"""A gateway to observe: a policy of two tiers in front of the simulator, and how it is asked."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai

from cheapfirst.gateway.server import Handle, serve_in_thread
from cheapfirst.messages import Wire
from cheapfirst.simulator import Options, SimModel
from cheapfirst.simulator import serve_in_thread as simulate
from cheapfirst.simulator.answerer import Made, Skill

POLICY = """
[tiers]
cheap = "sim/small"
premium = "sim/large"

[routes]
extract = { tier = "cheap", shape = "json" }
write = { tier = "cheap", shape = "text" }
chat = { tier = "cheap", shape = "stream", stream = "pass" }

[limits]
backoff = 0.001
retries = 1

[models."sim/small"]
input = 0.1
output = 0.2
structured = "json_schema"

[models."sim/large"]
input = 5
output = 25
structured = "json_schema"
"""
CANARY = "zanzibar-canary-7731"
SECRET = "sk-canary-secret-4242"
SCHEMA: Any = {
    "type": "json_schema",
    "json_schema": {
        "name": "verdict",
        "schema": {
            "type": "object",
            "properties": {"good": {"type": "boolean"}},
            "required": ["good"],
            "additionalProperties": False,
        },
    },
}


def say(skill: Skill, body: Wire, rng: random.Random) -> Made:
    """Good JSON from the premium model only; the prompt and the answer hold the canary."""
    del rng
    if body.get("response_format") is None:
        return Made(text=f"Hello to everybody in the house, {CANARY}.")
    return Made(text='{"good": true}' if skill == "premium" else f'{{"good": "{CANARY}"}}')


@contextmanager
def gateway(
    folder: Path, *, faults: dict[str, float] | None = None, upstream: str | None = None, **options: Any
) -> Iterator[Handle]:
    file = folder / "cheapfirst.toml"
    file.write_text(POLICY, "utf-8")
    models = (SimModel(id="sim/small", faults=faults or {}), SimModel(id="sim/large", skill="premium"))
    with (
        simulate(Options(models=models), answerer=say) as simulator,
        serve_in_thread(
            file, base_url=upstream or simulator.base_url, api_key=SECRET, ledger=folder / "ledger.db", **options
        ) as handle,
    ):
        yield handle


def client(handle: Handle) -> openai.OpenAI:
    return openai.OpenAI(base_url=handle.base_url, api_key="none", max_retries=0)


def ask(handle: Handle, task: str = "write", **more: Any) -> Any:
    return client(handle).chat.completions.create(
        model=task, messages=[{"role": "user", "content": f"Say hello, {CANARY}."}], **more
    )


def stream(handle: Handle) -> str:
    pieces = client(handle).chat.completions.create(
        model="chat", messages=[{"role": "user", "content": f"Say hello, {CANARY}."}], stream=True
    )
    return "".join(piece.choices[0].delta.content or "" for piece in pieces if piece.choices)
