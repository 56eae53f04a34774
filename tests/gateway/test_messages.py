"""The Messages protocol over the wire, byte by byte, answered by the simulator."""

from __future__ import annotations

import json
import random
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cheapfirst.gateway.server import serve_in_thread
from cheapfirst.messages import Wire
from cheapfirst.simulator import Options, SimModel
from cheapfirst.simulator import serve_in_thread as simulate
from cheapfirst.simulator.answerer import Made, Skill

POLICY = """
[tiers]
cheap = "sim/small"
premium = "sim/large"

[routes]
extract = { tier = "cheap", shape = "json" }
write = { tier = "cheap", shape = "text" }
chat = { tier = "cheap", shape = "stream", stream = "pass" }

[limits]
backoff = 0.001

[models."sim/small"]
input = 0.1
output = 0.2
structured = "json_schema"
tools = true

[models."sim/large"]
input = 5
output = 25
structured = "json_schema"
tools = true
"""
MODELS = (SimModel(id="sim/small"), SimModel(id="sim/large", skill="premium"))
TOOL = {
    "name": "look_up",
    "description": "Look an order up.",
    "input_schema": {"type": "object", "properties": {"order": {"type": "integer"}}, "required": ["order"]},
}
SCHEMA = {
    "type": "object",
    "properties": {"kind": {"enum": ["a", "b"]}},
    "required": ["kind"],
    "additionalProperties": False,
}


def say(skill: Skill, body: Wire, rng: random.Random) -> Made:
    """What stands behind SAY in the user's words: the cheap models' answer | the premium one's."""
    del rng
    told = str(body["messages"][-1]["content"])
    cheap, _, premium = told.partition("SAY")[2].partition("|")
    return Made(text=(premium or cheap if skill == "premium" else cheap).strip() or f"Heard: {told}")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder: Path = tmp_path_factory.mktemp("gateway")
    policy = folder / "cheapfirst.toml"
    policy.write_text(POLICY)
    with (
        simulate(Options(models=MODELS), answerer=say) as simulator,
        serve_in_thread(policy, base_url=simulator.base_url, ledger=folder / "ledger.db") as gateway,
    ):
        yield gateway.base_url


def ask(base: str, words: str, **more: Any) -> tuple[int, bytes, Any]:
    body = {"model": "write", "max_tokens": 200, "messages": [{"role": "user", "content": words}], **more}
    request = urllib.request.Request(f"{base}/messages", data=json.dumps(body).encode(), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=10) as response:
            return response.status, response.read(), response.headers
    except urllib.error.HTTPError as error:
        return error.code, error.read(), error.headers


def test_a_message_comes_back_with_its_trail(base: str) -> None:
    status, said, headers = ask(base, "SAY Hello there.", system="Be brief.", metadata={"user_id": "u"})
    told = json.loads(said)
    assert status == 200
    assert told["content"] == [{"type": "text", "text": "Hello there."}]
    assert told["stop_reason"] == "end_turn"
    assert told["model"] == headers["x-cheapfirst-model"] == "sim/small"
    assert told["usage"]["input_tokens"] > 0
    assert told["cheapfirst"]["tier"] == "cheap"


def test_an_answer_that_breaks_the_wanted_schema_is_escalated(base: str) -> None:
    form = {"format": {"type": "json_schema", "schema": SCHEMA}}
    status, said, _ = ask(base, 'SAY {"kind": "z"} | {"kind": "b"}', model="extract", output_config=form)
    told = json.loads(said)
    assert status == 200
    assert json.loads(told["content"][0]["text"]) == {"kind": "b"}
    assert told["cheapfirst"]["escalated"] is True
    assert told["model"] == "sim/large"


def test_a_tool_is_used_and_its_result_is_taken(base: str) -> None:
    wanted = {"type": "tool", "name": "look_up"}
    told = json.loads(ask(base, "Where is order 7?", tools=[TOOL], tool_choice=wanted)[1])
    use = told["content"][-1]
    assert told["stop_reason"] == "tool_use"
    assert (use["type"], use["name"]) == ("tool_use", "look_up")
    assert isinstance(use["input"]["order"], int)
    turns = [
        {"role": "user", "content": "Where is order 7?"},
        {"role": "assistant", "content": told["content"]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": use["id"], "content": "SAY At sea."}]},
    ]
    again = json.loads(ask(base, "", tools=[TOOL], messages=turns, tool_choice={"type": "none"})[1])
    assert again["content"] == [{"type": "text", "text": "At sea."}]


@pytest.mark.parametrize("task", ["write", "chat"])
def test_a_stream_has_the_protocols_events_in_order(base: str, task: str) -> None:
    words = "Schöne Äpfel, " * 8
    status, said, headers = ask(base, f"SAY {words}.", model=task, stream=True)
    assert status == 200
    assert headers["content-type"].startswith("text/event-stream")
    told = [json.loads(line[6:]) for line in said.decode().splitlines() if line.startswith("data: ")]
    kinds = [event["type"] for event in told]
    assert kinds[:2] == ["message_start", "content_block_start"]
    assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]
    texts = [event["delta"]["text"] for event in told if event["type"] == "content_block_delta"]
    assert "".join(texts) == f"{words}."
    assert told[-2]["delta"]["stop_reason"] == "end_turn"
    assert told[-2]["usage"]["output_tokens"] > 0
    assert told[-2]["cheapfirst"]["tier"] == "cheap"


@pytest.mark.parametrize(
    ("body", "status", "kind", "code"),
    [
        ({"max_tokens": None}, 400, "invalid_request_error", "invalid_value"),
        ({"model": "nobody/knows"}, 404, "not_found_error", "model_not_found"),
        ({"tools": [{"type": "bash_20250124", "name": "bash"}]}, 400, "invalid_request_error", "not_supported"),
    ],
)
def test_a_refusal_has_anthropics_shape(base: str, body: Wire, status: int, kind: str, code: str) -> None:
    got, said, _ = ask(base, "Hi", **body)
    told = json.loads(said)
    assert got == status
    assert told["type"] == "error"
    assert told["error"]["type"] == kind
    assert told["error"]["code"] == code
