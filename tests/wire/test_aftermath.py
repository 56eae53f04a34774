"""What calls cost that ended without saying so: asked of the upstream, or read to their end; entered once."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cheapfirst import AsyncRouter, Router
from cheapfirst.gateway.server import serve_in_thread as serve_gateway
from cheapfirst.simulator import Options, SimModel, serve_in_thread
from cheapfirst.simulator.models import Latency
from cheapfirst.simulator.thread import Handle
from cheapfirst.upstream.generation import charged, counted
from scripted import Exchange, Server, completion, delta, usage_chunk
from talking import Talk, asking, request

POLICY = """
[tiers]
cheap = "sim/small"
premium = "sim/large"

[routes]
write = { tier = "cheap", shape = "text" }
chat = { tier = "cheap", shape = "stream", stream = "pass" }

[limits]
backoff = 0.001
timeouts = { connect = 2.0, first_token = 5.0, silence = 5.0, total = 20.0 }

[upstream]
native_fallback = true
CANCEL

[models."sim/small"]
input = 0.1
output = 0.2

[models."sim/large"]
input = 5
output = 25
"""
SLOW = Latency(first_token=0.02, per_token=0.02)


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cheapfirst.aftermath.PAUSES", (0.05, 0.1, 0.2, 0.4, 0.8))


def models(**small: Any) -> tuple[SimModel, ...]:
    return (
        SimModel(id="sim/small", input=Decimal("0.1"), output=Decimal("0.2"), latency=SLOW, **small),
        SimModel(id="sim/large", skill="premium", input=Decimal(5), output=Decimal(25)),
    )


@pytest.fixture
def simulator() -> Iterator[Handle]:
    with serve_in_thread(Options(models=models(), generation_delay=0.1)) as handle:
        yield handle


def policy(tmp_path: Path, cancel: str = "") -> Path:
    path = tmp_path / "cheapfirst.toml"
    path.write_text(POLICY.replace("CANCEL", f'cancel = "{cancel}"' if cancel else ""))
    return path


def router(tmp_path: Path, base_url: str, cancel: str = "") -> AsyncRouter:
    return AsyncRouter(policy(tmp_path, cancel), base_url=base_url, ledger=tmp_path / "ledger.db")


def rows(tmp_path: Path, table: str = "attempts") -> list[dict[str, Any]]:
    with sqlite3.connect(tmp_path / "ledger.db") as db:
        db.row_factory = sqlite3.Row
        return [dict(row) for row in db.execute(f"SELECT * FROM {table} ORDER BY rowid" if table == "requests" else
                                                f"SELECT * FROM {table} ORDER BY request_id, number")]  # fmt: skip


def pico(amount: str) -> int:
    return int(Decimal(amount) * 10**12)


async def known(tmp_path: Path, made: AsyncRouter) -> dict[str, Any]:
    """The first request's row, once its cost is known."""
    for _ in range(400):
        await asyncio.to_thread(made.ledger.flush)
        row = rows(tmp_path, "requests")[0]
        if row["cost"] is not None:
            return row
        await asyncio.sleep(0.02)
    raise AssertionError("the cost stayed unknown")


async def first_piece(made: AsyncRouter) -> None:
    """Read the beginning of a stream, and leave."""
    stream = made.stream("chat", "Tell me everything about the parcels of last week, please.")
    async for _ in stream:
        break
    await stream.aclose()


def agree(tmp_path: Path, simulator: Handle) -> None:
    """The ledger says what the books say, generation by generation and in sum."""
    billed = {entry["id"]: pico(entry["spent"]) for entry in simulator.books()["generations"]}
    said = {row["generation_id"]: row["cost"] for row in rows(tmp_path) if row["generation_id"] is not None}
    assert said == billed
    assert sum(row["cost"] for row in rows(tmp_path, "requests")) == sum(billed.values())


async def test_a_stream_that_its_caller_leaves_is_unknown_first_and_then_what_the_books_say(
    tmp_path: Path, simulator: Handle
) -> None:
    async with router(tmp_path, simulator.base_url) as made:
        await first_piece(made)
        await asyncio.to_thread(made.ledger.flush)
        (row,) = rows(tmp_path, "requests")
        assert (row["ending"], row["cost"], row["unknown_attempts"], row["cost_known"]) == ("cancelled", None, 1, 0)
        (attempt,) = rows(tmp_path)
        assert (attempt["fault"], attempt["cost"]) == ("cancelled", None)
        assert attempt["generation_id"].startswith("gen-")
        row = await known(tmp_path, made)
        assert row["cost"] > 0
        assert (row["unknown_attempts"], row["cost_known"], row["ending"]) == (0, row["cost"], "cancelled")
        (attempt,) = rows(tmp_path)
        assert attempt["reported_cost"] == attempt["cost"] == row["cost"]
        assert attempt["completion_tokens"] == row["completion_tokens"] > 0
    agree(tmp_path, simulator)
    assert simulator.books()["total"]["cancelled"] == 1


