"""A client that leaves stops the work that was done for it, and what it cost is on record."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import pytest

from scripted import Exchange, completion, delta
from talking import POLICY, SECONDS, World, asking, request, until, world

SLOW_RETRY = POLICY.replace("retries = 0\nbackoff = 0.001", "retries = 3\nbackoff = 0.001")


def more_than(made: World, calls: int) -> bool:
    return len(made.server.seen) > calls


async def hang(exchange: Exchange) -> None:
    await exchange.hang()


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("task", ["write", "chat"])
async def test_leaving_before_the_first_byte_ends_the_upstream_call(tmp_path: Path, task: str, stream: bool) -> None:
    async with world(hang, tmp_path) as made:
        async with made.talk() as talk:
            await talk.send(request(asking(task, stream=stream)))
            await until(lambda: made.server.seen)
            talk.leave()
        await asyncio.wait_for(made.server.left.wait(), SECONDS)
        row = await made.row()
        assert row["ending"] == "cancelled"
        assert row["cost"] is None  # it may have been billed
        (attempt,) = made.rows("attempts")
        assert attempt["fault"] == "cancelled"
        assert attempt["cost"] is None
        assert len(made.server.seen) == 1


@pytest.mark.parametrize("task", ["write", "chat"])
async def test_leaving_in_the_middle_of_a_stream_ends_the_upstream_call(tmp_path: Path, task: str) -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.events(delta("Half"))
        await exchange.hang()

    async with world(reply, tmp_path, settings="\n[gateway]\nkeep_alive = 0.02\n") as made:
        async with made.talk() as talk:
            await talk.send(request(asking(task, stream=True)))
            said = await talk.head()
            await talk.piece(said)
            talk.leave()
        await asyncio.wait_for(made.server.left.wait(), SECONDS)
        row = await made.row()
        assert row["ending"] == "cancelled"
        (attempt,) = made.rows("attempts")
        assert attempt["fault"] == "cancelled"


async def test_a_client_that_closes_its_half_of_the_connection_has_left(tmp_path: Path) -> None:
    async with world(hang, tmp_path) as made:
        async with made.talk() as talk:
            await talk.send(request(asking()))
            await until(lambda: made.server.seen)
            talk.writer.close()
        await asyncio.wait_for(made.server.left.wait(), SECONDS)
        assert (await made.row())["ending"] == "cancelled"


async def test_no_attempt_is_started_for_a_client_that_left_while_a_retry_was_waited_for(tmp_path: Path) -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.whole({"error": {"code": 429, "message": "slow down"}}, 429, retry_after="5")

    async with world(reply, tmp_path, SLOW_RETRY) as made:
        async with made.talk() as talk:
            await talk.send(request(asking()))
            upstream = made.handle.gateway.router.upstream
            await until(lambda: made.server.seen and not upstream.in_flight())  # the refusal was read: now it waits
            talk.leave()
        row = await made.row()
        await made.quiet()
        assert row["ending"] == "cancelled"
        assert len(made.server.seen) == 1
        assert [attempt["cost"] for attempt in made.rows("attempts")] == [0]


@pytest.mark.parametrize("part", [b"", b"POST /v1/chat", b"POST /v1/chat/completions HTTP/1.1\r\nhost: a\r\n"])
async def test_leaving_inside_the_head_leaves_nothing_behind(tmp_path: Path, part: bytes) -> None:
    async with world(hang, tmp_path) as made:
        async with made.talk() as talk:
            await talk.send(part)
            talk.leave()
        await made.quiet()
        assert (await made.ask(path="/health/live", method="GET")).status == 200
        assert made.server.seen == []
        assert made.rows() == []


async def test_leaving_inside_the_body_leaves_nothing_behind(tmp_path: Path) -> None:
    async with world(hang, tmp_path) as made:
        whole = request(asking())
        async with made.talk() as talk:
            await talk.send(whole[:-20])
            await until(lambda: made.handle.gateway.gate.running)
            talk.leave()
        await made.quiet()
        assert made.server.seen == []
        assert made.rows() == []


async def test_a_connection_serves_the_next_client_after_another_left(tmp_path: Path) -> None:
    async def reply(exchange: Exchange) -> None:
        if b"stay" in exchange.body:
            await exchange.whole(completion("Here."))
        else:
            await exchange.hang()

    async with world(reply, tmp_path) as made:
        for turn in range(5):
            async with made.talk() as talk:
                await talk.send(request(asking()))
                await until(partial(more_than, made, 2 * turn))
                talk.leave()
            said = await made.ask(asking(text="stay"))
            assert said.status == 200
        await made.quiet()
        endings = sorted(row["ending"] for row in made.rows())
        assert endings == ["accepted"] * 5 + ["cancelled"] * 5


async def test_a_client_that_leaves_while_it_waits_for_a_place_gives_it_up(tmp_path: Path) -> None:
    async with world(hang, tmp_path, settings="\n[gateway]\nrequests = 1\n") as made:
        gate = made.handle.gateway.gate
        async with made.talk() as first, made.talk() as second:
            await first.send(request(asking()))
            await until(lambda: made.server.seen)
            await second.send(request(asking()))
            await until(lambda: gate.waiting)
            second.leave()
            first.leave()
        await made.quiet()
        assert len(made.server.seen) == 1  # the second was never started
