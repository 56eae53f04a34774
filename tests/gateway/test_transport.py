"""The openai SDK over the gateway in its own process, with no server in between."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import openai
import pytest
from test_messages import POLICY, say

import cheapfirst
from cheapfirst.simulator import Options, SimModel
from cheapfirst.simulator import serve_in_thread as simulate
from cheapfirst.simulator.models import Latency

MODELS = (
    SimModel(id="sim/small", latency=Latency(per_token=0.002)),
    SimModel(id="sim/large", skill="premium"),
)


@pytest.fixture
def options(tmp_path: Path) -> Iterator[dict[str, Any]]:
    policy = tmp_path / "cheapfirst.toml"
    policy.write_text(POLICY)
    with simulate(Options(models=MODELS), answerer=say) as simulator:
        yield {"policy": policy, "base_url": simulator.base_url, "ledger": tmp_path / "ledger.db"}


def user(words: str) -> list[Any]:
    return [{"role": "user", "content": words}]


def test_a_client_without_a_server_answers_and_streams(options: dict[str, Any]) -> None:
    words = "one two three " * 30
    with openai.OpenAI(http_client=cheapfirst.http_client(**options), api_key="cheapfirst", max_retries=0) as client:
        answer = client.chat.completions.create(model="write", messages=user("SAY Hello."))
        assert answer.choices[0].message.content == "Hello."
        assert (answer.model_extra or {})["cheapfirst"]["tier"] == "cheap"
        stream = client.chat.completions.create(model="chat", messages=user(f"SAY {words}."), stream=True)
        pieces = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
        assert "".join(pieces) == f"{words}."
        assert len(pieces) > 3


def test_many_threads_share_a_client(options: dict[str, Any]) -> None:
    with openai.OpenAI(http_client=cheapfirst.http_client(**options), api_key="cheapfirst") as client:

        def ask(number: int) -> str | None:
            told = client.chat.completions.create(model="write", messages=user(f"SAY Number {number}."))
            return told.choices[0].message.content

        with ThreadPoolExecutor(8) as pool:
            assert list(pool.map(ask, range(24))) == [f"Number {number}." for number in range(24)]


def test_errors_are_the_clients_own(options: dict[str, Any]) -> None:
    with (
        openai.OpenAI(http_client=cheapfirst.http_client(**options), api_key="cheapfirst") as client,
        pytest.raises(openai.NotFoundError) as caught,
    ):
        client.chat.completions.create(model="nobody/knows", messages=user("Hi"))
    assert caught.value.code == "model_not_found"


def test_a_stream_left_early_leaves_the_client_usable_until_it_is_closed(options: dict[str, Any]) -> None:
    client = openai.OpenAI(http_client=cheapfirst.http_client(**options), api_key="cheapfirst", max_retries=0)
    with client.chat.completions.create(model="chat", messages=user("SAY " + "word " * 80), stream=True) as stream:
        next(iter(stream))
    told = client.chat.completions.create(model="write", messages=user("SAY Still here."))
    assert told.choices[0].message.content == "Still here."
    client.close()
    client.close()
    with pytest.raises((openai.APIConnectionError, RuntimeError)):
        client.chat.completions.create(model="write", messages=user("Hi"))


async def test_the_async_client_answers_side_by_side_and_streams(options: dict[str, Any]) -> None:
    http = cheapfirst.async_http_client(**options)
    async with openai.AsyncOpenAI(http_client=http, api_key="cheapfirst", max_retries=0) as client:
        told = await asyncio.gather(
            *(client.chat.completions.create(model="write", messages=user(f"SAY Number {n}.")) for n in range(8))
        )
        assert [one.choices[0].message.content for one in told] == [f"Number {n}." for n in range(8)]
        stream = await client.chat.completions.create(model="chat", messages=user("SAY One two."), stream=True)
        pieces = [chunk.choices[0].delta.content or "" async for chunk in stream if chunk.choices]
        assert "".join(pieces) == "One two."


def test_closing_the_client_ends_the_streams_that_are_open(options: dict[str, Any]) -> None:
    client = openai.OpenAI(http_client=cheapfirst.http_client(**options), api_key="cheapfirst", max_retries=0)
    stream = client.chat.completions.create(model="chat", messages=user("SAY " + "word " * 800), stream=True)
    next(iter(stream))
    client.close()
    with pytest.raises((openai.OpenAIError, RuntimeError, CancelledError)):
        list(stream)
