"""Chat completions through the gateway: what goes up, what comes back, and what is told beside it."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from cheapfirst.gateway.server import serve_in_thread
from cheapfirst.messages import Wire
from scripted import USAGE, Exchange, completion, delta, usage_chunk
from simulator_client import call
from talking import POLICY, World, asking, request, world

PERSON = {
    "type": "json_schema",
    "json_schema": {
        "name": "person",
        "strict": True,
        "schema": {
            "type": "object",
            "properties": {"name": {"type": "string"}},
            "required": ["name"],
            "additionalProperties": False,
        },
    },
}


def told(exchange: Exchange) -> Any:
    return json.loads(exchange.body)


def up(made: World) -> list[Any]:
    """What the upstream was asked."""
    return [told(exchange) for exchange in made.server.seen]


async def hi(exchange: Exchange) -> None:
    if told(exchange).get("stream"):
        await exchange.streamed(delta("Hi there."), delta(finish="stop"), usage_chunk(), "[DONE]")
    else:
        await exchange.whole(completion("Hi there."))


async def test_a_tasks_name_is_a_model(tmp_path: Path) -> None:
    async with world(hi, tmp_path) as made:
        said = await made.ask(asking("write"))
        assert said.status == 200
        assert said.json["choices"][0]["message"]["content"] == "Hi there."
        assert up(made)[0]["model"] == "sim/small"
        row = await made.row()
        assert (row["task"], row["tier"], row["ending"], row["forced"]) == ("write", "cheap", "accepted", 0)


@pytest.mark.parametrize(
    ("body", "headers", "task"),
    [
        ({"model": "auto"}, {}, "chat"),
        ({"model": ""}, {}, "chat"),
        ({}, {}, "chat"),
        ({"model": "auto", "metadata": {"task": "write"}}, {}, "write"),
        ({"model": "auto"}, {"x_cheapfirst_task": "write"}, "write"),
        ({"model": "auto", "metadata": {"task": "write"}}, {"x_cheapfirst_task": "extract"}, "write"),
        ({"model": "write", "metadata": {"task": "chat"}}, {}, "write"),
    ],
)
async def test_the_task_comes_from_the_model_the_metadata_a_header_or_the_default(
    tmp_path: Path, body: Wire, headers: dict[str, str], task: str
) -> None:
    async with world(hi, tmp_path) as made:
        asked = {**asking(), **body}
        if "model" not in body:
            del asked["model"]
        said = await made.ask(asked, **headers)
        assert said.trail["task"] == task
        assert said.headers["x-cheapfirst-task"] == task
        assert "task" not in (up(made)[0].get("metadata") or {})


async def test_a_real_model_is_forced_and_recorded_so(tmp_path: Path) -> None:
    async with world(hi, tmp_path) as made:
        said = await made.ask(asking("sim/large"))
        assert said.trail["forced"] is True
        assert said.trail["model"] == "sim/large"
        assert up(made)[0]["model"] == "sim/large"
        assert (await made.row())["forced"] == 1


@pytest.mark.parametrize(("model", "nearest"), [("wirte", "write"), ("sim/smal", "sim/small"), ("Chat", "chat")])
async def test_an_unknown_model_is_not_found_and_the_nearest_is_named(tmp_path: Path, model: str, nearest: str) -> None:
    async with world(hi, tmp_path) as made:
        said = await made.ask(asking(model))
        assert said.status == 404
        assert said.code == "model_not_found"
        assert said.json["error"]["param"] == "model"
        assert f'did you mean "{nearest}"' in said.json["error"]["message"]
        assert made.server.seen == []
        assert made.rows() == []


async def test_metadata_says_who_and_what_and_only_the_rest_goes_up(tmp_path: Path) -> None:
    async with world(hi, tmp_path) as made:
        metadata = {"feature": "search", "tenant": "acme", "session": "s-1", "tier": "premium", "order": "4711"}
        said = await made.ask(asking("write", metadata=metadata))
        assert said.trail["tier"] == "premium"
        row = await made.row()
        assert (row["feature"], row["tenant"], row["session"]) == ("search", "acme", "s-1")
        assert up(made)[0]["metadata"] == {"order": "4711"}


async def test_headers_stand_in_for_metadata(tmp_path: Path) -> None:
    async with world(hi, tmp_path) as made:
        said = await made.ask(
            asking("write"),
            x_cheapfirst_feature="search",
            x_cheapfirst_tenant="acme",
            x_cheapfirst_session="s-1",
            x_cheapfirst_tier="premium",
        )
        assert said.headers["x-cheapfirst-tier"] == "premium"
        row = await made.row()
        assert (row["feature"], row["tenant"], row["session"]) == ("search", "acme", "s-1")


async def test_standard_fields_stand_in_for_tenant_and_session_and_still_go_up(tmp_path: Path) -> None:
    async with world(hi, tmp_path) as made:
        await made.ask(asking("write", user="u-1", prompt_cache_key="c-1"))
        row = await made.row()
        assert (row["tenant"], row["session"]) == ("u-1", "c-1")
        assert (up(made)[0]["user"], up(made)[0]["prompt_cache_key"]) == ("u-1", "c-1")


@pytest.mark.parametrize(
    ("more", "param"),
    [
        ({"metadata": {"feature": 7}}, "metadata.feature"),
        ({"metadata": {"feature": "x" * 257}}, "metadata.feature"),
        ({"metadata": ["a"]}, "metadata"),
        ({"metadata": {"user_facing": "perhaps"}}, "metadata.user_facing"),
        ({"metadata": {"checks": "no_such_check"}}, "metadata.checks"),
        ({"stream": "yes"}, "stream"),
        ({"messages": []}, "messages"),
        ({"messages": "hello"}, "messages"),
        ({"messages": [{"content": "hello"}]}, "messages[0]"),
        ({"messages": [1]}, "messages[0]"),
        ({"model": 5}, "model"),
    ],
)
async def test_a_wrong_value_is_named(tmp_path: Path, more: Wire, param: str) -> None:
    async with world(hi, tmp_path) as made:
        said = await made.ask({**asking(), **more})
        assert (said.status, said.code) == (400, "invalid_value")
        assert said.json["error"]["param"] == param
        assert said.json["error"]["type"] == "invalid_request_error"
        assert made.server.seen == []


async def test_an_unknown_tier_is_a_clear_400(tmp_path: Path) -> None:
    async with world(hi, tmp_path) as made:
        said = await made.ask(asking("write", metadata={"tier": "premuim"}))
        assert said.status == 400
        assert "premium" in said.json["error"]["message"]


async def test_headers_and_the_trail_tell_how_the_answer_came_to_be(tmp_path: Path) -> None:
    async def reply(exchange: Exchange) -> None:
        text = '{"name": 7}' if told(exchange)["model"] == "sim/small" else '{"name": "Ada"}'
        await exchange.whole(completion(text))

    async with world(reply, tmp_path) as made:
        said = await made.ask(asking("extract", response_format=PERSON))
        trail, cost = said.trail, str(2 * Decimal(str(USAGE["cost"])))
        assert said.headers["x-cheapfirst-request-id"] == trail["request_id"] == (await made.row())["id"]
        assert said.headers["x-cheapfirst-escalated"] == "true"
        assert said.headers["x-cheapfirst-attempts"] == "2"
        assert said.headers["x-cheapfirst-tier"] == trail["tier"] == "premium"
        assert Decimal(said.headers["x-cheapfirst-cost"]) == Decimal(cost)
        assert [attempt["on"] for attempt in trail["attempts"]] == ["start", "reject"]
        assert trail["attempts"][0]["accepted"] is False
        assert trail["attempts"][0]["reasons"] == ["schema.type"]
        assert said.json["usage"] == USAGE  # of the answer that was given


@pytest.mark.parametrize(
    "text",
    [
        '```json\n{"name": "Ada"}\n```',
        '{"name": "Ada",}',
        'Here you are: {"name": "Ada"} - anything else?',
        "{'name': 'Ada'}",
    ],
)
@pytest.mark.parametrize("stream", [False, True])
async def test_repaired_json_comes_back_clean_and_the_trail_says_so(tmp_path: Path, text: str, stream: bool) -> None:
    async def reply(exchange: Exchange) -> None:
        if told(exchange).get("stream"):
            await exchange.streamed(delta(text), delta(finish="stop"), usage_chunk(), "[DONE]")
        else:
            await exchange.whole(completion(text))

    async with world(reply, tmp_path) as made:
        said = await made.ask(asking("extract", response_format=PERSON, stream=stream))
        clean = said.text if stream else said.json["choices"][0]["message"]["content"]
        assert json.loads(clean) == {"name": "Ada"}
        (attempt,) = said.trail["attempts"]
        assert attempt["parse"]
        assert attempt["accepted"] is True


async def test_clean_json_comes_back_as_it_was_written(tmp_path: Path) -> None:
    text = '{ "name" :\t"Ada \\u00e9" }'

    async def reply(exchange: Exchange) -> None:
        await exchange.whole(completion(text))

    async with world(reply, tmp_path) as made:
        said = await made.ask(asking("extract", response_format=PERSON))
        assert said.json["choices"][0]["message"]["content"] == text
        assert "parse" not in said.trail["attempts"][0]


async def test_unknown_fields_survive_both_ways(tmp_path: Path) -> None:
    odd: Wire = {"seed": 7, "stop": ["x"], "logprobs": True, "n": 2, "novelty": {"deep": [1, None, "ü"]}, "top_k": 3}
    parts = [{"type": "text", "text": "Look", "cache_control": {"type": "ephemeral"}},
             {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}}]  # fmt: skip

    async def reply(exchange: Exchange) -> None:
        body = completion("Hi.", reasoning="hm", reasoning_details=[{"type": "t", "signature": "s"}], annotations=[])
        body["choices"][0]["logprobs"] = {"content": [{"token": "Hi", "logprob": -0.25, "top_logprobs": []}]}
        body["choices"].append({**body["choices"][0], "index": 1})
        await exchange.whole({**body, "system_fingerprint": "fp", "service_tier": "default", "brand_new": [{}]})

    async with world(reply, tmp_path) as made:
        said = await made.ask({**asking("write", **odd), "messages": [{"role": "user", "content": parts, "name": "n"}]})
        (sent,) = up(made)
        assert {name: sent[name] for name in odd} == odd
        assert sent["messages"][-1] == {"role": "user", "content": parts, "name": "n"}
        body = said.json
        assert (body["system_fingerprint"], body["service_tier"], body["brand_new"]) == ("fp", "default", [{}])
        assert len(body["choices"]) == 2
        first = body["choices"][0]
        assert first["message"]["reasoning_details"] == [{"type": "t", "signature": "s"}]
        assert first["logprobs"]["content"][0]["logprob"] == -0.25


async def test_the_answers_model_is_the_real_one(tmp_path: Path) -> None:
    async with world(hi, tmp_path) as made:
        assert (await made.ask(asking("write"))).json["model"] == "a/b-1"


async def test_an_answer_that_no_tier_could_give_is_422_with_the_trail(tmp_path: Path) -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.whole(completion('{"name": 7, "secret": "do not tell"}'))

    async with world(reply, tmp_path) as made:
        said = await made.ask(asking("extract", response_format=PERSON))
        assert (said.status, said.code) == (422, "answer_rejected")
        assert said.headers["x-cheapfirst-request-id"] == said.json["error"]["request_id"]
        assert [attempt["tier"] for attempt in said.trail["attempts"]] == ["cheap", "premium"]
        assert "do not tell" not in said.data.decode()


async def test_no_error_holds_a_key(tmp_path: Path) -> None:
    key = "sk-or-v1-secret0123456789"

    async def reply(exchange: Exchange) -> None:
        await exchange.whole({"error": {"code": 401, "message": f"No auth for {key}", "metadata": {"k": key}}}, 401)

    async with world(reply, tmp_path, api_key=key) as made:
        for stream in (False, True):
            said = await made.ask(asking("write", stream=stream), authorization="Bearer sk-mine-0123456789")
            assert said.status >= 400
            assert key not in said.data.decode()
            assert "sk-mine" not in said.data.decode()
        assert all(exchange.headers["authorization"] == f"Bearer {key}" for exchange in made.server.seen)


async def test_tool_calls_come_back_as_the_upstream_gave_them(tmp_path: Path) -> None:
    call = {"id": "call_7", "type": "function", "function": {"name": "look_up", "arguments": '{"order": 4711}'}}
    tool = {"type": "function", "function": {"name": "look_up", "parameters": {
        "type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"]}}}  # fmt: skip

    async def reply(exchange: Exchange) -> None:
        await exchange.whole(completion(None, "tool_calls", tool_calls=[call]))

    async with world(reply, tmp_path) as made:
        said = await made.ask(asking("chat", tools=[tool], tool_choice="auto"))
        choice = said.json["choices"][0]
        assert choice["finish_reason"] == "tool_calls"
        assert choice["message"]["tool_calls"] == [call]
        assert up(made)[0]["tools"] == [tool]


async def test_a_cut_off_answer_is_an_answer_that_says_so(tmp_path: Path) -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.whole(completion("Half an", "length"))

    async with world(reply, tmp_path) as made:
        said = await made.ask(asking("write", max_tokens=3))
        assert said.status == 200
        assert said.json["choices"][0]["finish_reason"] == "length"
        assert said.trail["accepted"] is False


async def test_models_lists_tasks_auto_and_models(tmp_path: Path) -> None:
    async with world(hi, tmp_path) as made:
        said = await made.ask(path="/v1/models", method="GET")
        ids = [model["id"] for model in said.json["data"]]
        assert {"auto", "write", "extract", "chat", "sim/small", "sim/large"} <= set(ids)
        assert len(ids) == len(set(ids))


async def test_many_requests_share_one_connection_in_order(tmp_path: Path) -> None:
    async def reply(exchange: Exchange) -> None:
        await exchange.whole(completion(f"You said {told(exchange)['messages'][-1]['content']}."))

    async with world(reply, tmp_path) as made, made.talk() as talk:
        await talk.send(b"".join(request(asking(text=str(number))) for number in range(20)))  # pipelined
        for number in range(20):
            said = await talk.answer()
            assert said.json["choices"][0]["message"]["content"] == f"You said {number}."
        assert len(made.rows()) == 20


async def test_the_upstream_is_never_taken_from_a_request(tmp_path: Path) -> None:
    async with world(hi, tmp_path, POLICY) as made:
        evil = "http://127.0.0.1:1/v1"
        body = asking("write", base_url=evil, api_base=evil, upstream={"base_url": evil}, api_key="sk-x")
        said = await made.ask(body, x_cheapfirst_base_url=evil, host="127.0.0.1:1", x_forwarded_host="127.0.0.1:1")
        assert said.status == 200
        assert len(made.server.seen) == 1


def test_a_gateway_without_a_key_for_its_upstream_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENROUTER_API_KEY", raising=False)
    with serve_in_thread(ledger=tmp_path / "ledger.db") as handle:
        assert handle.gateway.router.missing_key == "OPENROUTER_API_KEY"
        said = call(handle.base_url, asking("summarize"))
        assert (said.status, said.json["error"]["code"]) == (503, "no_upstream_key")
