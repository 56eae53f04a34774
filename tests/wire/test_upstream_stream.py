"""Streams over real sockets: every form of the wire, every break, and cancelling."""

from __future__ import annotations

import asyncio
import json
from decimal import Decimal
from typing import Any

import pytest

from cheapfirst.messages import Outcome, Wire
from cheapfirst.policy.table import Timeouts
from scripted import USAGE, Exchange, Reply, call, collect, completion, delta, serving, usage_chunk


def streaming(*chunks: Wire | str) -> Reply:
    async def reply(exchange: Exchange) -> None:
        await exchange.streamed(*chunks)

    return reply


async def streamed(reply: Reply, **options: Any) -> tuple[list[Wire], Outcome]:
    async with serving(reply) as (_, upstream):
        return await collect(upstream, call(stream=True, **options))


def name(outcome: Outcome) -> str | None:
    return outcome.fault.name if outcome.fault is not None else None


def error_chunk(code: Any, message: str, error_type: str | None = None, **more: Any) -> Wire:
    metadata = {"error_type": error_type} if error_type else {}
    return {**delta("", "error"), "error": {"code": code, "message": message, "metadata": metadata}, **more}


async def test_chunks_come_as_they_were_sent_and_the_outcome_is_their_sum() -> None:
    sent = [delta("Grü"), {**delta("ße 😀"), "future": 1}, delta("", "stop"), usage_chunk()]
    chunks, made = await streamed(streaming(*sent, "[DONE]"))
    assert chunks == sent
    assert (made.kind, made.text, made.finish, made.native_finish) == ("answer", "Grüße 😀", "stop", "stop")
    assert (made.model, made.provider, made.generation_id) == ("a/b-1", "P", "gen-1")
    assert made.message == {"role": "assistant", "content": "Grüße 😀"}
    assert made.reported_cost == Decimal("0.00000735")
    assert made.body is not None
    assert made.body["choices"][0]["message"] == made.message
    assert made.first_token is not None
    assert 0 < made.first_token <= made.duration


async def test_each_chunk_is_there_before_the_next_is_sent() -> None:
    read = [asyncio.Event() for _ in range(3)]

    async def reply(exchange: Exchange) -> None:
        await exchange.begin()
        for number, gate in enumerate(read):
            await exchange.events(delta(str(number)))
            await gate.wait()
        await exchange.events(delta("", "stop"), "[DONE]")
        await exchange.end()

    async with serving(reply) as (_, upstream):
        number = 0
        async with asyncio.timeout(20):
            async for item in upstream.stream(call(stream=True)):
                if not isinstance(item, Outcome) and number < 3:
                    read[number].set()
                    number += 1
        assert isinstance(item, Outcome)
        assert item.text == "012"


@pytest.mark.parametrize("size", [1, 2, 3, 7])
@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
async def test_comments_line_ends_and_cuts_anywhere_change_nothing(end: str, size: int) -> None:
    lines = [": OPENROUTER PROCESSING", "", ": OPENROUTER PROCESSING", ""]
    for chunk in (delta("ä😀"), delta("ß", "stop"), usage_chunk()):
        lines += ["data: " + json.dumps(chunk, ensure_ascii=False), "", ": x", ""]
    data = end.join([*lines, "data: [DONE]", "", ""]).encode()

    async def reply(exchange: Exchange) -> None:
        await exchange.begin()
        for at in range(0, len(data), size):
            await exchange.piece(data[at : at + size])
        await exchange.end()

    chunks, made = await streamed(reply)
    assert (len(chunks), made.kind, made.text) == (3, "answer", "ä😀ß")
    assert made.usage is not None


async def test_both_forms_of_the_usage_chunk_give_the_same_outcome() -> None:
    for last in (usage_chunk(), {**delta("", "stop"), "usage": USAGE}):
        _, made = await streamed(streaming(delta("a"), delta("", "stop"), last, "[DONE]"))
        assert (made.kind, made.text, made.reported_cost) == ("answer", "a", Decimal("0.00000735"))