@pytest.mark.parametrize("byok", [False, True])
@pytest.mark.parametrize("stops", [False, True])
async def test_what_the_upstream_bills_for_a_left_stream_is_recorded_whatever_that_is(
    tmp_path: Path, byok: bool, stops: bool
) -> None:
    options = Options(models=models(cancel_stops_billing=stops), byok=byok)
    with serve_in_thread(options) as simulator:
        async with router(tmp_path, simulator.base_url) as made:
            for _ in range(3):
                await first_piece(made)
            await asyncio.to_thread(made.ledger.flush)
        agree(tmp_path, simulator)  # leaving the router asked once more


async def test_a_client_that_leaves_the_gateway_is_followed_too(tmp_path: Path, simulator: Handle) -> None:
    with serve_gateway(policy(tmp_path), base_url=simulator.base_url, ledger=tmp_path / "ledger.db") as handle:
        host, port = handle.base_url.removeprefix("http://").removesuffix("/v1").split(":")
        reader, writer = await asyncio.open_connection(host, int(port))
        talk = Talk(reader, writer)
        await talk.send(request(asking("chat", stream=True)))
        await talk.piece(await talk.head())
        talk.leave()
        row = await known(tmp_path, handle.gateway.router)
        assert row["ending"] == "cancelled"
    agree(tmp_path, simulator)


async def test_a_whole_answer_that_its_caller_does_not_wait_for_is_read_to_its_end(
    tmp_path: Path, simulator: Handle
) -> None:
    async with router(tmp_path, simulator.base_url) as made:
        task = asyncio.create_task(made.run("write", "Tell me about the parcels of last week, please."))
        while not simulator.books()["requests"]:  # noqa: ASYNC110 - the simulator tells nobody
            await asyncio.sleep(0.005)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert made.upstream.in_flight() == 0
        row = await known(tmp_path, made)
        assert (row["ending"], row["unknown_attempts"]) == ("cancelled", 0)
    (entry,) = simulator.books()["generations"]
    assert (row["cost"], entry["cancelled"]) == (pico(entry["spent"]), False)


async def test_an_attempt_that_broke_off_gets_its_cost_beside_the_one_that_answered(
    tmp_path: Path, simulator: Handle
) -> None:
    simulator.script("ends_early", model="sim/small")
    async with router(tmp_path, simulator.base_url) as made:
        stream = made.stream("write", "Tell me about the parcels of last week, please.")
        text = "".join([piece async for piece in stream])
        assert text
        row = await known(tmp_path, made)
        assert (row["ending"], row["attempts"]) == ("accepted", 2)
    agree(tmp_path, simulator)


