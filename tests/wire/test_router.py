"""The library as a program uses it, against the simulator: answers, faults, money, streams, batches, secrets."""

from __future__ import annotations

import asyncio
import gc
import json
import random
import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal, TypedDict

import msgspec
import pydantic
import pytest

from cheapfirst import (
    Answer,
    AnswerCutOff,
    AnswerRejected,
    AsyncRouter,
    CheapfirstError,
    Context,
    CostCeilingReached,
    DeadlineExceeded,
    RequestError,
    RequestFailed,
    Router,
    UpstreamFault,
)
from cheapfirst.ledger import journal
from cheapfirst.ledger.report import report
from cheapfirst.messages import Attempt, Wire
from cheapfirst.money import total
from cheapfirst.simulator import Options, SimModel, serve_in_thread
from cheapfirst.simulator.answerer import Made, Skill
from cheapfirst.simulator.models import Latency
from cheapfirst.simulator.thread import Handle
from scripted import Exchange, Server, completion

POLICY = """
[tiers]
cheap = ["sim/small", "sim/other"]
premium = "sim/large"

[routes]
extract = { tier = "cheap", shape = "json" }
again = { tier = "cheap", shape = "json", reask = true }
either = { tier = "cheap", shape = "json", on_reject = "return" }
write = { tier = "cheap", shape = "text", checks = ["refusal"] }
chat = { tier = "cheap", shape = "stream", stream = "pass" }
held = { tier = "cheap", shape = "text", stream = "hold", checks = ["refusal"] }

[limits]
backoff = 0.001
LIMITS

[upstream]
UPSTREAM

[models."sim/small"]
input = 0.1
output = 0.2
structured = "json_schema"

[models."sim/other"]
input = 0.2
output = 0.4
structured = "json_schema"

[models."sim/large"]
input = 5
output = 25
structured = "json_schema"
"""
SMALL = SimModel(id="sim/small", canonical="sim/small-20260101", input=Decimal("0.1"), output=Decimal("0.2"))
OTHER = SimModel(id="sim/other", input=Decimal("0.2"), output=Decimal("0.4"))
LARGE = SimModel(id="sim/large", skill="premium", input=Decimal(5), output=Decimal(25))
MODELS = (SMALL, OTHER, LARGE)
SCHEMA: Wire = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "kind": {"enum": ["a", "b"]}},
    "required": ["name", "kind"],
    "additionalProperties": False,
}
GOOD = '{"name": "Ada", "kind": "b"}'
BAD = '{"name": "Ada", "kind": "z"}'
LONG = "The parcel left the harbour on Monday, rested in a depot, and is now on its way to your door."
SECRET = "sk-or-v1-0123456789abcdef0123456789abcdef"


def say(skill: Skill, body: Wire, rng: random.Random) -> Made:
    """Answer what the request says that it wants to hear: after "SAY", the cheap models' words | the premium one's.

    Of the cheap models' words, those behind "THEN" are for when they are asked again.
    """
    del rng
    users = [message["content"] for message in body["messages"] if message["role"] == "user"]
    wanted = next(text for text in users if "SAY" in text).partition("SAY")[2]
    cheap, _, premium = wanted.partition("|")
    first, _, then = cheap.partition("THEN")
    if skill == "premium":
        return Made(text=(premium or cheap).strip())
    return Made(text=(then if len(users) > 1 else first).strip())