async def test_tool_calls_and_reasoning_are_assembled() -> None:
    begun = {"index": 0, "id": "c", "type": "function", "function": {"name": "f", "arguments": ""}}
    _, made = await streamed(
        streaming(
            delta(reasoning="hm", reasoning_details=[{"type": "reasoning.text", "text": "hm", "index": 0}]),
            delta(tool_calls=[begun]),
            delta(tool_calls=[{"index": 0, "function": {"arguments": '{"a"'}}]),
            delta(tool_calls=[{"index": 0, "function": {"arguments": ":1}"}}]),
            delta("", "tool_calls"),
            "[DONE]",
        )
    )
    assert made.kind == "answer"
    assert made.message["reasoning"] == "hm"
    assert made.message["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"a":1}'}


async def test_tool_calls_with_a_null_finish_are_an_answer_once_the_stream_says_it_is_done() -> None:
    part = delta(tool_calls=[{"index": 0, "id": "c", "function": {"name": "f", "arguments": "{}"}}])
    assert (await streamed(streaming(part, "[DONE]")))[1].kind == "answer"
    assert name((await streamed(streaming(part)))[1]) == "cut_stream"


@pytest.mark.parametrize(
    "chunks",
    [
        [delta("half"), delta("", "length"), "[DONE]"],
        [delta("half"), delta("", "length"), error_chunk(400, "Token limit reached", usage={}), "[DONE]"],
        [delta("half"), delta("", "length"), error_chunk(500, "whatever")],
        [delta("half"), error_chunk(400, "x", "max_tokens_exceeded")],
        [delta("half"), error_chunk(400, "x", "token_limit_exceeded")],
        [delta("half"), error_chunk(400, "x", "context_length_exceeded")],
        [delta("half"), error_chunk(400, "Token limit reached")],
        [delta("", reasoning="thinking"), error_chunk(400, "x", "max_tokens_exceeded")],
        [delta("", reasoning="thinking"), delta("", "length"), usage_chunk(), "[DONE]"],
    ],
)
async def test_every_form_of_a_cut_off_is_one(chunks: list[Wire | str]) -> None:
    assert (await streamed(streaming(*chunks)))[1].kind == "cut-off"


async def test_running_out_of_context_before_the_first_token_is_a_fault_for_a_larger_model() -> None:
    made = (await streamed(streaming(error_chunk(400, "x", "context_length_exceeded"))))[1]
    assert made.fault is not None
    assert (made.fault.name, made.fault.failover, made.fault.retry) == ("context_length", True, False)


@pytest.mark.parametrize(
    ("chunks", "fault"),
    [
        ([delta("a"), error_chunk(502, "Provider disconnected", "provider_unavailable")], "provider_unavailable"),
        ([delta("a"), error_chunk("server_error", "x"), "[DONE]"], "server_error"),
        ([delta("a"), delta("", "error"), "[DONE]"], "error_finish"),
        ([{"error": {"code": 429, "message": "x"}, "user_id": "u"}], "rate_limited"),
        ([{"id": "gen-1", "choices": []}, "[DONE]"], "empty"),
        ([delta(""), "[DONE]"], "empty"),
        (["[DONE]"], "empty"),
        ([], "cut_stream"),
        ([delta("a")], "cut_stream"),
        ([delta("a"), "[DONE]"], "cut_stream"),
        ([delta("a"), '{"choices":[{"ind', delta("b", "stop"), "[DONE]"], "malformed"),
        ([delta("a"), "[1]"], "malformed"),
        (["null"], "malformed"),
    ],
)
async def test_a_stream_that_ends_badly_is_the_fault_it_is(chunks: list[Wire | str], fault: str) -> None:
    assert name((await streamed(streaming(*chunks)))[1]) == fault


async def test_an_event_named_error_is_one_even_without_an_error_field() -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.piece(b'event: error\ndata: {"code": 503, "message": "x"}\n\n')
        await exchange.end()

    assert name((await streamed(reply))[1]) == "overloaded"


async def test_usage_on_an_error_chunk_and_after_it_is_kept() -> None:
    for chunks in (
        [delta("a"), error_chunk(502, "x", usage=USAGE)],
        [delta("a"), error_chunk(502, "x"), usage_chunk(), "[DONE]"],
    ):
        made = (await streamed(streaming(*chunks)))[1]
        assert (made.kind, made.text, made.reported_cost) == ("fault", "a", Decimal("0.00000735"))


async def test_a_socket_cut_in_the_middle_is_never_a_success() -> None:
    for tail in (b"", b'data: {"choices":[{"index":0,"delta":{"con'):

        async def reply(exchange: Exchange, tail: bytes = tail) -> None:
            await exchange.begin()
            await exchange.events(delta("a"))
            if tail:
                await exchange.piece(tail)
            await exchange.cut()

        chunks, made = await streamed(reply)
        assert (len(chunks), name(made), made.text) == (1, "cut_stream", "a")


async def test_a_clean_end_in_the_middle_of_a_chunk_is_a_cut_and_not_garbage() -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.events(delta("a"))
        await exchange.piece(b'data: {"choices":[{"index":0,"delta":{"con')
        await exchange.end()

    assert name((await streamed(reply))[1]) == "cut_stream"


@pytest.mark.parametrize("how", ["end", "cut", "hang"])
async def test_a_break_after_the_finish_loses_the_usage_and_not_the_answer(how: str) -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.events(delta("a"), delta("", "stop"))
        await getattr(exchange, how)()

    timeouts = Timeouts(connect=5.0, first_token=5.0, silence=0.5, total=9.0)
    made = (await streamed(reply, timeouts=timeouts))[1]
    assert (made.kind, made.text, made.usage, made.reported_cost) == ("answer", "a", None, None)


async def test_done_ends_the_answer_though_the_connection_stays_open() -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.events(delta("a", "stop"), "[DONE]", delta("never"))
        await exchange.hang()

    async with serving(reply) as (server, upstream):
        chunks, made = await collect(upstream, call(stream=True))
        assert (made.kind, made.text, len(chunks)) == ("answer", "a", 1)
        await asyncio.wait_for(server.left.wait(), 10)


async def test_a_last_line_without_its_newline_counts() -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.events(delta("a"))
        await exchange.piece(b"data: " + json.dumps(delta("b", "stop")).encode())
        await exchange.end()

    assert (await streamed(reply))[1].text == "ab"


async def test_an_answer_given_whole_although_a_stream_was_asked_for_is_an_answer() -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.whole(completion("hi"))

    chunks, made = await streamed(reply)
    assert (chunks, made.kind, made.text) == ([], "answer", "hi")
    assert made.first_token is None


async def test_a_page_instead_of_a_stream_is_malformed() -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.whole(b"<html>login</html>", content_type="text/html")

    assert name((await streamed(reply))[1]) == "malformed"


async def test_an_error_before_the_first_token_is_an_ordinary_one() -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.whole({"error": {"code": 503, "message": "x"}}, 503, Retry_After="3")

    chunks, made = await streamed(reply)
    assert chunks == []
    assert made.fault is not None
    assert (made.fault.name, made.fault.status, made.fault.retry_after) == ("overloaded", 503, 3)


async def test_a_stream_over_the_limit_is_cut() -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.begin()
        while True:
            await exchange.events(delta("x" * 100))

    async def one_line(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.piece(b"data: ")
        while True:
            await exchange.piece(b"x" * 100)

    for endless in (reply, one_line):
        async with serving(endless, largest_answer=5000) as (_, upstream):
            assert name((await collect(upstream, call(stream=True)))[1]) == "answer_too_big"


async def test_a_server_that_sends_no_headers_is_silent_after_the_first_token_limit() -> None:
    timeouts = Timeouts(connect=5.0, first_token=0.05, silence=5.0, total=9.0)
    made = (await streamed(Exchange.hang, timeouts=timeouts))[1]
    assert (name(made), made.first_token) == ("silent", None)


async def test_comments_and_empty_chunks_are_no_tokens() -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.begin()
        while not exchange.server.left.is_set():
            await exchange.piece(b": OPENROUTER PROCESSING\n\n")
            await exchange.events(delta(""))
            await asyncio.sleep(0.005)

    timeouts = Timeouts(connect=5.0, first_token=0.1, silence=5.0, total=9.0)
    made = (await streamed(reply, timeouts=timeouts))[1]
    assert (name(made), made.first_token) == ("silent", None)


@pytest.mark.parametrize(
    ("timeouts", "budget", "fault"),
    [
        (Timeouts(connect=9.0, first_token=9.0, silence=0.05, total=9.0), 9.0, "stalled"),
        (Timeouts(connect=9.0, first_token=9.0, silence=9.0, total=0.5), 9.0, "total_timeout"),
        (Timeouts(connect=9.0, first_token=9.0, silence=9.0, total=9.0), 0.5, "deadline"),
    ],
)
async def test_silence_total_and_deadline_each_end_a_stalled_stream(
    timeouts: Timeouts, budget: float, fault: str
) -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.events(delta("a"))
        await exchange.hang()

    async with serving(reply) as (server, upstream):
        _, made = await collect(upstream, call(stream=True, timeouts=timeouts, budget=budget))
        assert (name(made), made.text) == (fault, "a")
        assert made.fault is not None
        assert made.fault.status is None
        await asyncio.wait_for(server.left.wait(), 10)


async def test_the_time_a_caller_takes_is_not_the_upstreams_silence() -> None:
    go_on = asyncio.Event()

    async def reply(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.events(delta("a"))
        await go_on.wait()
        await exchange.events(delta("b", "stop"), "[DONE]")
        await exchange.end()

    timeouts = Timeouts(connect=9.0, first_token=9.0, silence=1.0, total=30.0)
    async with serving(reply) as (_, upstream):
        items = upstream.stream(call(stream=True, timeouts=timeouts))
        assert await anext(items) == [delta("a")]
        await asyncio.sleep(1.1)
        go_on.set()
        *_, last = [item async for item in items]
        assert isinstance(last, Outcome)
        assert last.text == "ab"


async def test_closing_the_generator_closes_the_connection() -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.events(delta("a"))
        await exchange.hang()

    async with serving(reply) as (server, upstream):
        before = asyncio.all_tasks()
        items = upstream.stream(call(stream=True))
        assert await anext(items) == [delta("a")]
        await items.aclose()
        await asyncio.wait_for(server.left.wait(), 10)
        assert asyncio.all_tasks() <= before


async def test_cancelling_the_reader_closes_the_connection() -> None:
    begun = asyncio.Event()

    async def reply(exchange: Exchange) -> None:
        await exchange.begin()
        await exchange.events(delta("a"))
        await exchange.hang()

    async with serving(reply) as (server, upstream):

        async def read() -> None:
            async for _ in upstream.stream(call(stream=True)):
                begun.set()

        task = asyncio.create_task(read())
        await asyncio.wait_for(begun.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.left.wait(), 10)
