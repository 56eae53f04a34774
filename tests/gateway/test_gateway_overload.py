"""More than the gateway can do, an upstream that fails, a stop in the middle, a policy that changes."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sqlite3
import sys
from pathlib import Path

from cheapfirst.gateway import server
from cheapfirst.ledger import journal
from scripted import Exchange, Server, completion, delta, usage_chunk
from talking import POLICY, SECONDS, Talk, asking, request, until, world


class Held:
    """Answers are given when the test says so."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    async def reply(self, exchange: Exchange) -> None:
        await asyncio.wait_for(self.go.wait(), SECONDS)
        await exchange.whole(completion("Hi."))


async def test_what_does_not_fit_waits_and_what_does_not_fit_there_is_turned_away(tmp_path: Path) -> None:
    held = Held()
    async with world(held.reply, tmp_path, settings="\n[gateway]\nrequests = 2\nqueue = 3\n") as made:
        gate = made.handle.gateway.gate
        asked = [asyncio.create_task(made.ask(asking())) for _ in range(5)]
        await until(lambda: (gate.running, gate.waiting) == (2, 3))
        shed = await made.ask(asking())
        assert (shed.status, shed.code) == (503, "overloaded")
        assert int(shed.headers["retry-after"]) >= 1
        assert (await made.ask(path="/health", method="GET")).json["requests"] == {
            "running": 2,
            "waiting": 3,
            "shed": 1,
        }
        assert len(made.server.seen) == 2
        held.go.set()
        assert [said.status for said in await asyncio.gather(*asked)] == [200] * 5
        assert len(made.rows()) == 5


async def test_who_waits_too_long_is_turned_away(tmp_path: Path) -> None:
    held = Held()
    settings = "\n[gateway]\nrequests = 1\nqueue_wait = 0.1\n"
    async with world(held.reply, tmp_path, settings=settings) as made:
        first = asyncio.create_task(made.ask(asking()))
        await until(lambda: made.server.seen)
        late = await made.ask(asking())
        assert (late.status, late.code) == (503, "overloaded")
        assert "gateway.queue_wait" in late.json["error"]["message"]
        held.go.set()
        assert (await first).status == 200


async def test_the_upstream_never_has_more_calls_at_once_than_its_limit(tmp_path: Path) -> None:
    most = now = 0

    async def reply(exchange: Exchange) -> None:
        nonlocal most, now
        now += 1
        most = max(most, now)
        await asyncio.sleep(0.005)
        now -= 1
        await exchange.whole(completion("Hi."))

    async with world(reply, tmp_path, settings="\n[upstream]\nconcurrency = 3\nqueue = 100\n") as made:
        said = await asyncio.gather(*(made.ask(asking()) for _ in range(40)))
        assert {one.status for one in said} == {200}
        assert most == 3


async def test_a_full_queue_to_the_upstream_is_said_at_once(tmp_path: Path) -> None:
    held = Held()
    async with world(held.reply, tmp_path, settings="\n[upstream]\nconcurrency = 1\nqueue = 0\n") as made:
        first = asyncio.create_task(made.ask(asking()))
        await until(lambda: made.server.seen)
        second = await made.ask(asking())
        assert (second.status, second.code) == (503, "upstream_upstream_busy")
        assert "retry-after" in second.headers
        held.go.set()
        assert (await first).status == 200


async def test_a_model_that_keeps_failing_is_left_alone_and_tried_again(tmp_path: Path) -> None:
    broken = True
    asked: list[str] = []

    async def reply(exchange: Exchange) -> None:
        model = json.loads(exchange.body)["model"]
        asked.append(model)
        if broken and model == "sim/small":
            await exchange.whole({"error": {"code": 502, "message": "Provider returned error"}}, 502)
        else:
            await exchange.whole(completion("Hi."))

    settings = "\n[upstream.breaker]\nleast = 5\nshare = 0.5\npause = 0.3\n"
    async with world(reply, tmp_path, settings=settings) as made:
        upstream = made.handle.gateway.router.upstream
        for _ in range(5):
            assert (await made.ask(asking())).trail["model"] == "sim/large"
        assert upstream.breakers()["sim/small"] == "open"
        asked.clear()
        said = await made.ask(asking())
        assert said.status == 200
        assert asked == ["sim/large"]  # the first was not even tried
        assert said.trail["attempts"][0]["fault"] == "breaker_open"
        assert said.trail["attempts"][0]["cost"] == 0
        await until(lambda: upstream.breakers()["sim/small"] == "half-open")
        await made.ask(asking())  # the probe fails
        assert asked.count("sim/small") == 1
        assert upstream.breakers()["sim/small"] != "closed"
        broken = False
        await until(lambda: upstream.breakers()["sim/small"] == "half-open")
        assert (await made.ask(asking())).trail["model"] == "sim/small"
        assert upstream.breakers()["sim/small"] == "closed"