@pytest.fixture(autouse=True)
def no_key(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OPENROUTER_API_KEY", "CHEAPFIRST_BASE_URL", "CHEAPFIRST_POLICY", "CHEAPFIRST_LEDGER"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="module")
def serving() -> Iterator[Handle]:
    with serve_in_thread(Options(models=MODELS, retry_after=0.05), answerer=say) as handle:
        yield handle


@pytest.fixture
def simulator(serving: Handle) -> Handle:
    """The simulator with empty books and no faults due."""
    serving.reset()
    return serving


@pytest.fixture
def router(simulator: Handle, tmp_path: Path) -> Iterator[Router]:
    with make(simulator, tmp_path) as made:
        yield made


def policy(folder: Path, limits: str = "", upstream: str = "") -> Path:
    file = folder / "cheapfirst.toml"
    file.write_text(POLICY.replace("LIMITS", limits).replace("UPSTREAM", upstream))
    return file


def make(simulator: Handle, folder: Path, limits: str = "", upstream: str = "", **options: Any) -> Router:
    return Router(policy(folder, limits, upstream), base_url=simulator.base_url, ledger=folder / "ledger.db", **options)


def trail(attempts: tuple[Attempt, ...]) -> list[tuple[str, str]]:
    """Why each attempt was made, and on which model."""
    return [(attempt.on, attempt.planned.model) for attempt in attempts]


def recorded(folder: Path, columns: str = "ending") -> list[tuple[Any, ...]]:
    with sqlite3.connect(folder / "ledger.db") as db:
        return db.execute(f"SELECT {columns} FROM requests ORDER BY id").fetchall()


def billed(simulator: Handle) -> Decimal:
    return Decimal(simulator.books()["total"]["cost"])


class Model(pydantic.BaseModel):
    """A value as pydantic has it."""

    name: str
    kind: Literal["a", "b"]


@dataclass
class Plain:
    """The same as a dataclass."""

    name: str
    kind: Literal["a", "b"]


class Typed(TypedDict):
    """The same as a TypedDict."""

    name: str
    kind: Literal["a", "b"]


class Packed(msgspec.Struct):
    """The same as a Struct."""

    name: str
    kind: Literal["a", "b"]


# Values


@pytest.mark.parametrize(
    ("schema", "text", "value"),
    [
        (SCHEMA, GOOD, {"name": "Ada", "kind": "b"}),
        (Model, GOOD, Model(name="Ada", kind="b")),
        (Plain, GOOD, Plain("Ada", "b")),
        (Typed, GOOD, {"name": "Ada", "kind": "b"}),
        (Packed, GOOD, Packed("Ada", "b")),
        (Literal["spam", "ham"], '"ham"', "ham"),
        (list[Plain], f"[{GOOD}]", [Plain("Ada", "b")]),
    ],
    ids=["json-schema", "pydantic", "dataclass", "typed-dict", "struct", "literal", "list"],
)
def test_the_value_is_of_the_kind_that_was_asked_for(router: Router, schema: Any, text: str, value: Any) -> None:
    answer = router.run("extract", f"SAY {text}", schema=schema)
    assert answer.value == value
    assert type(answer.value) is type(value)
    assert json.loads(answer.text) == json.loads(text)
    assert (answer.tier, answer.model, answer.escalated, answer.forced) == ("cheap", "sim/small", False, False)


@pytest.mark.parametrize("fault", ["fenced", "prose", "trailing_comma", "null_finish", "undated_model"])
def test_an_answer_that_is_dressed_up_is_read_and_not_escalated(router: Router, simulator: Handle, fault: str) -> None:
    simulator.script(fault)
    answer = router.run("extract", f"SAY {GOOD}", schema=SCHEMA)
    assert answer.value == {"name": "Ada", "kind": "b"}
    assert trail(answer.attempts) == [("start", "sim/small")]
    assert answer.model == "sim/small"
    if fault in ("fenced", "prose", "trailing_comma"):
        assert answer.text != GOOD  # the exact text, as it came
        assert [step.kind for step in answer.attempts[0].trail] not in ([], ["strict"])


def test_free_text_is_its_own_value(router: Router) -> None:
    answer = router.run("write", f"SAY {LONG}")
    assert answer.value == answer.text == LONG
    assert answer.message["content"] == LONG


# Signals


def test_a_passing_fault_is_answered_by_the_same_call_again(router: Router, simulator: Handle) -> None:
    simulator.script("503_unavailable", "no_response")
    answer = router.run("write", f"SAY {LONG}")
    assert trail(answer.attempts) == [("start", "sim/small"), ("retry", "sim/small"), ("retry", "sim/small")]
    faults = [attempt.outcome.fault for attempt in answer.attempts]
    assert [fault.name if fault else None for fault in faults] == ["provider_unavailable", "no_response", None]
    assert not answer.escalated
    assert "the same call again" in answer.why


def test_a_retry_waits_as_long_as_the_upstream_asks(router: Router, simulator: Handle) -> None:
    simulator.script("429_retry_after")
    answer = router.run("write", f"SAY {LONG}")
    first, second = answer.attempts
    assert second.started >= first.started + 0.05
    assert first.outcome.fault is not None
    assert first.outcome.fault.retry_after == 0.05


def test_too_long_a_wait_becomes_a_failover(tmp_path: Path) -> None:
    with (
        serve_in_thread(Options(models=MODELS, retry_after=3600), answerer=say) as simulator,
        make(simulator, tmp_path) as router,
    ):
        simulator.script("429_retry_after")
        answer = router.run("write", f"SAY {LONG}")
        assert trail(answer.attempts) == [("start", "sim/small"), ("fault", "sim/other")]


def test_when_retries_are_used_up_another_model_of_the_tier_is_asked(router: Router, simulator: Handle) -> None:
    simulator.script(*["502_provider"] * 3, model="sim/small")
    answer = router.run("write", f"SAY {LONG}")
    assert [on for on, _ in trail(answer.attempts)] == ["start", "retry", "retry", "fault"]
    assert (answer.model, answer.tier, answer.escalated) == ("sim/other", "cheap", False)


def test_a_failover_to_the_next_tier_is_no_escalation(router: Router, simulator: Handle, tmp_path: Path) -> None:
    simulator.script("404_no_endpoints", model="sim/small")
    simulator.script("404_upstream", model="sim/other")
    answer = router.run("write", f"SAY {LONG}")
    assert trail(answer.attempts) == [("start", "sim/small"), ("fault", "sim/other"), ("fault", "sim/large")]
    assert (answer.tier, answer.escalated) == ("premium", False)
    assert router.ledger.flush()
    assert recorded(tmp_path, "escalated, failovers, tier") == [(0, 2, "premium")]


@pytest.mark.parametrize("fault", ["length", "length_as_stop", "reasoning_only"])
@pytest.mark.parametrize("task", ["extract", "write"])
def test_a_cut_off_answer_gets_more_room_on_its_own_tier(
    router: Router, simulator: Handle, fault: str, task: str
) -> None:
    schema = SCHEMA if task == "extract" else None
    simulator.script(fault)
    answer = router.run(task, f"SAY {GOOD}", schema=schema)
    assert trail(answer.attempts) == [("start", "sim/small"), ("cut-off", "sim/small")]
    first, second = answer.attempts
    assert first.outcome.kind == "cut-off"
    assert second.planned.max_tokens > first.planned.max_tokens
    assert not answer.escalated
    assert answer.text == GOOD


def test_an_answer_that_stays_cut_off_is_an_error_that_says_so(router: Router, simulator: Handle) -> None:
    simulator.rates({"length": 1.0})
    with pytest.raises(AnswerCutOff, match="still cut off") as caught:
        router.run("write", f"SAY {LONG}")
    assert {attempt.outcome.kind for attempt in caught.value.attempts} == {"cut-off"}
    assert all(on != "reject" for on, _ in trail(caught.value.attempts))


@pytest.mark.parametrize("fault", ["404_constraint", "400_schema"])
def test_a_refused_schema_is_asked_for_in_a_weaker_form(router: Router, simulator: Handle, fault: str) -> None:
    simulator.script(fault)
    answer = router.run("extract", f"SAY {GOOD}", schema=SCHEMA)
    assert trail(answer.attempts) == [("start", "sim/small"), ("downgrade", "sim/small")]
    assert [attempt.planned.form for attempt in answer.attempts] == ["json_schema", "json_object"]
    assert answer.value == {"name": "Ada", "kind": "b"}


@pytest.mark.parametrize("fault", ["refusal", "schema_ignored", "content_filter"])
def test_a_bad_answer_goes_one_tier_up(router: Router, simulator: Handle, tmp_path: Path, fault: str) -> None:
    simulator.script(fault)
    answer = router.run("extract", f"SAY {GOOD}", schema=SCHEMA)
    assert trail(answer.attempts) == [("start", "sim/small"), ("reject", "sim/large")]
    first, second = (attempt.verdict for attempt in answer.attempts)
    assert first is not None
    assert not first.accept
    assert first.findings
    assert second is not None
    assert second.accept
    assert answer.escalated
    assert "escalated" in answer.why
    assert router.ledger.flush()
    assert recorded(tmp_path, "ending, escalated, tier, attempts") == [("accepted", 1, "premium", 2)]


def test_the_verdict_says_where_the_value_is_wrong(router: Router) -> None:
    answer = router.run("extract", f"SAY {BAD} | {GOOD}", schema=SCHEMA)
    verdict = answer.attempts[0].verdict
    assert verdict is not None
    assert [(finding.code, finding.path) for finding in verdict.findings] == [("schema.enum", ("kind",))]
    assert answer.escalated


def test_a_route_may_ask_the_same_model_again_with_the_verdict(router: Router) -> None:
    answer = router.run("again", f"SAY {BAD} THEN {GOOD}", schema=SCHEMA)
    assert trail(answer.attempts) == [("start", "sim/small"), ("re-ask", "sim/small")]
    assert not answer.escalated
    after = router.run("again", f"SAY {BAD} THEN {BAD} | {GOOD}", schema=SCHEMA)
    assert [on for on, _ in trail(after.attempts)] == ["start", "re-ask", "reject"]


def test_a_last_bad_answer_is_raised_with_its_verdict_or_returned(router: Router, tmp_path: Path) -> None:
    with pytest.raises(AnswerRejected, match=r"schema\.enum") as caught:
        router.run("extract", f"SAY {BAD}", schema=SCHEMA)
    assert caught.value.answer is not None
    assert caught.value.answer.value == {"name": "Ada", "kind": "z"}
    answer = router.run("either", f"SAY {BAD}", schema=SCHEMA)
    assert not answer.verdict.accept
    assert answer.value == {"name": "Ada", "kind": "z"}
    assert router.ledger.flush()
    assert recorded(tmp_path) == [("rejected",), ("returned",)]


def test_a_request_ends_at_its_deadline(simulator: Handle, tmp_path: Path) -> None:
    simulator.rates({"silent": 1.0})
    with make(simulator, tmp_path, "deadline = 0.2") as router, pytest.raises(DeadlineExceeded, match=r"0\.2 s"):
        router.run("write", f"SAY {LONG}")
    assert recorded(tmp_path) == [("deadline",)]


def test_no_attempt_is_made_that_could_cost_more_than_the_ceiling(simulator: Handle, tmp_path: Path) -> None:
    text = f"SAY {BAD} | {GOOD}"
    with make(simulator, tmp_path) as router:
        plan = router.explain("extract", text, schema=SCHEMA)
    (worst,) = [planned.worst_case for planned in plan.attempts if planned.on == "reject"]
    with make(simulator, tmp_path, f"max_cost = {worst}") as router:
        with pytest.raises(CostCeilingReached, match="max_cost") as caught:
            router.run("extract", text, schema=SCHEMA)
        assert trail(caught.value.attempts) == [("start", "sim/small")]  # after it, too little is left for the other
        assert router.run("extract", f"SAY {GOOD}", schema=SCHEMA).cost is not None
    assert recorded(tmp_path) == [("ceiling",), ("accepted",)]


@pytest.mark.parametrize(
    ("fault", "name"),
    [
        ("401", "unauthorized"),
        ("402_empty", "account_dry"),
        ("402_affordability", "payment_required"),
        ("403_moderation", "moderation"),
    ],
)
def test_a_fault_that_no_other_call_can_mend_ends_the_request(
    router: Router, simulator: Handle, fault: str, name: str
) -> None:
    simulator.script(fault)
    with pytest.raises(UpstreamFault) as caught:
        router.run("write", f"SAY {LONG}")
    assert caught.value.fault is not None
    assert caught.value.fault.name == name
    assert len(caught.value.attempts) == 1
    assert caught.value.attempts[0].cost == 0


# Money


def test_the_cost_is_the_sum_of_the_attempts_and_the_baseline_is_premium_alone(
    router: Router, simulator: Handle
) -> None:
    answer = router.run("extract", f"SAY {GOOD}", schema=SCHEMA)
    usage = answer.attempts[0].outcome.usage
    assert usage is not None
    assert answer.cost == billed(simulator)
    assert answer.baseline == Decimal(5 * usage.prompt_tokens + 25 * usage.completion_tokens) / 1_000_000
    assert answer.saved == answer.baseline - answer.cost > 0
    simulator.script("503_overloaded", "length", "schema_ignored")
    dear = router.run("extract", f"SAY {GOOD}", schema=SCHEMA)
    assert [on for on, _ in trail(dear.attempts)] == ["start", "retry", "cut-off", "reject"]
    assert dear.cost == total(attempt.cost for attempt in dear.attempts) == billed(simulator) - answer.cost
    assert dear.attempts[0].cost == 0
    assert dear.baseline == dear.attempts[-1].cost
    assert dear.saved is not None
    assert dear.saved < 0


def test_with_the_callers_own_provider_key_both_parts_of_the_cost_count(tmp_path: Path) -> None:
    with (
        serve_in_thread(Options(models=MODELS, byok=True), answerer=say) as simulator,
        make(simulator, tmp_path) as router,
    ):
        answer = router.run("extract", f"SAY {GOOD}", schema=SCHEMA)
        assert answer.cost == Decimal(simulator.books()["total"]["spent"])
        assert answer.cost > billed(simulator)  # which is the fee alone
        simulator.script("null_cost_details")
        half = router.run("extract", f"SAY {GOOD}", schema=SCHEMA)
        assert half.attempts[0].outcome.reported_cost is None
        assert answer.cost + (half.cost or 0) == Decimal(simulator.books()["total"]["spent"])


def test_a_cost_that_nobody_told_is_unknown_and_not_nothing(router: Router, simulator: Handle, tmp_path: Path) -> None:
    simulator.script("no_usage", "no_cost")
    answer = router.run("extract", f"SAY {GOOD}", schema=SCHEMA)
    assert answer.cost is answer.saved is None
    assert "unknown" in answer.why
    told = router.run("extract", f"SAY {GOOD}", schema=SCHEMA)
    assert told.cost == told.attempts[0].computed_cost  # tokens were told, so our own arithmetic holds
    assert told.attempts[0].outcome.reported_cost is None
    assert router.ledger.flush()
    found = report(tmp_path / "ledger.db").total
    assert (found.unknown_attempts, found.compared, found.cost) == (1, 1, told.cost)


@pytest.mark.parametrize("fault", ["choice_error", "cut_socket", "malformed_body", "stall"])
def test_what_a_broken_answer_cost_is_known_only_when_it_was_told(
    simulator: Handle, tmp_path: Path, fault: str
) -> None:
    simulator.script(fault)
    with make(simulator, tmp_path, "timeouts = { silence = 0.1 }") as router:
        answer = router.run("write", f"SAY {LONG}")
    first = answer.attempts[0]
    assert first.outcome.fault is not None
    assert first.cost == (0 if fault == "choice_error" else None)
    assert first.outcome.generation_id in {line["id"] for line in simulator.books()["generations"]}


def test_forcing_a_tier_or_a_model_is_recorded_and_never_escalates(router: Router, tmp_path: Path) -> None:
    tier = router.run("extract", f"SAY {GOOD}", schema=SCHEMA, tier="premium")
    model = router.run("write", f"SAY {LONG}", model="sim/other")
    assert [(answer.model, answer.forced) for answer in (tier, model)] == [("sim/large", True), ("sim/other", True)]
    with pytest.raises(AnswerRejected) as caught:
        router.run("extract", f"SAY {BAD} | {GOOD}", schema=SCHEMA, tier="cheap")
    assert trail(caught.value.attempts) == [("start", "sim/small")]
    with pytest.raises(RequestError, match='did you mean "cheap"'):
        router.run("write", "SAY x", tier="chep")
    assert router.ledger.flush()
    assert recorded(tmp_path, "forced") == [(1,)] * 3


# Streams


def test_a_passing_stream_is_the_text_in_pieces(router: Router) -> None:
    stream = router.stream("chat", f"SAY {LONG}")
    assert stream.answer is None
    pieces = list(stream)
    assert len(pieces) > 1
    assert stream.answer is not None
    assert "".join(pieces) == stream.answer.text == LONG
    assert stream.answer.attempts[0].outcome.first_token is not None


def test_a_fault_before_the_first_token_of_a_stream_is_not_seen(router: Router, simulator: Handle) -> None:
    simulator.script("200_error_body", "503_unavailable")
    stream = router.stream("chat", f"SAY {LONG}")
    assert "".join(stream) == LONG
    assert stream.answer is not None
    assert [on for on, _ in trail(stream.answer.attempts)] == ["start", "retry", "retry"]


@pytest.mark.parametrize("fault", ["mid_stream_error", "mid_stream_error_text", "cut_socket", "ends_early"])
def test_a_fault_behind_the_first_token_ends_the_stream_with_an_error(
    router: Router, simulator: Handle, tmp_path: Path, fault: str
) -> None:
    simulator.script(fault)
    seen: list[str] = []
    with pytest.raises(UpstreamFault) as caught:
        seen.extend(router.stream("chat", f"SAY {LONG}"))
    assert seen
    assert LONG.startswith("".join(seen))
    assert "".join(seen) != LONG
    assert [attempt.cost for attempt in caught.value.attempts] == [None]  # it may have been billed
    assert router.ledger.flush()
    assert recorded(tmp_path, "ending, cost, unknown_attempts") == [("fault", None, 1)]


@pytest.fixture
def slow() -> Iterator[Handle]:
    """A simulator that takes seconds over an answer."""
    small = SimModel(id="sim/small", input=Decimal("0.1"), output=Decimal("0.2"), latency=Latency(per_token=0.2))
    with serve_in_thread(Options(models=(small, OTHER, LARGE)), answerer=say) as handle:
        yield handle


def settled(simulator: Handle) -> dict[str, Any]:
    """The books once no answer is on its way any more."""
    end = time.monotonic() + 10
    while (books := simulator.books())["open"] and time.monotonic() < end:
        time.sleep(0.01)
    assert not books["open"]
    return books


def refused(simulator: Handle) -> None:
    """Return as soon as a request has met a refusal or silence."""
    end = time.monotonic() + 10
    while not simulator.books()["refused"] and time.monotonic() < end:
        time.sleep(0.01)


def test_leaving_a_stream_early_cancels_the_call_and_is_recorded(slow: Handle, tmp_path: Path) -> None:
    with make(slow, tmp_path) as router:
        for piece in router.stream("chat", f"SAY {LONG}"):
            assert LONG.startswith(piece)
            break
        (line,) = settled(slow)["generations"]
        assert (line["cancelled"], line["delivered"]) == (True, False)
        assert router.ledger.flush()
        assert recorded(tmp_path, "ending, attempts, cost") == [("cancelled", 1, None)]


@pytest.mark.parametrize("closed", [True, False], ids=["closed", "dropped"])
def test_an_asynchronous_stream_may_be_left_too(slow: Handle, tmp_path: Path, closed: bool) -> None:
    async def scenario() -> None:
        async with AsyncRouter(policy(tmp_path), base_url=slow.base_url, ledger=tmp_path / "ledger.db") as own:
            stream = own.stream("chat", f"SAY {LONG}")
            async for piece in stream:
                assert LONG.startswith(piece)
                break
            if closed:
                await stream.aclose()
            del stream
            gc.collect()
            await asyncio.to_thread(settled, slow)

    asyncio.run(scenario())
    (line,) = settled(slow)["generations"]
    assert line["cancelled"]
    assert recorded(tmp_path, "ending, attempts, cost") == [("cancelled", 1, None)]


def test_a_held_stream_shows_only_the_good_answer(router: Router, simulator: Handle) -> None:
    simulator.script("refusal", "mid_stream_error", model="sim/small")
    stream = router.stream("held", f"SAY {LONG}")
    assert "".join(stream) == LONG
    assert stream.answer is not None
    assert stream.answer.escalated
    again = router.stream("held", f"SAY {LONG}")
    assert "".join(again) == LONG
    assert again.answer is not None
    assert [on for on, _ in trail(again.answer.attempts)] == ["start", "retry"]


# Batches, loops and threads


def test_a_batch_keeps_its_order_and_errors_stay_in_their_place(router: Router) -> None:
    items: list[Any] = [f'SAY {{"name": "n{number}", "kind": "a"}}' for number in range(12)]
    items[3] = f"SAY {BAD}"
    items[5] = {"input": f"SAY {GOOD}", "tier": "premium", "feature": "five"}
    items[7] = {"text": "no input"}
    results = router.batch("extract", items, schema=SCHEMA, concurrency=4, feature="all")
    assert [type(results[number]) for number in (3, 7)] == [AnswerRejected, RequestError]
    good = {number: answer for number, answer in enumerate(results) if isinstance(answer, Answer)}
    assert {n: answer.value["name"] for n, answer in good.items() if n != 5} == {
        n: f"n{n}" for n in range(12) if n not in (3, 5, 7)
    }
    assert (good[5].tier, good[5].value["name"]) == ("premium", "Ada")


def test_a_batch_makes_no_more_calls_at_once_than_it_was_told(tmp_path: Path) -> None:
    async def scenario() -> int:
        at_once = most = 0
        arrived = asyncio.Event()

        async def reply(exchange: Exchange) -> None:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            if at_once == 3:
                arrived.set()
            await asyncio.wait_for(arrived.wait(), 10)  # nobody is answered before three are there
            await asyncio.sleep(0.005)
            at_once -= 1
            await exchange.whole(completion(LONG))

        async with listening(reply) as server, AsyncRouter(policy(tmp_path), base_url=server.url, ledger=False) as own:
            results = await own.batch("write", [f"number {n}" for n in range(12)], concurrency=3)
            assert all(isinstance(result, Answer) for result in results)
        return most

    assert asyncio.run(scenario()) == 3


def test_the_synchronous_router_works_inside_a_running_loop(router: Router) -> None:
    async def notebook() -> Answer:
        return router.run("write", f"SAY {LONG}")

    assert asyncio.run(notebook()).text == LONG


def test_threads_may_share_a_router(router: Router, tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        texts = list(threads.map(lambda n: router.run("write", f"SAY number {n}").text, range(40)))
    assert texts == [f"number {n}" for n in range(40)]
    assert router.ledger.flush()
    assert len(recorded(tmp_path)) == 40
    assert sum(thread.name == "cheapfirst" for thread in threading.enumerate()) == 1


def test_a_cancelled_request_is_recorded_as_cancelled(simulator: Handle, tmp_path: Path) -> None:
    simulator.script("silent")

    async def scenario() -> None:
        async with AsyncRouter(policy(tmp_path), base_url=simulator.base_url, ledger=tmp_path / "ledger.db") as own:
            task = asyncio.create_task(own.run("write", f"SAY {LONG}"))
            await asyncio.to_thread(refused, simulator)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    asyncio.run(scenario())
    assert recorded(tmp_path, "ending, attempts, cost, error") == [("cancelled", 1, None, "cancelled")]


def test_a_call_that_never_left_costs_nothing(router: Router) -> None:
    assert router.run("write", f"SAY {LONG}").text == LONG
    router.close()
    with pytest.raises(UpstreamFault, match="make a new one") as caught:
        router.run("write", f"SAY {LONG}")
    assert [attempt.cost for attempt in caught.value.attempts] == [0]


# The caller's own


def test_a_check_of_the_callers_own_decides(simulator: Handle, tmp_path: Path) -> None:
    def polite(value: Any, context: Context) -> str | None:
        assert context.text == value
        return None if "please" in value else "It does not say please."

    with make(simulator, tmp_path) as router:
        answer = router.run("write", "SAY go away | go away, please", checks=[polite])
        assert answer.escalated
        verdict = answer.attempts[0].verdict
        assert verdict is not None
        assert [(f.check, f.sentence) for f in verdict.findings] == [
            ("polite", "Check polite: It does not say please.")
        ]
        several = router.run("write", "SAY short | long enough, please", checks=[polite, {"length": {"min_chars": 9}}])
        found = several.attempts[0].verdict
        assert found is not None
        assert {finding.check for finding in found.findings} == {"polite", "length"}  # all are told


def test_the_callers_wire_fields_go_through_and_unknown_ones_come_back(tmp_path: Path) -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.whole(completion(LONG, x_mood={"warm": [1, None]}))

    async def scenario() -> tuple[Answer, Wire]:
        async with listening(reply) as server, AsyncRouter(policy(tmp_path), base_url=server.url, ledger=False) as own:
            history: list[Wire] = [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": "Hi", "x_seen": True},
            ]
            answer = await own.run("write", history, seed=7, x_future={"deep": [1, {"er": None}]})
            return answer, json.loads(server.seen[0].body)

    answer, sent = asyncio.run(scenario())
    assert (sent["seed"], sent["x_future"]) == (7, {"deep": [1, {"er": None}]})
    assert sent["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hi", "x_seen": True},
    ]
    assert sent["model"] == "sim/small"
    assert "models" not in sent  # not OpenRouter: the array is not its protocol
    assert answer.message["x_mood"] == {"warm": [1, None]}


def test_the_upstreams_own_fallback_is_told_the_tiers_models(simulator: Handle, tmp_path: Path) -> None:
    simulator.script("503_overloaded", model="sim/small")
    with make(simulator, tmp_path, upstream="native_fallback = true") as router:
        answer = router.run("write", f"SAY {LONG}", session="visit-1")
    (attempt,) = answer.attempts  # the upstream itself went on to the other model
    assert (attempt.planned.model, answer.model) == ("sim/small", "sim/other")
    assert answer.cost == billed(simulator) > 0
    (line,) = simulator.books()["generations"]
    assert line["session"] == "visit-1"
    with sqlite3.connect(tmp_path / "ledger.db") as db:
        assert db.execute("SELECT model_asked, model_served FROM attempts").fetchall() == [("sim/small", "sim/other")]


# Secrets


def test_without_a_key_the_error_names_the_variable_and_nothing_is_sent(tmp_path: Path) -> None:
    with Router(policy(tmp_path), ledger=False) as router:
        assert router.explain("write", "hello").attempts  # which needs none
        with pytest.raises(RequestError, match="OPENROUTER_API_KEY") as caught:
            router.run("write", "hello")
    assert "cheapfirst demo" in str(caught.value)


def test_neither_key_nor_message_text_leaves_by_error_ledger_or_journal(tmp_path: Path) -> None:
    said = "the patient is called Ottilie Brandstätter"
    options = Options(models=MODELS, keys=(SECRET,))
    shown: list[str] = []
    with serve_in_thread(options, answerer=say) as simulator:
        with make(simulator, tmp_path, api_key=f"{SECRET}-wrong") as router:
            shown.append(repr(router))
            with pytest.raises(UpstreamFault) as refused:
                router.run("write", f"SAY {said}")
            shown += [str(refused.value), repr(refused.value)]
        with make(simulator, tmp_path, api_key=SECRET) as router:
            simulator.script("400_invalid_request", "refusal", "schema_ignored")
            assert router.ledger.flush()
            with sqlite3.connect(tmp_path / "ledger.db", isolation_level=None) as db:
                db.execute("BEGIN IMMEDIATE")  # so that what is recorded stays in the journal
                answers = [
                    router.run("write", f"SAY {said}"),
                    router.run("extract", f"SAY {said} | {GOOD}", schema=SCHEMA),
                ]
                with pytest.raises(RequestFailed) as rejected:
                    router.run("extract", f"SAY {said}", schema=SCHEMA, source=said)
                written = b"".join(file.read_bytes() for file in journal.directory(tmp_path / "ledger.db").iterdir())
                db.execute("ROLLBACK")
            assert len(answers) == 2
            assert all(answer.request_id.encode() in written for answer in answers)
            assert rejected.value.request_id.encode() in written
            shown += [str(rejected.value), repr(rejected.value)]
    stored = b"".join(file.read_bytes() for file in tmp_path.rglob("ledger.db*") if file.is_file())
    assert answers[0].request_id.encode() in stored
    for secret in (SECRET, said, "Ottilie", "Brandst"):
        assert secret.encode() not in written
        assert secret.encode() not in stored
    for text in shown:
        assert SECRET not in text
        assert "Ottilie" not in text


def test_an_upstream_that_repeats_the_key_in_its_error_does_not_make_us_repeat_it(tmp_path: Path) -> None:
    async def reply(exchange: Exchange) -> None:
        message = (
            f"Bad key {exchange.headers['authorization']} for {json.loads(exchange.body)['messages'][0]['content']}"
        )
        await exchange.whole({"error": {"code": 400, "message": message}}, 400)

    async def scenario() -> CheapfirstError:
        async with (
            listening(reply) as server,
            AsyncRouter(policy(tmp_path), base_url=server.url, api_key=SECRET, ledger=False) as own,
        ):
            with pytest.raises(UpstreamFault) as caught:
                await own.run("write", "Ottilie Brandstätter has a headache")
            return caught.value

    text = str(asyncio.run(scenario()))
    assert "bad_request" in text
    assert SECRET not in text
    assert "Ottilie" not in text


class listening:
    """A loopback server on which every request is answered by `reply`."""

    def __init__(self, reply: Any) -> None:
        self._server = Server(reply)

    async def __aenter__(self) -> Server:
        self._listening = await asyncio.start_server(self._server.serve, "127.0.0.1", 0)
        self._server.url = f"http://127.0.0.1:{self._listening.sockets[0].getsockname()[1]}/api/v1"
        return self._server

    async def __aexit__(self, *_: object) -> None:
        self._listening.close()
