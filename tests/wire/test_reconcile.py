"""The ledger against the upstream's own books: every difference is named, and nothing else is."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from click.testing import CliRunner, Result
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from cheapfirst import Router, catalog
from cheapfirst import policy as policies
from cheapfirst.cli import root
from cheapfirst.errors import LedgerError
from cheapfirst.ledger import Recorder
from cheapfirst.ledger.generations import Generation
from cheapfirst.messages import Usage
from cheapfirst.money import from_pico
from cheapfirst.reconcile import Reconciled, asking, comparing, differences, reconcile
from cheapfirst.reconcile.differences import Said
from cheapfirst.simulator import Options, SimModel, serve_in_thread
from cheapfirst.simulator.thread import Handle
from cheapfirst.upstream import Upstream
from stories import attempt, story

POLICY = """
[tiers]
cheap = "sim/small"
premium = "sim/large"

[routes]
write = { tier = "cheap", shape = "text" }

[limits]
backoff = 0.001

[models."sim/small"]
input = 0.1
output = 0.2

[models."sim/large"]
input = 5
output = 25
"""
MODELS = (
    SimModel(id="sim/small", skill="premium", input=Decimal("0.1"), output=Decimal("0.2")),
    SimModel(id="sim/large", skill="premium", input=Decimal(5), output=Decimal(25)),
)
TOMORROW = 2 * 86_400.0


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(asking, "PAUSE", 0.01)


@pytest.fixture
def policy(tmp_path: Path) -> Path:
    path = tmp_path / "cheapfirst.toml"
    path.write_text(POLICY)
    return path


@pytest.fixture
def ledger(tmp_path: Path) -> Path:
    return tmp_path / "ledger" / "ledger.db"


@pytest.fixture
def simulator() -> Iterator[Handle]:
    with serve_in_thread(Options(models=MODELS)) as handle:
        yield handle


def talk(policy: Path, ledger: Path, base_url: str, *, number: int = 6) -> None:
    with Router(policy, base_url=base_url, ledger=ledger) as router:
        for n in range(number):
            router.run("write", f"Write about parcel {n}, please.")
        router.ledger.flush()


def run(policy: Path, ledger: Path, base_url: str, *words: str) -> Result:
    line = ["ledger", "reconcile", "--ledger", str(ledger), "--policy", str(policy), "--base-url", base_url, *words]
    return CliRunner(env={"COLUMNS": "400"}).invoke(root, line)


def change(ledger: Path, *statements: str) -> None:
    with sqlite3.connect(ledger) as db:
        for statement in statements:
            assert db.execute(statement).rowcount > 0, statement


def ids(ledger: Path) -> list[str]:
    with sqlite3.connect(ledger) as db:
        return [row[0] for row in db.execute("SELECT id FROM requests ORDER BY time, id")]


async def compare(policy: Path, ledger: Path, base_url: str, **more: Any) -> Reconciled:
    loaded = policies.load(policy, base_url=base_url)
    upstream = Upstream(loaded.upstream, api_key="sk-or-v1-test")
    options = {"since": 0.0, "until": time.time() + TOMORROW, "now": time.time() + TOMORROW, **more}
    try:
        return await reconcile(ledger, upstream, catalog.load(loaded.models), base_url=base_url, **options)
    finally:
        await upstream.close()


async def test_books_that_agree_have_no_difference_by_answer_and_by_day(
    policy: Path, ledger: Path, simulator: Handle
) -> None:
    await asyncio.to_thread(talk, policy, ledger, simulator.base_url)
    found = await compare(policy, ledger, simulator.base_url)
    assert (found.calls, found.compared, found.equal, found.kinds) == (6, 6, 6, {})
    billed = Decimal(simulator.books()["total"]["spent"])
    assert found.cost_here == found.cost_there == billed > 0
    assert len(found.days) >= 1
    assert found.notes == []


def test_the_command_says_so_and_ends_with_0(policy: Path, ledger: Path, simulator: Handle) -> None:
    talk(policy, ledger, simulator.base_url)
    result = run(policy, ledger, simulator.base_url, "--since", "1h")
    assert result.exit_code == 0, result.output
    assert "No difference." in result.stdout
    assert "no whole UTC day that is over" in result.stderr


async def test_each_difference_is_named_by_its_kind(policy: Path, ledger: Path, simulator: Handle) -> None:
    await asyncio.to_thread(talk, policy, ledger, simulator.base_url, number=8)
    names = ids(ledger)
    change(
        ledger,
        f"UPDATE attempts SET cost = cost + 1 WHERE request_id = '{names[0]}'",
        f"UPDATE attempts SET prompt_tokens = prompt_tokens + 5 WHERE request_id = '{names[1]}'",
        f"UPDATE attempts SET model_served = 'sim/large' WHERE request_id = '{names[2]}'",
        f"UPDATE attempts SET provider = 'Elsewhere' WHERE request_id = '{names[3]}'",
        f"UPDATE attempts SET generation_id = 'gen-none' WHERE request_id = '{names[4]}'",
        f"UPDATE attempts SET cost = NULL WHERE request_id = '{names[5]}'",
        f"UPDATE attempts SET generation_id = NULL WHERE request_id = '{names[6]}'",
        f"DELETE FROM requests WHERE id = '{names[7]}'",
        f"DELETE FROM attempts WHERE request_id = '{names[7]}'",
    )
    found = await compare(policy, ledger, simulator.base_url)
    of_answers = {one.request_id: one for one in found.differences if one.request_id is not None}
    assert [(name, of_answers[name].kind) for name in names[:6]] == [
        (names[0], "cost"),
        (names[1], "tokens"),
        (names[2], "model"),
        (names[3], "provider"),
        (names[4], "missing_there"),
        (names[5], "cost_unknown_here"),
    ]
    assert of_answers[names[0]].amount == Decimal("-0.000000000001")
    assert (found.calls, found.without_id, found.compared, found.equal) == (7, 1, 6, 0)
    # By day, the upstream has calls of sim/small that the ledger lacks, and none of sim/large.
    by_day = {(one.model, one.kind) for one in found.differences if one.date is not None}
    assert by_day == {("sim/small", "missing_here"), ("sim/large", "day_missing_there")}
    assert {kind: sums.count for kind, sums in found.kinds.items()} == {
        "cost": 1, "tokens": 1, "model": 1, "provider": 1, "missing_there": 1, "cost_unknown_here": 1,
        "missing_here": 1, "day_missing_there": 1,
    }  # fmt: skip


def test_the_command_names_differences_and_ends_with_1(policy: Path, ledger: Path, simulator: Handle) -> None:
    talk(policy, ledger, simulator.base_url)
    name = ids(ledger)[0]
    change(ledger, f"UPDATE attempts SET cost = cost + 1000000000 WHERE request_id = '{name}'")
    shown = run(policy, ledger, simulator.base_url)
    assert shown.exit_code == 1
    assert name in shown.stdout
    told = run(policy, ledger, simulator.base_url, "--json")
    assert told.exit_code == 1
    found = json.loads(told.stdout)
    assert found["kinds"]["cost"] == {"count": 1, "amount": "-0.001000000000"}
    assert found["differences"][0]["request_id"] == name


def test_costs_that_are_unknown_here_are_entered_when_asked_for(policy: Path, ledger: Path, simulator: Handle) -> None:
    simulator.rates({"no_usage": 1.0})
    talk(policy, ledger, simulator.base_url)
    billed = simulator.books()["total"]
    with sqlite3.connect(ledger) as db:
        assert db.execute("SELECT count(*) FROM requests WHERE cost IS NULL").fetchone() == (6,)
    without = run(policy, ledger, simulator.base_url)
    assert without.exit_code == 1
    fixed = run(policy, ledger, simulator.base_url, "--fix", "--json")
    assert json.loads(fixed.stdout)["fixed"] == 6
    with sqlite3.connect(ledger) as db:
        total = db.execute("SELECT sum(cost), sum(prompt_tokens), sum(unknown_attempts) FROM requests").fetchone()
    assert total == (int(Decimal(billed["spent"]) * 10**12), billed["prompt_tokens"], 0)
    assert run(policy, ledger, simulator.base_url).exit_code == 0


class Pages:
    """An upstream that has a page about each answer, and counts who asks."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.at_once = 0
        self.most = 0
        self.refuse: dict[str, list[web.Response]] = {}  # by id: what comes before the page
        self.always: web.Response | None = None
        self.activity = 403
        self.halfway = asyncio.Event()  # 40 pages were asked for

    async def generation(self, request: web.Request) -> web.Response:
        id = request.query["id"]
        self.asked.append(id)
        if len(self.asked) == 40:
            self.halfway.set()
        self.at_once += 1
        self.most = max(self.most, self.at_once)
        try:
            await asyncio.sleep(0.005)
            if self.always is not None:
                return web.Response(status=self.always.status, body=b"{}", headers=self.always.headers)
            if self.refuse.get(id):
                return self.refuse[id].pop(0)
            data = {"id": id, "model": "sim/small", "total_cost": 0.000002, "native_tokens_prompt": 100}
            return web.json_response({"data": {**data, "native_tokens_completion": 20, "provider_name": "Sim"}})
        finally:
            self.at_once -= 1

    async def days(self, request: web.Request) -> web.Response:
        return web.json_response({"error": {"code": self.activity, "message": "management key"}}, status=self.activity)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        made = web.Application()
        made.router.add_get("/v1/generation", self.generation)
        made.router.add_get("/v1/activity", self.days)
        runner = web.AppRunner(made)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        finally:
            await runner.cleanup()