async def test_when_every_model_is_left_alone_the_client_is_told_when_to_come_back(tmp_path: Path) -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.cut()

    settings = "\n[upstream.breaker]\nleast = 2\npause = 30\n"
    async with world(reply, tmp_path, settings=settings) as made:
        for _ in range(3):
            await made.ask(asking())
        said = await made.ask(asking())
        assert (said.status, said.code) == (503, "upstream_breaker_open")
        assert int(said.headers["retry-after"]) >= 1


async def test_a_changed_policy_is_in_force_for_the_next_and_drops_none_that_is_under_way(tmp_path: Path) -> None:
    held = Held()
    async with world(held.reply, tmp_path) as made:
        gateway, file = made.handle.gateway, tmp_path / "cheapfirst.toml"
        before = gateway.router.policy.hash
        under_way = [asyncio.create_task(made.ask(asking())) for _ in range(10)]
        await until(lambda: len(made.server.seen) == 10)
        file.write_text(
            POLICY.replace('cheap = ["sim/small"]', 'cheap = ["sim/new"]') + '\n[models."sim/new"]\ninput = 1\n'
        )
        os.utime(file, (1, 1))
        await until(lambda: gateway.router.policy.hash != before)
        held.go.set()
        old = await asyncio.gather(*under_way)
        assert {said.status for said in old} == {200}
        assert {said.trail["policy"] for said in old} == {before}
        new = await made.ask(asking())
        assert new.trail["policy"] == gateway.router.policy.hash
        assert json.loads(made.server.seen[-1].body)["model"] == "sim/new"
        assert len(made.rows()) == 11


async def test_a_wrong_policy_is_refused_and_said_and_the_old_one_stays(tmp_path: Path) -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.whole(completion("Hi."))

    async with world(reply, tmp_path) as made:
        gateway, file = made.handle.gateway, tmp_path / "cheapfirst.toml"
        before = gateway.router.policy
        for wrong in ("[tiers", POLICY.replace("[routes]", "[roots]"), POLICY + "\n[gateway]\nrequests = -1\n"):
            file.write_text(wrong)
            assert server.reload(gateway) is False
            assert gateway.router.policy is before
        file.unlink()
        assert server.reload(gateway) is False
        assert (await made.ask(asking())).status == 200


async def serve(files: Path, url: str) -> tuple[asyncio.subprocess.Process, str]:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "cheapfirst", "serve", "--port", "0", "--policy", "cheapfirst.toml"),
        *("--ledger", "ledger.db", "--store", "access.db", "--base-url", url),
        stderr=asyncio.subprocess.PIPE,
        cwd=files,
    )
    assert process.stderr is not None
    async with asyncio.timeout(3 * SECONDS):
        async for line in process.stderr:
            if found := re.search(rb"http://[\d.]+:(\d+)", line):
                return process, found[1].decode()
    raise AssertionError("it did not start")


async def test_sigterm_lets_streams_end_turns_others_away_and_brings_the_ledger_in(tmp_path: Path) -> None:
    go = asyncio.Event()

    async def reply(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.events(delta("First."))
        await asyncio.wait_for(go.wait(), SECONDS)
        await exchange.events(delta(" Last."), delta(finish="stop"), usage_chunk(), "[DONE]")
        await exchange.end()

    (tmp_path / "cheapfirst.toml").write_text(POLICY)
    upstream = Server(reply)
    listening = await asyncio.start_server(upstream.serve, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}/api/v1"
    process, port = await serve(tmp_path, url)
    try:
        talks = [Talk(*await asyncio.open_connection("127.0.0.1", int(port))) for _ in range(3)]
        heard = []
        async with asyncio.timeout(SECONDS):
            for talk in talks:
                await talk.send(request(asking("chat", stream=True)))
                heard.append(await talk.head())
                await talk.piece(heard[-1])
            kept = Talk(*await asyncio.open_connection("127.0.0.1", int(port)))
            await kept.send(request(None, path="/health", method="GET"))
            assert (await kept.answer()).status == 200
            process.send_signal(signal.SIGTERM)
            assert await kept.closed()  # nobody can begin anything new on a connection without work
        go.set()
        for talk, said in zip(talks, heard, strict=True):
            async with asyncio.timeout(SECONDS):
                await talk.body(said)
            assert said.text == "First. Last."
            assert said.done
        async with asyncio.timeout(SECONDS):
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
        listening.close()
    with sqlite3.connect(tmp_path / "ledger.db") as db:
        assert db.execute("SELECT count(*), sum(ending = 'accepted') FROM requests").fetchone() == (3, 3)
    assert journal.present(journal.directory(tmp_path / "ledger.db")) == []
