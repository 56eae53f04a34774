"""The openai package for Python, unchanged but for its base URL."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from decimal import Decimal
from typing import Any

import openai
import pytest
import pytest_asyncio
from openai.types.chat import ChatCompletionMessageParam, ChatCompletionToolParam
from pydantic import BaseModel

from cheapfirst.money import to_pico
from served import HALF, PLACE, WORDS, Served


class Place(BaseModel):
    city: str
    orders: list[int]


LOOK_UP: ChatCompletionToolParam = {
    "type": "function",
    "function": {
        "name": "look_up",
        "description": "Look an order up.",
        "parameters": {"type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"]},
    },
}


def user(words: str) -> list[ChatCompletionMessageParam]:
    return [{"role": "user", "content": words}]


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=served.base_url, api_key="none", max_retries=0) as made:
        yield made


@pytest_asyncio.fixture
async def asynchronous(served: Served) -> AsyncIterator[openai.AsyncOpenAI]:
    async with openai.AsyncOpenAI(base_url=served.base_url, api_key="none", max_retries=0) as made:
        yield made


def test_create_gives_the_text_the_real_model_the_usage_and_the_trail(client: openai.OpenAI, served: Served) -> None:
    answer = client.chat.completions.create(
        model="write", messages=user(f"SAY {WORDS}"), metadata={"feature": "inbox", "tenant": "acme"}
    )
    assert answer.choices[0].message.content == WORDS
    assert answer.choices[0].finish_reason == "stop"
    assert answer.model == "sim/small"
    assert answer.usage is not None
    assert answer.model_extra is not None
    assert answer.model_extra["cheapfirst"]["tier"] == "cheap"
    row = served.last()
    assert row["id"] == answer.model_extra["cheapfirst"]["request_id"]
    assert (row["task"], row["feature"], row["tenant"]) == ("write", "inbox", "acme")
    assert (row["prompt_tokens"], row["completion_tokens"]) == (
        answer.usage.prompt_tokens,
        answer.usage.completion_tokens,
    )


def test_headers_tell_what_it_cost(client: openai.OpenAI, served: Served) -> None:
    raw = client.chat.completions.with_raw_response.create(model="write", messages=user(f"SAY {WORDS}"))
    row = served.last()
    assert raw.headers["x-cheapfirst-request-id"] == row["id"]
    assert to_pico(Decimal(raw.headers["x-cheapfirst-cost"])) == row["cost"]
    assert row["cost"] == row["prompt_tokens"] * 100_000 + row["completion_tokens"] * 200_000 > 0
    assert raw.headers["x-cheapfirst-escalated"] == "false"


@pytest.mark.parametrize("task", ["write", "talk"])
def test_a_stream_says_the_same_with_usage_at_its_end(client: openai.OpenAI, served: Served, task: str) -> None:
    stream = client.chat.completions.create(
        model=task, messages=user(f"SAY {WORDS}"), stream=True, stream_options={"include_usage": True}
    )
    chunks = list(stream)
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == WORDS
    assert chunks[-1].choices == []
    assert chunks[-1].usage is not None
    assert chunks[-1].usage.completion_tokens == served.last()["completion_tokens"]
    assert all(chunk.usage is None for chunk in chunks[:-1])


async def test_the_asynchronous_client_does_the_same(asynchronous: openai.AsyncOpenAI) -> None:
    answer = await asynchronous.chat.completions.create(model="write", messages=user(f"SAY {WORDS}"))
    assert answer.choices[0].message.content == WORDS
    stream = await asynchronous.chat.completions.create(model="talk", messages=user(f"SAY {WORDS}"), stream=True)
    pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
    assert "".join(pieces) == WORDS


def test_a_pydantic_model_comes_back_and_an_answer_that_is_none_escalates(
    client: openai.OpenAI, served: Served
) -> None:
    said = client.chat.completions.parse(model="extract", messages=user(f"SAY {HALF} | {PLACE}"), response_format=Place)
    assert said.choices[0].message.parsed == Place(city="Köln", orders=[4711, 4712])
    assert said.model == "sim/large"
    row = served.last()
    assert (row["escalated"], row["attempts"], row["tier"]) == (1, 2, "premium")


def test_a_pydantic_model_comes_back_from_a_stream(client: openai.OpenAI) -> None:
    with client.chat.completions.stream(
        model="extract", messages=user(f"SAY ```json\n{PLACE}\n```"), response_format=Place
    ) as stream:
        for _ in stream:
            pass
        said = stream.get_final_completion()
    assert said.choices[0].message.parsed == Place(city="Köln", orders=[4711, 4712])


@pytest.mark.parametrize("stream", [False, True])
def test_tools_are_called_and_their_results_taken(client: openai.OpenAI, stream: bool) -> None:
    messages = user("Where is order 7?")
    finish: str | None
    calls: list[Any]
    if stream:
        with client.chat.completions.stream(
            model="write", messages=messages, tools=[LOOK_UP], tool_choice="required"
        ) as events:
            for _ in events:
                pass
            final = events.get_final_completion().choices[0]
        finish, calls = final.finish_reason, list(final.message.tool_calls or [])
    else:
        choice = client.chat.completions.create(
            model="write", messages=messages, tools=[LOOK_UP], tool_choice="required"
        ).choices[0]
        finish = choice.finish_reason
        calls = [call for call in choice.message.tool_calls or [] if call.type == "function"]
    assert finish == "tool_calls"
    (call,) = calls
    assert call.function.name == "look_up"
    assert isinstance(json.loads(call.function.arguments)["order"], int)
    function: Any = {"name": call.function.name, "arguments": call.function.arguments}
    messages += [
        {"role": "assistant", "tool_calls": [{"id": call.id, "type": "function", "function": function}]},
        {"role": "tool", "tool_call_id": call.id, "content": "SAY At sea."},
    ]
    again = client.chat.completions.create(model="write", messages=messages, tools=[LOOK_UP])
    assert again.choices[0].message.content == "At sea."


def test_the_responses_api_answers_and_parses(client: openai.OpenAI) -> None:
    assert client.responses.create(model="write", input=f"SAY {WORDS}").output_text == WORDS
    parsed = client.responses.parse(model="extract", input=f"SAY {PLACE}", text_format=Place)
    assert parsed.output_parsed == Place(city="Köln", orders=[4711, 4712])
    with client.responses.stream(model="talk", input=f"SAY {WORDS}") as stream:
        for _ in stream:
            pass
        assert stream.get_final_response().output_text == WORDS


def test_models_lists_the_tasks(client: openai.OpenAI) -> None:
    assert {"auto", "write", "extract", "sim/small"} <= {model.id for model in client.models.list()}


def test_what_is_wrong_is_an_exception_of_the_package(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="wrote", messages=user("Hi"))
    assert unknown.value.code == "model_not_found"
    assert "write" in unknown.value.message
    with pytest.raises(openai.BadRequestError):
        client.chat.completions.create(model="write", messages=[])
    with pytest.raises(openai.UnprocessableEntityError) as rejected:
        client.chat.completions.parse(model="extract", messages=user(f"SAY {HALF}"), response_format=Place)
    assert rejected.value.code == "answer_rejected"
