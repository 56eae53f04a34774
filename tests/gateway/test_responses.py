"""The Responses protocol over the wire, asked by the real openai client, answered by the simulator."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import openai
import pydantic
import pytest

from cheapfirst.gateway.server import serve_in_thread
from cheapfirst.messages import Wire
from cheapfirst.simulator import Options, SimModel
from cheapfirst.simulator import serve_in_thread as simulate
from cheapfirst.simulator.answerer import Made, Skill
from cheapfirst.simulator.thread import Handle as Simulated

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
TOOL: Any = {
    "type": "function",
    "name": "look_up",
    "description": "Look an order up.",
    "parameters": {
        "type": "object",
        "properties": {"order": {"type": "integer"}},
        "required": ["order"],
        "additionalProperties": False,
    },
    "strict": True,
}


class Person(pydantic.BaseModel):
    name: str
    kind: Literal["a", "b"]


def say(skill: Skill, body: Wire, rng: random.Random) -> Made:
    """What stands behind SAY in the user's words: the cheap models' answer | the premium one's."""
    del rng
    told = str(body["messages"][-1]["content"])
    cheap, _, premium = told.partition("SAY")[2].partition("|")
    return Made(text=(premium or cheap if skill == "premium" else cheap).strip() or f"Heard: {told}")


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulated]:
    with simulate(Options(models=MODELS), answerer=say) as handle:
        yield handle


@pytest.fixture(scope="module")
def client(simulator: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[openai.OpenAI]:
    folder: Path = tmp_path_factory.mktemp("gateway")
    policy = folder / "cheapfirst.toml"
    policy.write_text(POLICY)
    with (
        serve_in_thread(policy, base_url=simulator.base_url, ledger=folder / "ledger.db") as gateway,
        openai.OpenAI(base_url=gateway.base_url, api_key="none", max_retries=0) as made,
    ):
        yield made


def test_a_plain_answer_has_text_usage_and_the_trail(client: openai.OpenAI) -> None:
    answer = client.responses.create(
        model="write", instructions="Be brief.", input="SAY Hello there.", metadata={"feature": "f", "order": "7"}
    )
    assert answer.output_text == "Hello there."
    assert answer.status == "completed"
    assert answer.model == "sim/small"
    assert answer.id.startswith("resp_")
    assert answer.created_at > 1_600_000_000
    assert answer.metadata == {"feature": "f", "order": "7"}
    assert answer.instructions == "Be brief."
    assert answer.usage is not None
    assert answer.usage.input_tokens > 0
    assert answer.usage.total_tokens == answer.usage.input_tokens + answer.usage.output_tokens
    extra = answer.model_extra or {}
    assert extra["cheapfirst"]["tier"] == "cheap"
    assert extra["store"] is False


def test_a_structured_answer_is_parsed_after_an_escalation(client: openai.OpenAI) -> None:
    bad, good = '{"name": "Ada", "kind": "z"}', '{"name": "Ada", "kind": "b"}'
    answer = client.responses.parse(model="extract", input=f"SAY {bad} | {good}", text_format=Person)
    assert answer.output_parsed == Person(name="Ada", kind="b")
    assert (answer.model_extra or {})["cheapfirst"]["escalated"] is True
    assert answer.model == "sim/large"


@pytest.mark.parametrize("task", ["write", "chat"])
def test_a_stream_says_the_same_piece_by_piece(client: openai.OpenAI, task: str) -> None:
    words = "Schöne Äpfel, " * 8
    kinds, deltas = [], []
    with client.responses.stream(model=task, input=f"SAY {words}.") as stream:
        for event in stream:
            kinds.append(event.type)
            if event.type == "response.output_text.delta":
                deltas.append(event.delta)
        answer = stream.get_final_response()
    assert "".join(deltas) == answer.output_text == f"{words}."
    assert kinds[:4] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.content_part.added",
    ]
    assert kinds[-4:] == [
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert answer.usage is not None
    assert (answer.model_extra or {})["cheapfirst"]["tier"] == "cheap"


def test_a_streamed_structured_answer_is_parsed(client: openai.OpenAI) -> None:
    text = 'SAY {"name": "Ada", "kind": "b"}'
    with client.responses.stream(model="extract", input=text, text_format=Person) as stream:
        assert stream.get_final_response().output_parsed == Person(name="Ada", kind="b")


@pytest.mark.parametrize("streamed", [False, True])
def test_a_tool_is_called_and_its_output_answered(client: openai.OpenAI, streamed: bool) -> None:
    items: list[Any] = [{"role": "user", "content": "Where is order 4711?"}]
    if streamed:
        with client.responses.stream(model="chat", input=items, tools=[TOOL]) as stream:
            first: Any = stream.get_final_response()
    else:
        first = client.responses.create(model="chat", input=items, tools=[TOOL])
    (call,) = [item for item in first.output if item.type == "function_call"]
    assert call.name == "look_up"
    assert list(json.loads(call.arguments)) == ["order"]
    items += first.output
    items.append({"type": "function_call_output", "call_id": call.call_id, "output": "SAY In Bremen."})
    second = client.responses.create(model="chat", input=items, tools=[TOOL])
    assert second.output_text == "In Bremen."


def test_a_cut_off_answer_is_incomplete(client: openai.OpenAI) -> None:
    answer = client.responses.create(model="write", input=f"SAY {'long words ' * 50}", max_output_tokens=20)
    assert answer.status == "incomplete"
    assert answer.incomplete_details is not None
    assert answer.incomplete_details.reason == "max_output_tokens"
    assert answer.output[-1].status == "incomplete"  # type: ignore[union-attr]


def test_refusals_have_the_protocols_error_shape(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="write", input="x", tools=[{"type": "web_search"}])
    assert (caught.value.code, caught.value.param) == ("unsupported_tool", "tools[0]")
    with pytest.raises(openai.BadRequestError) as caught:
        client.responses.create(model="write", input="x", previous_response_id="resp_0")
    assert caught.value.code == "not_stored"
    with pytest.raises(openai.NotFoundError) as missing:
        client.responses.create(model="nobody/knows", input="x")
    assert missing.value.code == "model_not_found"


def test_a_fault_inside_a_stream_is_said_in_the_stream(client: openai.OpenAI, simulator: Simulated) -> None:
    simulator.script("mid_stream_error")
    events = list(client.responses.create(model="chat", input=f"SAY {'many words ' * 20}", stream=True))
    kinds = [event.type for event in events]
    assert kinds[-2:] == ["error", "response.failed"]
    assert "response.completed" not in kinds