async def test_a_process_that_is_killed_before_it_asked_leaves_the_cost_unknown(
    tmp_path: Path, simulator: Handle
) -> None:
    program = (
        "import asyncio, sys, os\n"
        "from cheapfirst import AsyncRouter\n"
        "async def main():\n"
        "    made = AsyncRouter(sys.argv[1], base_url=sys.argv[2], ledger=sys.argv[3])\n"
        "    stream = made.stream('chat', 'Tell me everything about the parcels of last week, please.')\n"
        "    async for _ in stream: break\n"
        "    await stream.aclose()\n"
        "    os.write(1, b'left\\n')\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    given = [os.fspath(policy(tmp_path)), simulator.base_url, os.fspath(tmp_path / "ledger.db")]
    process = await asyncio.to_thread(
        subprocess.Popen[bytes], [sys.executable, "-c", program, *given], stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert await asyncio.to_thread(process.stdout.readline) == b"left\n"
    process.send_signal(signal.SIGKILL)
    process.communicate()
    async with router(tmp_path, simulator.base_url) as made:
        await asyncio.to_thread(made.ledger.flush)
    (row,) = rows(tmp_path, "requests")
    assert (row["ending"], row["cost"], row["unknown_attempts"]) == ("cancelled", None, 1)


# Scripted upstreams


class Scripted:
    """A server that speaks as told, and what it was asked about."""

    def __init__(self, provider: str = "P", *, page: Callable[[int], Any] = lambda _: None, whole: Any = None) -> None:
        self.go = asyncio.Event()  # the answer may end
        self.reached = asyncio.Event()  # its beginning is out
        self.asked: list[str] = []
        self._provider = provider
        self._page = page
        self._whole = whole or completion("Whole")

    async def reply(self, exchange: Exchange) -> None:
        if exchange.line.startswith("GET "):
            self.asked.append(exchange.line.split()[1])
            data = self._page(len(self.asked))
            await (exchange.whole({"data": data}) if data else exchange.whole({"error": {"code": 404}}, 404))
        elif b'"stream":true' in exchange.body:
            await exchange.begin()
            await exchange.events({**delta("Half"), "provider": self._provider})
            self.reached.set()
            await self.go.wait()
            await exchange.events(delta(" more", "stop"), usage_chunk(), "[DONE]")
            await exchange.end()
        else:
            self.reached.set()
            await self.go.wait()
            await exchange.whole(self._whole)


async def left(
    scripted: Scripted, tmp_path: Path, task: str = "chat", *, cancel: str = "", ends: bool = True
) -> Server:
    """Let a caller leave in the middle of an answer, end the answer if it still can, and end the router."""
    server = Server(scripted.reply)
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        base_url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
        async with router(tmp_path, base_url, cancel) as made:
            if task == "chat":
                stream = made.stream("chat", "Hello.")
                async for _ in stream:
                    break
                await stream.aclose()
            else:
                call = asyncio.create_task(made.run("write", "Hello."))
                await scripted.reached.wait()
                call.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await call
            if ends:
                scripted.go.set()
                for _ in range(50):
                    await asyncio.sleep(0.01)
        scripted.go.set()
        await asyncio.wait_for(server.empty.wait(), 10)
    return server


COST = 7_350_000  # picodollars, of USAGE


@pytest.mark.parametrize("provider", ["Groq", "Amazon Bedrock", "google", "Google AI Studio (simulated)"])
async def test_a_stream_of_a_provider_that_bills_on_is_read_to_its_end(tmp_path: Path, provider: str) -> None:
    scripted = Scripted(provider)
    await left(scripted, tmp_path)
    (row,) = rows(tmp_path, "requests")
    assert (row["cost"], row["prompt_tokens"], row["completion_tokens"]) == (COST, 9, 10)
    assert scripted.asked == []


@pytest.mark.parametrize("provider", ["OpenAI", "DeepInfra", "Some new one"])
async def test_a_stream_of_any_other_provider_is_closed_and_asked_about(tmp_path: Path, provider: str) -> None:
    scripted = Scripted(provider, page=lambda time: {"total_cost": 0.5} if time == 3 else None)
    await left(scripted, tmp_path)
    assert scripted.asked == ["/v1/generation?id=gen-1"] * 3
    assert rows(tmp_path, "requests")[0]["cost"] == pico("0.5")


@pytest.mark.parametrize("task", ["chat", "write"])
async def test_the_policy_may_have_every_call_read_to_its_end(tmp_path: Path, task: str) -> None:
    scripted = Scripted("OpenAI")
    await left(scripted, tmp_path, task, cancel="drain")
    assert (rows(tmp_path, "requests")[0]["cost"], scripted.asked) == (COST, [])


@pytest.mark.parametrize("task", ["chat", "write"])
async def test_the_policy_may_have_every_call_closed(tmp_path: Path, task: str) -> None:
    scripted = Scripted("Groq", page=lambda _: {"total_cost": 0.25})
    await left(scripted, tmp_path, task, cancel="close")
    streamed = task == "chat"  # a whole answer has not told its id
    assert rows(tmp_path, "requests")[0]["cost"] == (pico("0.25") if streamed else None)
    assert len(scripted.asked) == streamed


async def test_a_left_call_that_another_model_of_the_tier_answered_is_priced_as_that_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "test_aftermath.POLICY", POLICY.replace('cheap = "sim/small"', 'cheap = ["sim/small", "sim/large"]')
    )
    usage = {"prompt_tokens": 9, "completion_tokens": 10, "total_tokens": 19}  # and no cost
    await left(Scripted(whole={**completion("Whole"), "model": "sim/large", "usage": usage}), tmp_path, "write")
    (row,) = rows(tmp_path)
    assert (row["model_served"], row["cost"]) == ("sim/large", pico("0.000295"))


async def test_an_upstream_that_never_knows_leaves_the_cost_unknown(tmp_path: Path) -> None:
    scripted = Scripted()
    await left(scripted, tmp_path)
    assert len(scripted.asked) >= 2
    assert rows(tmp_path, "requests")[0]["cost"] is None


async def test_a_server_that_is_not_openrouter_is_not_asked(tmp_path: Path) -> None:
    scripted = Scripted("Groq")
    path = policy(tmp_path)
    path.write_text(path.read_text().replace("native_fallback = true", "native_fallback = false"))
    server = Server(scripted.reply)
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        base_url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
        async with AsyncRouter(path, base_url=base_url, ledger=tmp_path / "ledger.db") as made:
            await first_piece(made)
        scripted.go.set()
        await asyncio.wait_for(server.empty.wait(), 10)
    assert scripted.asked == []
    assert rows(tmp_path, "requests")[0]["cost"] is None


@pytest.mark.parametrize("task", ["chat", "write"])
async def test_closing_waits_a_moment_for_a_call_that_is_read_on_and_then_gives_it_up(
    tmp_path: Path, task: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cheapfirst.aftermath.AT_END", 0.2)
    scripted = Scripted("Groq")
    await left(scripted, tmp_path, task, ends=False)
    assert rows(tmp_path, "requests")[0]["cost"] is None


async def test_a_caller_who_leaves_before_anything_was_sent_has_spent_nothing(tmp_path: Path) -> None:
    async with router(tmp_path, "http://127.0.0.1:9/v1") as made:
        task = asyncio.create_task(made.run("write", "Hello."))
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    (row,) = rows(tmp_path, "requests")
    assert (row["ending"], row["cost"], row["unknown_attempts"]) == ("cancelled", 0, 0)


async def test_a_caller_who_leaves_after_the_usage_has_come_leaves_no_question(tmp_path: Path) -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.events(delta("All"), delta(None, "stop"), usage_chunk())
        await exchange.hang()

    server = Server(reply)
    async with await asyncio.start_server(server.serve, "127.0.0.1", 0) as listening:
        base_url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/v1"
        async with router(tmp_path, base_url) as made:
            seen = 0
            items = made.stream("chat", "Hello.")._items
            async for item in items:
                seen += len(item) if isinstance(item, list) else 0
                if seen == 3:
                    break
            await items.aclose()
    assert rows(tmp_path, "requests")[0]["cost"] == COST
    assert len(server.seen) == 1


def test_a_synchronous_router_finds_out_before_it_closes(tmp_path: Path, simulator: Handle) -> None:
    with Router(policy(tmp_path), base_url=simulator.base_url, ledger=tmp_path / "ledger.db") as made:
        stream = made.stream("chat", "Tell me everything about the parcels of last week, please.")
        for _ in stream:
            break
        stream.close()
        while simulator.books()["total"]["cancelled"] + simulator.books()["total"]["delivered"] == 0:
            time.sleep(0.01)
        time.sleep(0.15)
    agree(tmp_path, simulator)


@pytest.mark.parametrize(
    ("data", "cost"),
    [
        ({"total_cost": 0.1}, "0.1"),
        ({"total_cost": 0}, "0"),
        ({"total_cost": 0.1, "is_byok": False, "upstream_inference_cost": 5}, "0.1"),
        ({"total_cost": 0.1, "is_byok": True, "upstream_inference_cost": 5}, "5.1"),
        ({"total_cost": 0.1, "is_byok": True, "upstream_inference_cost": None}, None),
        ({"total_cost": None}, None),
        ({"total_cost": -1}, None),
        ({"total_cost": "x"}, None),
        ({}, None),
    ],
)
def test_a_page_about_an_answer_says_what_it_cost_or_nothing(data: dict[str, Any], cost: str | None) -> None:
    assert charged(data) == (None if cost is None else Decimal(cost))


def test_a_page_about_an_answer_counts_the_tokens_that_were_billed() -> None:
    usage = counted({"native_tokens_prompt": 9, "native_tokens_completion": 8, "native_tokens_cached": 7,
                     "native_tokens_reasoning": 6, "tokens_prompt": 1})  # fmt: skip
    assert usage is not None
    assert (usage.prompt_tokens, usage.completion_tokens, usage.cached_tokens, usage.reasoning_tokens) == (9, 8, 7, 6)
    assert counted({"total_cost": 1}) is None
