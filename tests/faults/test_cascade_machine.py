"""Whatever faults the upstream shows, in whatever order: the cascade stays within its plan and its books are right."""

from __future__ import annotations

import json
import tempfile
from decimal import Decimal
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from cheapfirst import Answer, RequestFailed, Router
from cheapfirst.ledger.report import report
from cheapfirst.messages import Attempt
from cheapfirst.money import total, total_known
from cheapfirst.simulator import FAULTS, Options, SimModel, serve_in_thread

POLICY = """
[tiers]
cheap = ["sim/small", "sim/other"]
premium = "sim/large"

[routes]
extract = { tier = "cheap", shape = "json", reask = true }
chat = { tier = "cheap", shape = "stream", stream = "pass" }
draft = { tier = "cheap", shape = "text", on_reject = "return" }

[limits]
max_attempts = MAX
retries = RETRIES
backoff = 0.001
deadline = 3.0
timeouts = { connect = 1.0, first_token = 0.05, silence = 0.05, total = 0.3 }

[models."sim/small"]
input = 0.1
output = 0.2
context = 8000
max_output = 2000
structured = "json_schema"

[models."sim/other"]
input = 0.2
output = 0.4
context = 8000
max_output = 8000

[models."sim/large"]
input = 5
output = 25
context = 200000
structured = "json_schema"
"""
MODELS = (
    SimModel(id="sim/small", canonical="sim/small-20260101", input=Decimal("0.1"), output=Decimal("0.2")),
    SimModel(id="sim/other", input=Decimal("0.2"), output=Decimal("0.4")),
    SimModel(id="sim/large", skill="premium", input=Decimal(5), output=Decimal(25)),
)
SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "kind": {"enum": ["a", "b"]}},
    "required": ["name", "kind"],
    "additionalProperties": False,
}


class Cascade(RuleBasedStateMachine):
    """Scripts faults, runs requests, and compares the answers, the ledger and the simulator's books."""

    def __init__(self) -> None:
        super().__init__()
        self._folder = tempfile.TemporaryDirectory()
        self._serving = serve_in_thread(Options(models=MODELS, retry_after=0.01, seed=1))
        self.simulator = self._serving.__enter__()
        self.router: Router | None = None
        self.ledger = Path(self._folder.name) / "ledger.db"
        self.runs = 0
        self.spent: list[Decimal | None] = []
        self.configure(max_attempts=6, retries=2)

    @rule(max_attempts=st.integers(1, 6), retries=st.integers(0, 3))
    def configure(self, max_attempts: int, retries: int) -> None:
        """Another policy over the same ledger."""
        if self.router is not None:
            self.router.close()
        file = Path(self._folder.name) / "cheapfirst.toml"
        file.write_text(POLICY.replace("MAX", str(max_attempts)).replace("RETRIES", str(retries)))
        self.router = Router(file, base_url=self.simulator.base_url, ledger=self.ledger)

    @rule(
        faults=st.lists(st.sampled_from(sorted(FAULTS)), min_size=1, max_size=6),
        model=st.sampled_from(["sim/small", "sim/other", "sim/large"]),
    )
    def script(self, faults: list[str], model: str) -> None:
        """The next calls to a model meet these faults."""
        self.simulator.script(*faults, model=model)

    @rule(task=st.sampled_from(["extract", "chat", "draft"]), number=st.integers(0, 9))
    def run_one(self, task: str, number: int) -> None:
        """Run a request and look at what came of it."""
        assert self.router is not None
        self.runs += 1
        text = f"My name is Ada and kind {number} is b."
        plan = self.router.explain(task, text, stream=task == "chat")
        try:
            if task == "chat":
                stream = self.router.stream(task, text)
                shown = "".join(stream)
                assert stream.answer is not None
                assert shown == stream.answer.text
                answer: Answer = stream.answer
            else:
                answer = self.router.run(task, text, schema=SCHEMA if task == "extract" else None)
        except RequestFailed as error:
            self._look(error.attempts, plan.max_attempts)
            return
        self._look(answer.attempts, plan.max_attempts)
        assert answer.cost == total(attempt.cost for attempt in answer.attempts)
        if answer.verdict.accept and task == "extract":
            assert set(answer.value) == {"name", "kind"}
            assert answer.value["kind"] in ("a", "b")
        assert answer.escalated == any(attempt.on == "reject" for attempt in answer.attempts)

    def _look(self, attempts: tuple[Attempt, ...], allowed: int) -> None:
        assert 1 <= len(attempts) <= allowed
        assert [attempt.number for attempt in attempts] == list(range(1, len(attempts) + 1))
        self.spent += [attempt.cost for attempt in attempts]

    @invariant()
    def the_ledger_holds_every_request_once_and_its_sum_is_that_of_the_attempts(self) -> None:
        assert self.router is not None
        assert self.router.ledger.flush()
        found = report(self.ledger)
        assert found.total.requests == self.runs
        assert found.total.cost == total_known(self.spent)
        assert found.total.attempts == len(self.spent)

    def teardown(self) -> None:
        if self.router is not None:
            self.router.close()
        self._serving.__exit__(None, None, None)
        self._folder.cleanup()


Cascade.TestCase.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
TestCascade = Cascade.TestCase


def test_the_simulators_default_answers_are_json_where_json_is_asked_for(tmp_path: Path) -> None:
    """The machine above means something only if undisturbed requests succeed."""
    file = tmp_path / "cheapfirst.toml"
    file.write_text(POLICY.replace("MAX", "6").replace("RETRIES", "2"))
    with (
        serve_in_thread(Options(models=MODELS)) as simulator,
        Router(file, base_url=simulator.base_url, ledger=False) as router,
    ):
        answer = router.run("extract", "My name is Ada and the kind is b.", schema=SCHEMA)
        assert json.loads(answer.text) is not None
        assert answer.verdict.accept