def told(ledger: Path, count: int, *, time: float = 1_790_000_000.0) -> None:
    """Requests of one call each, whose ids are gen-0 and so on."""
    recorder = Recorder(ledger)
    for n in range(count):
        one = attempt(model="sim/small", generation_id=f"gen-{n}")
        recorder.record(story(one, id=f"req_{n:05d}", time=time + n))
    recorder.close()


def too_many() -> web.Response:
    return web.json_response({"error": {"code": 429}}, status=429, headers={"Retry-After": "0.05"})


async def test_an_upstream_that_is_asked_too_often_is_asked_again_and_never_by_more_than_eight(
    policy: Path, ledger: Path
) -> None:
    told(ledger, 60)
    pages = Pages()
    pages.refuse = {f"gen-{n}": [too_many(), too_many()] for n in range(0, 60, 3)}
    async with pages.serving() as base_url:
        found = await compare(policy, ledger, base_url)
    assert (found.compared, found.equal, found.not_asked) == (60, 60, {})
    assert len(pages.asked) == 60 + 2 * 20
    assert 1 < pages.most <= comparing.AT_ONCE


async def test_a_comparison_that_was_interrupted_does_not_ask_again_for_what_it_knows(
    policy: Path, ledger: Path
) -> None:
    told(ledger, 80)
    pages = Pages()
    async with pages.serving() as base_url:
        first = asyncio.create_task(compare(policy, ledger, base_url))
        await asyncio.wait_for(pages.halfway.wait(), 30)
        first.cancel()
        with pytest.raises(asyncio.CancelledError):
            await first
        before = len(pages.asked)
        assert before < 80
        found = await compare(policy, ledger, base_url)
        assert (found.compared, found.equal) == (80, 80)
        assert len(pages.asked) - before <= 80 - before + comparing.AT_ONCE
        count = len(pages.asked)
        await compare(policy, ledger, base_url)
        assert len(pages.asked) == count
        await compare(policy, ledger, base_url, again=True)
        assert len(pages.asked) == count + 80


