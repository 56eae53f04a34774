"""What every client is tested against: a gateway over the simulator, and what its ledger says of each request."""

from __future__ import annotations

import json
import random
import shutil
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from cheapfirst.gateway.app import Gateway
from cheapfirst.gateway.server import serve_in_thread
from cheapfirst.messages import Wire
from cheapfirst.money import to_pico
from cheapfirst.simulator import Handle as Simulated
from cheapfirst.simulator import Made, Options, SimModel
from cheapfirst.simulator import serve_in_thread as simulate
from cheapfirst.simulator.answerer import Skill

PATIENCE = 60.0
"""Seconds that a client's program may take."""

WORDS = "Grüße aus Köln: die schönen Äpfel kamen zu spät."

POLICY = """
[tiers]
cheap = "sim/small"
premium = "sim/large"

[routes]
write = { tier = "cheap", shape = "text" }
talk = { tier = "cheap", shape = "stream", stream = "pass" }
extract = { tier = "cheap", shape = "json" }

[limits]
backoff = 0.001

[models."sim/small"]
input = 0.1
output = 0.2
structured = "json_schema"
tools = true
vision = true

[models."sim/large"]
input = 5
output = 25
structured = "json_schema"
tools = true
"""

PLACE = '{"city": "Köln", "orders": [4711, 4712]}'
"""What a right answer to a question for a place holds."""

HALF = '{"city": "Köln"}'


class Served(Struct, frozen=True):
    """A gateway that runs, as its clients see it."""

    base_url: str
    gateway: Gateway
    ledger: Path
    simulator: Simulated

    def last(self) -> dict[str, Any]:
        """The ledger's row of the latest request."""
        assert self.gateway.router.ledger.flush()
        with sqlite3.connect(self.ledger) as db:
            db.row_factory = sqlite3.Row
            return dict(db.execute("SELECT * FROM requests ORDER BY time DESC, id DESC").fetchone())

    def count(self) -> int:
        """Requests in the ledger."""
        assert self.gateway.router.ledger.flush()
        with sqlite3.connect(self.ledger) as db:
            return int(db.execute("SELECT count(*) FROM requests").fetchone()[0])

    def reconcile(self) -> None:
        """Hold the ledger against what the simulator billed: the same calls, tokens and picodollars, none unknown."""
        assert self.gateway.router.ledger.flush()
        with sqlite3.connect(self.ledger) as db:
            entered = db.execute(
                "SELECT generation_id, model_served, prompt_tokens, completion_tokens, cost FROM attempts"
                " WHERE generation_id IS NOT NULL"
            ).fetchall()
            total, unknown = db.execute(
                "SELECT coalesce(sum(cost), 0), coalesce(sum(unknown_attempts), 0) FROM requests"
            ).fetchone()
        books = self.simulator.books()
        assert sorted(entered) == sorted(
            (one["id"], one["model"], one["prompt_tokens"], one["completion_tokens"], to_pico(Decimal(one["cost"])))
            for one in books["generations"]
        )
        assert (total, unknown) == (to_pico(Decimal(books["total"]["cost"])), 0)


def say(skill: Skill, body: Wire, rng: random.Random) -> Made:
    """What stands behind SAY in the user's last words: the cheap model's answer | the premium one's."""
    del rng
    told = body["messages"][-1].get("content")
    if isinstance(told, list):
        told = " ".join(str(part.get("text", part)) for part in told if isinstance(part, dict))
    cheap, _, premium = str(told).partition("SAY ")[2].partition(" | ")
    return Made(text=(premium or cheap if skill == "premium" else cheap).strip() or f"Heard: {told}")


@contextmanager
def serve(folder: Path) -> Iterator[Served]:
    """A gateway over a simulator whose models say what they are told to say."""
    policy = folder / "cheapfirst.toml"
    policy.write_text(POLICY)
    models = (
        SimModel(id="sim/small", input=Decimal("0.1"), output=Decimal("0.2"), input_modalities=("text", "image")),
        SimModel(id="sim/large", input=Decimal(5), output=Decimal(25), skill="premium"),
    )
    with (
        simulate(Options(models=models), answerer=say) as simulator,
        serve_in_thread(policy, base_url=simulator.base_url, ledger=folder / "ledger.db") as handle,
    ):
        yield Served(handle.base_url, handle.gateway, folder / "ledger.db", simulator)


def tool(name: str, package: str) -> str:
    """The path of a program, or the test is skipped with a word on what to install."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed: apt install {package}")
    return found


def printed(command: list[str], **options: Any) -> Any:
    """What a program of a client printed last, as JSON."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, **options)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout.strip().splitlines()[-1])
