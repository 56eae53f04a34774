"""The anthropic package for Python, unchanged but for its base URL."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from served import Served

pytestmark = pytest.mark.clients
anthropic = pytest.importorskip("anthropic", reason="run by `make test-clients`")

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


TOOL = {
    "name": "look_up",
    "description": "Look an order up.",
    "input_schema": {"type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"]},
}


@pytest.fixture(scope="module")
def client(served: Served) -> Iterator[Any]:
    base_url = served.base_url.removesuffix("/v1")
    with anthropic.Anthropic(base_url=base_url, api_key="none", max_retries=0) as made:
        yield made


def user(content: Any) -> list[Any]:
    return [{"role": "user", "content": content}]


def test_create_gives_text_usage_and_the_trail(client: Any) -> None:
    answer = client.messages.create(
        model="write",
        max_tokens=100,
        system=[{"type": "text", "text": "Be brief.", "cache_control": {"type": "ephemeral"}}],
        messages=user("SAY Hello there."),
        metadata={"user_id": "u"},
    )
    assert answer.content[0].text == "Hello there."
    assert answer.stop_reason == "end_turn"
    assert answer.id.startswith("msg_")
    assert answer.usage.input_tokens > 0
    assert answer.model_extra["cheapfirst"]["tier"] == "cheap"


@pytest.mark.parametrize("task", ["write", "talk"])
def test_stream_says_the_same_piece_by_piece(client: Any, task: str) -> None:
    words = "Schöne Äpfel, " * 8
    with client.messages.stream(model=task, max_tokens=400, messages=user(f"SAY {words}.")) as stream:
        texts = list(stream.text_stream)
        answer = stream.get_final_message()
    assert "".join(texts) == answer.content[0].text == f"{words}."
    assert answer.stop_reason == "end_turn"
    assert answer.usage.output_tokens > 0


@pytest.mark.parametrize("stream", [False, True])
def test_tools_are_called_and_their_results_taken(client: Any, stream: bool) -> None:
    asked: Any = {
        "model": "write",
        "max_tokens": 200,
        "messages": user("Where is order 7?"),
        "tools": [TOOL],
        "tool_choice": {"type": "any"},
    }
    if stream:
        with client.messages.stream(**asked) as events:
            answer = events.get_final_message()
    else:
        answer = client.messages.create(**asked)
    use = answer.content[-1]
    assert answer.stop_reason == "tool_use"
    assert use.name == "look_up"
    assert isinstance(use.input["order"], int)
    asked["messages"] += [
        {"role": "assistant", "content": answer.content},
        *user([{"type": "tool_result", "tool_use_id": use.id, "content": "SAY At sea."}]),
    ]
    again = client.messages.create(**{**asked, "tool_choice": {"type": "none"}})
    assert again.content[0].text == "At sea."


def test_images_reach_the_model(client: Any) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PIXEL}}
    answer = client.messages.create(
        model="write", max_tokens=500, messages=user([image, {"type": "text", "text": "What is it?"}])
    )
    assert PIXEL in answer.content[0].text


def test_a_refusal_is_the_clients_own_exception(client: Any) -> None:
    with pytest.raises(anthropic.NotFoundError) as caught:
        client.messages.create(model="nobody/knows", max_tokens=9, messages=user("Hi"))
    assert caught.value.body["error"]["code"] == "model_not_found"