async def test_a_page_that_is_not_there_yet_is_waited_for_while_the_answer_is_young(policy: Path, ledger: Path) -> None:
    told(ledger, 1, time=time.time())
    pages = Pages()
    pages.refuse = {"gen-0": [web.Response(status=404), web.Response(status=404)]}
    async with pages.serving() as base_url:
        found = await compare(policy, ledger, base_url, now=time.time() + 1)
    assert (found.compared, found.equal) == (1, 1)


async def test_an_old_answer_without_a_page_is_missing_at_once(policy: Path, ledger: Path) -> None:
    told(ledger, 1)
    pages = Pages()
    pages.always = web.Response(status=404)
    async with pages.serving() as base_url:
        found = await compare(policy, ledger, base_url)
    assert [one.kind for one in found.differences] == ["missing_there"]
    assert len(pages.asked) == 1


async def test_pages_that_do_not_come_are_counted_by_their_fault(
    policy: Path, ledger: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(asking, "TRIES", 2)
    told(ledger, 3)
    pages = Pages()
    pages.always = web.Response(status=503)
    async with pages.serving() as base_url:
        found = await compare(policy, ledger, base_url)
        result = await asyncio.to_thread(run, policy, ledger, base_url)
    assert found.compared == 0
    assert sum(found.not_asked.values()) == 3
    assert result.exit_code == 1


async def test_a_key_that_is_refused_ends_the_comparison_with_the_reason(policy: Path, ledger: Path) -> None:
    told(ledger, 30)
    pages = Pages()
    pages.always = web.Response(status=401)
    async with pages.serving() as base_url:
        with pytest.raises(LedgerError, match="unauthorized"):
            await compare(policy, ledger, base_url)
    assert len(pages.asked) <= comparing.AT_ONCE


async def test_an_activity_that_wants_another_key_is_a_note_and_no_difference(policy: Path, ledger: Path) -> None:
    told(ledger, 1)
    pages = Pages()
    async with pages.serving() as base_url:
        found = await compare(policy, ledger, base_url)
    assert found.kinds == {}
    assert "--management-key-env" in found.notes[0]


def test_a_key_variable_that_is_named_and_not_set_is_refused(policy: Path, ledger: Path) -> None:
    result = run(policy, ledger, "http://127.0.0.1:9/v1", "--api-key-env", "NO_SUCH_VARIABLE_HERE")
    assert result.exit_code == 1
    assert "NO_SUCH_VARIABLE_HERE" in str(result.exception)


def test_imported_requests_are_not_the_upstreams_to_know(policy: Path, ledger: Path, simulator: Handle) -> None:
    log = policy.with_name("log.jsonl")
    usage = {"prompt_tokens": 1, "completion_tokens": 1, "cost": 1}
    log.write_text(json.dumps({"id": "gen-x", "created": 1790000000, "model": "sim/small", "usage": usage}) + "\n")
    line = ["ledger", "import", "--from", "openai", str(log), "--ledger", str(ledger), "--policy", str(policy)]
    assert CliRunner().invoke(root, line).exit_code == 0
    result = run(policy, ledger, simulator.base_url, "--json")
    assert (result.exit_code, json.loads(result.stdout)["calls"]) == (0, 0)


TOKENS = st.integers(0, 10**9)
GENERATIONS = st.builds(
    Generation,
    request_id=st.just("req_1"),
    number=st.just(1),
    time=st.floats(0, 2e9),
    generation_id=st.just("gen-1"),
    model_asked=st.just("sim/small"),
    model_served=st.sampled_from(["sim/small", "sim/large"]),
    provider=st.sampled_from(["Sim", "Other", None]),
    outcome=st.just("answer"),
    prompt_tokens=TOKENS,
    completion_tokens=TOKENS,
    cached_tokens=TOKENS,
    reasoning_tokens=TOKENS,
    cost=st.integers(0, 10**15),
)


def page_of(here: Generation) -> Said:
    counts = {name: getattr(here, name) for name in ("prompt_tokens", "completion_tokens")}
    usage = Usage(**counts, cached_tokens=here.cached_tokens or 0, reasoning_tokens=here.reasoning_tokens or 0)
    return Said(id="gen-1", model=here.model_served, provider=here.provider, cost=from_pico(here.cost), usage=usage)


KNOWN = catalog.load()


@given(here=GENERATIONS)
def test_a_page_that_says_the_same_is_no_difference(here: Generation) -> None:
    assert list(differences.of_generation(here, page_of(here), KNOWN)) == []


@given(here=GENERATIONS, more=st.integers(1, 10**6), name=st.sampled_from(["cost", "prompt_tokens", "cached_tokens"]))
def test_the_smallest_change_of_one_figure_is_that_difference_and_no_other(
    here: Generation, more: int, name: str
) -> None:
    other = structs.replace(here, **{name: getattr(here, name) + more})
    (found,) = differences.of_generation(other, page_of(here), KNOWN)
    assert found.kind == ("cost" if name == "cost" else "tokens")
    assert found.amount == (from_pico(-more) if name == "cost" else None)
