"""The real anthropic client, against the gateway over the simulator."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from test_messages import POLICY, TOOL, say

from cheapfirst.gateway.server import serve_in_thread
from cheapfirst.simulator import Options, SimModel
from cheapfirst.simulator import serve_in_thread as simulate

pytestmark = pytest.mark.clients

PIXEL = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    anthropic = pytest.importorskip("anthropic")
    folder = tmp_path_factory.mktemp("gateway")
    policy = folder / "cheapfirst.toml"
    policy.write_text(POLICY.replace("tools = true", "tools = true\nvision = true"))
    with (
        simulate(
            Options(models=(SimModel(id="sim/small", input_modalities=("text", "image")),)), answerer=say
        ) as simulator,
        serve_in_thread(policy, base_url=simulator.base_url, ledger=folder / "ledger.db") as gateway,
        anthropic.Anthropic(base_url=gateway.base_url.removesuffix("/v1"), api_key="none", max_retries=0) as made,
    ):
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


@pytest.mark.parametrize("task", ["write", "chat"])
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
    anthropic = pytest.importorskip("anthropic")
    with pytest.raises(anthropic.NotFoundError) as caught:
        client.messages.create(model="nobody/knows", max_tokens=9, messages=user("Hi"))
    assert caught.value.body["error"]["code"] == "model_not_found"
