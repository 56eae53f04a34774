"""Calls over real sockets: what is sent, what comes back, and every way it can fail."""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import socket
from decimal import Decimal
from typing import Any

import pytest

from cheapfirst.messages import Outcome, Wire
from cheapfirst.policy import table
from cheapfirst.policy.table import Timeouts
from cheapfirst.upstream import Call, Upstream
from scripted import USAGE, Exchange, Reply, call, completion, serving


def whole(body: Any, status: int = 200, **headers: str) -> Reply:
    async def reply(exchange: Exchange) -> None:
        await exchange.whole(body, status, **headers)

    return reply


async def sent(reply: Reply, made: Call | None = None, **options: Any) -> Outcome:
    async with serving(reply, **options) as (_, upstream):
        return await upstream.send(made or call())


def name(outcome: Outcome) -> str | None:
    assert (outcome.kind == "fault") == (outcome.fault is not None)
    return outcome.fault.name if outcome.fault is not None else None


async def test_an_answer_comes_back_with_everything_the_wire_said() -> None:
    body = {**completion("hé", reasoning_details=[]), "future": {"x": 1}}
    made = await sent(whole(body, X_Generation_Id="gen-other"))
    assert (made.kind, made.text, made.finish, made.native_finish) == ("answer", "hé", "stop", "stop")
    assert (made.model, made.provider, made.generation_id) == ("a/b-1", "P", "gen-1")
    assert made.body == body
    assert made.message["reasoning_details"] == []
    assert made.reported_cost == Decimal("0.00000735")
    assert made.usage is not None
    assert (made.usage.prompt_tokens, made.usage.cached_tokens, made.usage.reasoning_tokens) == (9, 4, 3)
    assert made.first_token is None
    assert made.duration > 0


async def test_the_body_is_sent_as_it_is_with_key_attribution_and_the_calls_own_headers() -> None:
    async with serving(whole(completion())) as (server, _):
        options = table.Upstream(base_url=server.url + "/", title="My app", referer="https://my.app")
        upstream = Upstream(options, api_key="sk-or-v1-k")
        made = call(models=["a/b", "c/d"], odd=None, text="ß😀")
        more = {"x-session-id": "s", "authorization": "Bearer other", "HTTP-Referer": "https://other"}
        await upstream.send(Call(body=made.body, timeouts=made.timeouts, budget=5.0, headers=more))
        await upstream.close()
        seen = server.seen[0]
        assert seen.line == "POST /api/v1/chat/completions HTTP/1.1"
        assert json.loads(seen.body) == made.body
        assert seen.headers["authorization"] == "Bearer sk-or-v1-k"
        assert seen.headers["content-type"] == "application/json"
        assert seen.headers["x-openrouter-title"] == "My app"
        assert seen.headers["http-referer"] == "https://other"
        assert seen.headers["x-session-id"] == "s"


async def test_without_a_key_no_authorization_is_sent() -> None:
    async with serving(whole(completion())) as (server, _):
        upstream = Upstream(table.Upstream(base_url=server.url))
        assert (await upstream.send(call())).kind == "answer"
        await upstream.close()
        assert "authorization" not in server.seen[0].headers


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (completion("cut", "length"), "cut-off"),
        (completion("", "length", reasoning="thinking"), "cut-off"),
        (completion("no", "content_filter"), "refusal"),
        (completion(None, "stop", refusal="I will not"), "refusal"),
        (completion(None, None, tool_calls=[{"id": "c", "function": {"name": "f", "arguments": "{}"}}]), "answer"),
        (completion("", "stop"), "answer"),
    ],
)
async def test_answers_cut_offs_and_refusals_are_told_apart(body: Wire, kind: str) -> None:
    assert (await sent(whole(body))).kind == kind


@pytest.mark.parametrize("finish", ["stop", "tool_calls"])
@pytest.mark.parametrize("native", ["MAX_TOKENS", "max_tokens", "length"])
async def test_a_rewritten_finish_does_not_hide_that_the_answer_was_cut_off(finish: str, native: str) -> None:
    body = completion("cut", finish)
    body["choices"][0]["native_finish_reason"] = native
    assert (await sent(whole(body))).kind == "cut-off"


