"""Streams through the gateway: what comes when, and that no end can be mistaken."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from cheapfirst.messages import Wire
from scripted import USAGE, Exchange, completion, delta, usage_chunk
from talking import POLICY, SECONDS, Said, asking, request, world

SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "person",
        "schema": {
            "type": "object",
            "properties": {"name": {"type": "string"}},
            "required": ["name"],
            "additionalProperties": False,
        },
    },
}
TEXT = "Grüße aus Köln, schöne Äpfel 🍏 für 4 €."


def good(text: str = TEXT, *, size: int = 7) -> list[Wire | str]:
    pieces = [text[at : at + size] for at in range(0, len(text), size)]
    return [*(delta(piece) for piece in pieces), delta(finish="stop"), usage_chunk(), "[DONE]"]


def model_of(exchange: Exchange) -> str:
    return str(json.loads(exchange.body)["model"])


def well_ended(said: Said) -> bool:
    """Either the protocol's end or an error, and never both."""
    errors = [chunk for chunk in said.chunks if "error" in chunk]
    return said.whole and (said.done != bool(errors)) and len(errors) <= 1


async def test_a_pass_stream_shows_each_piece_before_the_next_was_made(tmp_path: Path) -> None:
    seen = asyncio.Event()

    async def reply(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.events(delta("First."))
        await asyncio.wait_for(seen.wait(), SECONDS)
        await exchange.events(*good(" Second."))
        await exchange.end()

    async with world(reply, tmp_path) as made, made.talk() as talk:
        await talk.send(request(asking("chat", stream=True)))
        async with asyncio.timeout(SECONDS):
            said = await talk.head()
            while "First." not in said.text:
                await talk.piece(said)
        seen.set()
        await talk.body(said)
        assert said.text == "First. Second."
        assert said.done
        assert said.headers["x-cheapfirst-request-id"] == said.trail["request_id"]
        assert said.trail["accepted"] is True
        assert said.headers["content-type"].startswith("text/event-stream")


async def test_a_hold_stream_shows_nothing_of_the_answer_that_was_rejected(tmp_path: Path) -> None:
    async def reply(exchange: Exchange) -> None:
        text = '{"name": 7}' if model_of(exchange) == "sim/small" else '{"name": "Ada"}'
        await exchange.streamed(*good(text))

    async with world(reply, tmp_path) as made:
        said = await made.ask(asking("extract", stream=True, response_format=SCHEMA))
        assert json.loads(said.text) == {"name": "Ada"}
        assert said.done
        assert said.trail["escalated"] is True
        assert [attempt.get("accepted") for attempt in said.trail["attempts"]] == [False, True]


@pytest.mark.parametrize("task", ["chat", "write"])
@pytest.mark.parametrize("how", ["status", "hang up", "error event", "empty", "comments"])
async def test_a_fault_before_the_first_byte_fails_over_silently(tmp_path: Path, task: str, how: str) -> None:
    async def reply(exchange: Exchange) -> None:
        if model_of(exchange) == "sim/large":
            await exchange.streamed(*good())
        elif how == "status":
            await exchange.whole({"error": {"code": 502, "message": "Provider returned error"}}, 502)
        elif how == "hang up":
            await exchange.cut()
        else:
            await exchange.begin()
            if how == "error event":
                await exchange.events({"id": "gen-1", "error": {"code": 502, "message": "broke"}, "choices": []})
            elif how == "comments":
                await exchange.piece(b": OPENROUTER PROCESSING\n\n")
                await exchange.events(delta(""))
            await exchange.end()

    async with world(reply, tmp_path) as made:
        said = await made.ask(asking(task, stream=True))
        assert said.status == 200
        assert said.text == TEXT
        assert said.done
        assert "error" not in said.data.decode()
        assert said.trail["model"] == "sim/large"
        assert "fault" in said.trail["attempts"][0]


@pytest.mark.parametrize("how", ["hang up", "error event", "clean end", "garbage", "silence"])
async def test_a_fault_after_the_first_byte_of_a_pass_stream_ends_it_with_an_error_and_no_done(
    tmp_path: Path, how: str
) -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.events(delta("Half an ans"))
        if how == "hang up":
            await exchange.cut()
        elif how == "silence":
            await exchange.hang()
        else:
            if how == "error event":
                await exchange.events({"id": "gen-1", "error": {"code": 502, "message": "broke"}, "choices": []})
            elif how == "garbage":
                await exchange.piece(b"data: {broken\n\n")
            await exchange.end()

    settings = "\n[limits.timeouts]\nsilence = 0.2\n"
    async with world(reply, tmp_path, settings=settings) as made:
        said = await made.ask(asking("chat", stream=True))
        assert said.status == 200
        assert said.text == "Half an ans"
        assert not said.done
        assert well_ended(said)
        last = said.chunks[-1]
        assert last["choices"][0]["finish_reason"] == "error"
        assert last["error"]["code"].startswith("upstream_")
        assert last["cheapfirst"]["attempts"][0]["fault"]
        assert len(made.server.seen) == 1
        assert (await made.row())["ending"] == "fault"


async def test_the_in_band_error_is_one_that_the_openai_client_raises(tmp_path: Path) -> None:
    import openai

    async def reply(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.events(delta("Half"))
        await exchange.end()

    async with (
        world(reply, tmp_path) as made,
        openai.AsyncOpenAI(base_url=made.handle.base_url, api_key="none", max_retries=0) as client,
    ):
        stream = await client.chat.completions.create(
            model="chat", messages=[{"role": "user", "content": "hello"}], stream=True
        )
        with pytest.raises(openai.APIError, match="cut"):
            async for _ in stream:
                pass


async def test_a_fault_in_a_hold_stream_fails_over_even_in_the_middle(tmp_path: Path) -> None:
    async def reply(exchange: Exchange) -> None:
        if model_of(exchange) == "sim/large":
            await exchange.streamed(*good())
            return
        await exchange.begin()
        await exchange.events(delta("Half an ans"))
        await exchange.cut()

    async with world(reply, tmp_path) as made:
        said = await made.ask(asking("write", stream=True))
        assert said.text == TEXT
        assert said.done


async def test_a_hold_stream_sends_comments_while_it_waits(tmp_path: Path) -> None:
    enough = asyncio.Event()

    async def reply(exchange: Exchange) -> None:
        await exchange.begin()
        await asyncio.wait_for(enough.wait(), SECONDS)
        await exchange.events(*good())
        await exchange.end()

    async with world(reply, tmp_path, settings="\n[gateway]\nkeep_alive = 0.02\n") as made, made.talk() as talk:
        await talk.send(request(asking("write", stream=True)))
        async with asyncio.timeout(SECONDS):
            said = await talk.head()
            while said.data.count(b": keep-alive\n\n") < 3:
                await talk.piece(said)
        assert said.data.replace(b": keep-alive\n\n", b"") == b""
        enough.set()
        await talk.body(said)
        assert said.text == TEXT
        assert said.done


async def test_an_error_after_a_comment_is_said_inside_the_stream(tmp_path: Path) -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.hang()

    settings = "\n[gateway]\nkeep_alive = 0.02\n[limits.timeouts]\nfirst_token = 0.1\n"
    async with world(reply, tmp_path, settings=settings) as made:
        said = await made.ask(asking("write", stream=True))
        assert said.status == 200
        assert well_ended(said)
        assert not said.done
        assert said.chunks[-1]["error"]["code"] == "upstream_silent"


@pytest.mark.parametrize("task", ["chat", "write"])
@pytest.mark.parametrize("form", ["own chunk", "on the finish"])
@pytest.mark.parametrize("wanted", [True, False])
async def test_usage_comes_as_a_last_chunk_of_its_own_when_it_was_asked_for(
    tmp_path: Path, task: str, form: str, wanted: bool
) -> None:
    async def reply(exchange: Exchange) -> None:
        if form == "own chunk":
            await exchange.streamed(*good())
        else:
            await exchange.streamed(
                delta(TEXT), delta(finish="stop"), {**delta(finish="stop"), "usage": USAGE}, "[DONE]"
            )

    async with world(reply, tmp_path) as made:
        options: Any = {"stream_options": {"include_usage": True}} if wanted else {}
        said = await made.ask(asking(task, stream=True, **options))
        assert said.text == TEXT
        assert said.done
        used = [chunk for chunk in said.chunks if chunk.get("usage")]
        assert len(used) == wanted
        if wanted:
            assert used == said.chunks[-1:]
            assert used[0]["choices"] == []
            assert used[0]["usage"]["prompt_tokens"] == USAGE["prompt_tokens"]
        finishes = [c["finish_reason"] for chunk in said.chunks for c in chunk["choices"] if c["finish_reason"]]
        assert finishes == ["stop"]
        assert (await made.row())["cost"] == 7_350_000  # picodollars, asked for or not


@pytest.mark.parametrize("task", ["chat", "write"])
@pytest.mark.parametrize("cut", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
async def test_however_the_bytes_were_cut_the_text_is_whole(tmp_path: Path, task: str, cut: int, ending: str) -> None:
    lines: list[str] = []
    for chunk in good(size=5):
        text = chunk if isinstance(chunk, str) else json.dumps(chunk, ensure_ascii=False)
        lines += [": a comment", f"data: {text}", "", ":", ""]
    data = ending.join([*lines, ""]).encode()

    async def reply(exchange: Exchange) -> None:
        await exchange.begin()
        pieces = [data[at : at + cut] for at in range(0, len(data), cut)]
        await exchange.raw(b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces))
        await exchange.end()

    async with world(reply, tmp_path) as made:
        said = await made.ask(asking(task, stream=True))
        assert said.text == TEXT
        assert said.done


@pytest.mark.parametrize(
    ("limits", "code"),
    [
        ("[limits.timeouts]\nfirst_token = 0.1", "upstream_silent"),
        ("[limits.timeouts]\ntotal = 0.1", "upstream_silent"),
    ],
)
async def test_a_stream_that_never_begins_is_given_up(tmp_path: Path, limits: str, code: str) -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.hang()

    async with world(reply, tmp_path, settings=f"\n{limits}\n") as made:
        said = await made.ask(asking("chat", stream=True))
        assert said.status == 504
        assert said.code == code
        assert said.headers["content-type"] == "application/json"


async def test_the_requests_deadline_bounds_all_attempts_together(tmp_path: Path) -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.hang()

    policy = POLICY.replace("deadline = 8.0", "deadline = 0.2")
    async with world(reply, tmp_path, policy) as made:
        for body in (asking("chat", stream=True), asking()):
            said = await made.ask(body)
            assert said.status == 504
            assert said.code == "deadline_exceeded"


@pytest.mark.parametrize(
    ("limits", "fault"), [("silence = 0.1", "stalled"), ("total = 0.2", "total_timeout")], ids=["silence", "total"]
)
async def test_a_stream_that_stops_is_ended_with_an_error(tmp_path: Path, limits: str, fault: str) -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.events(delta("Half"))
        await exchange.hang()

    async with world(reply, tmp_path, settings=f"\n[limits.timeouts]\n{limits}\n") as made:
        said = await made.ask(asking("chat", stream=True))
        assert said.text == "Half"
        assert well_ended(said)
        assert said.chunks[-1]["error"]["code"] == f"upstream_{fault}"


async def test_an_upstream_that_answers_a_stream_whole_is_streamed_all_the_same(tmp_path: Path) -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.whole(completion(TEXT))

    async with world(reply, tmp_path) as made:
        for task in ("chat", "write"):
            said = await made.ask(asking(task, stream=True))
            assert said.text == TEXT
            assert said.done
            assert said.trail["accepted"] is True


async def test_fields_that_nobody_knows_flow_through_a_stream(tmp_path: Path) -> None:
    async def reply(exchange: Exchange) -> None:
        odd = {
            **delta("Hello", reasoning_details=[{"type": "x", "data": "y"}], novelty=1),
            "unknown": {"deep": [1, None]},
        }
        odd["choices"][0]["logprobs"] = {"content": [{"token": "Hello", "logprob": -0.5}]}
        await exchange.streamed(odd, delta(finish="stop"), usage_chunk(), "[DONE]")

    async with world(reply, tmp_path) as made:
        said = await made.ask(asking("chat", stream=True))
        first = said.chunks[0]
        assert first["unknown"] == {"deep": [1, None]}
        assert first["choices"][0]["delta"]["novelty"] == 1
        assert first["choices"][0]["delta"]["reasoning_details"] == [{"type": "x", "data": "y"}]
        assert first["choices"][0]["logprobs"]["content"][0]["logprob"] == -0.5
        assert said.done


async def test_a_slow_reader_gets_all_of_a_long_stream(tmp_path: Path) -> None:
    long = "x" * 2000

    async def reply(exchange: Exchange) -> None:
        await exchange.streamed(*[delta(long)] * 1000, delta(finish="stop"), usage_chunk(), "[DONE]")

    async with world(reply, tmp_path) as made, made.talk() as talk:
        await talk.send(request(asking("chat", stream=True)))
        async with asyncio.timeout(SECONDS):
            said = await talk.head()
            await asyncio.sleep(0.3)  # nothing is read meanwhile, so buffers fill and the gateway has to wait
            await talk.body(said)
        assert len(said.text) == 2_000_000
        assert said.done


@pytest.mark.parametrize("task", ["chat", "write"])
@pytest.mark.parametrize("form", ["no finish reason", "an error for a cut-off", "an error beside it"])
async def test_every_stream_that_ends_well_has_one_finish_reason_and_the_trail(
    tmp_path: Path, task: str, form: str
) -> None:
    async def reply(exchange: Exchange) -> None:
        error = {"error": {"code": 400, "message": "Token limit reached"}}
        if form == "no finish reason":
            last = delta()
            last["choices"][0]["native_finish_reason"] = "stop"
            ends = [last]
        elif form == "an error for a cut-off":
            ends = [
                {**delta(finish="error"), "error": {"code": 400, "metadata": {"error_type": "max_tokens_exceeded"}}}
            ]
        else:
            ends = [delta(finish="length"), {**delta(), **error}]
        await exchange.streamed(delta(TEXT), *ends, "[DONE]")

    async with world(reply, tmp_path) as made:
        said = await made.ask(asking(task, stream=True, max_tokens=30))
        finishes = [c["finish_reason"] for chunk in said.chunks for c in chunk["choices"] if c["finish_reason"]]
        assert finishes == ["stop" if form == "no finish reason" else "length"]
        assert said.done
        assert said.text == TEXT
        assert '"error":' not in said.data.decode()
        assert said.trail["attempts"]


async def test_an_error_inside_an_answer_that_had_begun_may_have_been_billed(tmp_path: Path) -> None:
    async def reply(exchange: Exchange) -> None:
        if model_of(exchange) == "sim/large":
            await exchange.streamed(*good())
        else:
            error = {"code": 400, "message": "Token limit reached", "metadata": {"error_type": "max_tokens_exceeded"}}
            await exchange.streamed({**delta(finish="error"), "error": error}, "[DONE]")

    async with world(reply, tmp_path) as made:
        assert (await made.ask(asking("chat", stream=True))).text == TEXT
        costs = [attempt["cost"] for attempt in (made.rows("attempts"))]
        assert costs == [None, 7_350_000]
        assert (await made.row())["cost"] is None