async def test_a_choice_error_about_length_is_a_cut_off_once_there_is_text_and_a_fault_before() -> None:
    for text, kind in (("some", "cut-off"), ("", "fault")):
        body = completion(text, "error")
        body["choices"][0]["error"] = {"code": 400, "message": "x", "metadata": {"error_type": "max_tokens_exceeded"}}
        assert (await sent(whole(body))).kind == kind


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        ({"error": {"code": 429, "message": "slow down"}, "user_id": "u"}, "rate_limited"),
        ({"error": {"code": "502", "message": "x"}}, "provider_unavailable"),
        ({"error": "boom"}, "error_finish"),
        ({**completion("half", "error")}, "error_finish"),
        ({**completion(), "choices": []}, "empty"),
        ({"id": "gen-1"}, "empty"),
        (completion("", None), "empty"),
        ([1], "malformed"),
        (b"<html>", "malformed"),
        (b'{"choices": [{"mess', "malformed"),
        (b"", "malformed"),
        (b"[" * 100_000, "malformed"),
    ],
)
async def test_a_good_status_does_not_hide_a_bad_body(body: Any, fault: str) -> None:
    made = await sent(whole(body))
    assert name(made) == fault
    assert made.body is None


async def test_usage_and_cost_are_kept_when_the_call_failed() -> None:
    bodies: list[tuple[Wire, int]] = [
        ({"error": {"code": 502, "message": "x"}, "usage": USAGE}, 502),
        (completion("half", "error"), 200),
        ({**completion(), "choices": []}, 200),
    ]
    for body, status in bodies:
        made = await sent(whole(body, status))
        assert made.kind == "fault"
        assert made.reported_cost == Decimal("0.00000735")
        assert made.usage is not None


@pytest.mark.parametrize(
    ("status", "fault"),
    [
        (400, "bad_request"), (401, "unauthorized"), (402, "account_dry"), (403, "forbidden"), (404, "not_found"),
        (408, "timeout"), (412, "precondition_failed"), (413, "payload_too_large"), (422, "unprocessable"),
        (429, "rate_limited"), (500, "server_error"), (502, "provider_unavailable"), (503, "overloaded"),
        (504, "timeout"), (520, "server_error"), (524, "timeout"), (529, "overloaded"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("body", [b"<!DOCTYPE html>", b"", {"error": {"message": "x"}}])
@pytest.mark.parametrize("stream", [False, True])
async def test_an_error_status_speaks_for_itself_whatever_its_body(
    status: int, fault: str, body: Any, stream: bool
) -> None:
    made = await sent(whole(body, status, X_Generation_Id="gen-9"), call(stream=stream))
    assert name(made) == fault
    assert made.fault is not None
    assert made.fault.status == status
    assert made.generation_id == "gen-9"
    assert made.first_token is None


async def test_the_wait_that_the_upstream_asks_for_is_kept() -> None:
    made = await sent(whole({"error": {"code": 429, "message": "x"}}, 429, Retry_After="7"))
    assert made.fault is not None
    assert made.fault.retry_after == 7


async def test_a_refused_schema_allows_a_downgrade() -> None:
    body = {"error": {"code": 404, "message": "No endpoints found that can handle the requested parameters."}}
    made = await sent(whole(body, 404), call(response_format={"type": "json_schema", "json_schema": {}}))
    assert made.fault is not None
    assert (made.fault.name, made.fault.downgrade) == ("unsupported_form", True)


async def test_a_redirect_is_not_followed_with_the_key() -> None:
    async with serving(whole(completion())) as (other, _):
        made = await sent(whole({}, 307, Location=other.url + "/chat/completions"))
        assert name(made) == "redirect"
        assert other.seen == []


async def test_an_answer_over_the_limit_is_a_fault_and_one_under_it_is_not() -> None:
    assert name(await sent(whole(completion("x" * 5000)), largest_answer=4000)) == "answer_too_big"
    assert (await sent(whole(completion("x" * 3000)), largest_answer=4000)).kind == "answer"


async def test_the_limit_counts_what_a_compressed_answer_unpacks_to() -> None:
    packed = gzip.compress(json.dumps(completion("x" * 500_000)).encode())
    assert name(await sent(whole(packed, Content_Encoding="gzip"), largest_answer=100_000)) == "answer_too_big"
    assert (await sent(whole(packed, Content_Encoding="gzip"))).text == "x" * 500_000


async def test_whitespace_before_the_answer_keeps_the_connection_and_is_no_answer() -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.raw(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")
        await exchange.piece(b"\n      \n")
        await exchange.piece(json.dumps(completion()).encode())
        await exchange.end()

    assert (await sent(reply)).kind == "answer"


async def test_a_stream_that_nobody_asked_for_is_read_all_the_same() -> None:
    async def reply(exchange: Exchange) -> None:
        body = completion("hi")
        body["choices"][0]["delta"] = body["choices"][0].pop("message")
        await exchange.streamed(body, "[DONE]")

    made = await sent(reply)
    assert (made.kind, made.text) == ("answer", "hi")


def unused_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port


async def test_a_port_where_nobody_listens_is_a_connect_fault_that_says_where() -> None:
    port = unused_port()
    upstream = Upstream(table.Upstream(base_url=f"http://127.0.0.1:{port}/v1"), api_key="k")
    made = await upstream.send(call())
    await upstream.close()
    assert name(made) == "connect"
    assert made.fault is not None
    assert f"127.0.0.1:{port}" in made.fault.sentence


async def test_a_host_that_does_not_exist_is_a_connect_fault() -> None:
    upstream = Upstream(table.Upstream(base_url="http://nowhere.invalid/v1"))
    made = await upstream.send(call())
    await upstream.close()
    assert name(made) == "connect"


async def test_a_server_that_accepts_no_connection_is_a_connect_timeout() -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        with socket.socket() as first, socket.socket() as second:
            for filler in (first, second):  # they fill the queue of connections that wait to be accepted
                filler.setblocking(False)
                filler.connect_ex(("127.0.0.1", port))
            upstream = Upstream(table.Upstream(base_url=f"http://127.0.0.1:{port}"))
            made = await upstream.send(call(timeouts=Timeouts(connect=0.05, first_token=9.0, silence=9.0, total=9.0)))
            await upstream.close()
    assert name(made) == "connect_timeout"


async def test_a_server_without_tls_where_tls_is_expected_is_a_tls_fault() -> None:
    async def plain(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await reader.read()
        writer.close()

    async with await asyncio.start_server(plain, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        upstream = Upstream(table.Upstream(base_url=f"https://127.0.0.1:{port}"))
        made = await upstream.send(call())
        await upstream.close()
    assert name(made) == "tls"


async def test_a_connection_closed_without_a_byte_is_no_response() -> None:
    assert name(await sent(Exchange.cut)) == "no_response"


async def test_an_answer_cut_in_its_middle_is_not_an_answer() -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.raw(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"id": 1')
        await exchange.cut()

    assert name(await sent(reply)) == "cut_stream"


async def test_something_that_is_not_http_is_malformed() -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.raw(b"220 mail.example ESMTP ready\r\n\r\n")

    assert name(await sent(reply)) == "malformed"


async def test_a_server_that_never_answers_is_silent_and_is_left() -> None:
    async with serving(Exchange.hang) as (server, upstream):
        made = await upstream.send(call(timeouts=Timeouts(connect=5.0, first_token=5.0, silence=5.0, total=0.05)))
        assert name(made) == "silent"
        await asyncio.wait_for(server.left.wait(), 10)


async def test_a_whole_answer_may_take_longer_than_a_first_token() -> None:
    ready = asyncio.Event()

    async def reply(exchange: Exchange) -> None:
        await ready.wait()
        await exchange.whole(completion())

    async with serving(reply) as (_, upstream):
        asyncio.get_running_loop().call_later(0.1, ready.set)
        made = await upstream.send(call(timeouts=Timeouts(connect=5.0, first_token=0.01, silence=0.01, total=30.0)))
        assert made.kind == "answer"


@pytest.mark.parametrize(
    ("timeouts", "fault"),
    [
        (Timeouts(connect=9.0, first_token=9.0, silence=0.05, total=9.0), "stalled"),
        (Timeouts(connect=9.0, first_token=9.0, silence=9.0, total=0.5), "total_timeout"),
    ],
)
async def test_an_answer_that_stops_in_its_middle_is_waited_for_no_longer_than_allowed(
    timeouts: Timeouts, fault: str
) -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.raw(b'HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 500\r\n\r\n{"id": 1')
        await exchange.hang()

    assert name(await sent(reply, call(timeouts=timeouts))) == fault


@pytest.mark.parametrize("budget", [0.05, 0.0, -1.0])
async def test_the_requests_deadline_bounds_every_call(budget: float) -> None:
    assert name(await sent(Exchange.hang, call(budget=budget))) == "deadline"


@pytest.mark.parametrize("extra", [{"odd": object()}, {"odd": {1j: 2}}])
async def test_a_body_that_is_not_json_is_unsendable(extra: Wire) -> None:
    assert name(await sent(whole(completion()), call(**extra))) == "unsendable"


@pytest.mark.parametrize("base", ["", "nonsense", "ftp://127.0.0.1/x", "http://", "http://127.0.0.1:99999"])
async def test_an_address_that_is_none_is_a_fault_and_not_an_exception(base: str) -> None:
    upstream = Upstream(table.Upstream(base_url=base), api_key="k")
    assert name(await upstream.send(call())) == "unsendable"
    await upstream.close()


async def test_a_key_that_cannot_stand_in_a_header_is_a_fault_that_does_not_show_it() -> None:
    async with serving(whole(completion())) as (server, _):
        upstream = Upstream(table.Upstream(base_url=server.url), api_key="sk-or\r\nx: y")
        made = await upstream.send(call())
        await upstream.close()
        assert name(made) == "unsendable"
        assert made.fault is not None
        assert "sk-or" not in made.fault.sentence
        assert server.seen == []


async def test_neither_key_nor_message_is_in_errors_logs_or_repr(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    said = "Incorrect key sk-or-v1-secret0123456789 for 'Where is my parcel, please?'"
    async with serving(whole({"error": {"code": 401, "message": said}}, 401)) as (_, upstream):
        made = await upstream.send(call())
        assert made.fault is not None
        for text in (repr(upstream), str(vars(upstream).get("_headers")), made.fault.sentence, caplog.text):
            assert "secret0123456789" not in text
            assert "parcel" not in text


async def test_calls_one_after_another_share_one_connection_whatever_their_kind() -> None:
    async def reply(exchange: Exchange) -> None:
        body = json.loads(exchange.body)
        if body["model"] == "bad/model":
            await exchange.whole({"error": {"code": 404, "message": "x"}}, 404)
        elif body.get("stream"):
            chunk = completion()
            chunk["choices"][0]["delta"] = chunk["choices"][0].pop("message")
            await exchange.streamed(chunk, "[DONE]")
        else:
            await exchange.whole(completion())

    async with serving(reply) as (server, upstream):
        for made in (call(), call(stream=True), call(model="bad/model"), call(stream=True), call()):
            await upstream.send(made)
        assert (len(server.seen), server.connections) == (5, 1)


async def test_many_calls_at_once_each_get_their_own_answer() -> None:
    everyone = asyncio.Barrier(50)

    async def reply(exchange: Exchange) -> None:
        await everyone.wait()  # nobody is answered before all have asked
        await exchange.whole(completion(json.loads(exchange.body)["number"]))

    async with serving(reply) as (server, upstream):
        outcomes = await asyncio.gather(*(upstream.send(call(number=str(number))) for number in range(50)))
        assert [outcome.text for outcome in outcomes] == [str(number) for number in range(50)]
        assert server.connections == 50


async def test_a_cancelled_call_closes_its_connection_and_leaves_no_task() -> None:
    arrived = asyncio.Event()

    async def reply(exchange: Exchange) -> None:
        arrived.set()
        await exchange.hang()

    async with serving(reply) as (server, upstream):
        task = asyncio.create_task(upstream.send(call()))
        await asyncio.wait_for(arrived.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await asyncio.wait_for(server.left.wait(), 10)


@pytest.mark.filterwarnings("error")
async def test_closing_leaves_neither_sockets_nor_tasks_and_later_calls_say_so() -> None:
    before = asyncio.all_tasks()
    async with serving(whole(completion())) as (server, upstream):
        await upstream.send(call())
        await upstream.close()
        await upstream.close()
        await asyncio.wait_for(server.empty.wait(), 10)
        assert name(await upstream.send(call())) == "closed"
        assert asyncio.all_tasks() == before


async def test_pages_are_read_and_their_failures_are_faults() -> None:
    async def reply(exchange: Exchange) -> None:
        if exchange.line.startswith("GET /api/v1/generation?id=gen-1 "):
            await exchange.whole({"data": {"id": "gen-1"}})
        else:
            await exchange.whole({"error": {"code": 404, "message": "x"}}, 404)

    async with serving(reply) as (server, upstream):
        assert await upstream.get("/generation?id=gen-1") == {"data": {"id": "gen-1"}}
        fault = await upstream.get("/nothing")
        assert not isinstance(fault, dict)
        assert fault.name == "not_found"
        assert server.seen[0].headers["authorization"] == "Bearer sk-or-v1-secret0123456789"
        assert server.connections == 1


def test_one_client_serves_one_event_loop_after_another() -> None:
    port = unused_port()
    client = Upstream(table.Upstream(base_url=f"http://127.0.0.1:{port}"))

    async def one(last: bool) -> str:
        async with serving(leave, port=port):
            made = await client.send(call())
            if last:
                await client.close()
        return made.kind

    async def leave(exchange: Exchange) -> None:
        await exchange.whole(completion(), Connection="close")
        await exchange.cut()

    assert [asyncio.run(one(False)), asyncio.run(one(True))] == ["answer", "answer"]
