"""LangChain's ChatOpenAI and ChatAnthropic, unchanged but for its base URL."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel, SecretStr

from served import HALF, PLACE, WORDS, Served

pytestmark = pytest.mark.clients
langchain_openai = pytest.importorskip("langchain_openai", reason="run by `make test-clients`")


class Place(BaseModel):
    """A place with its orders."""

    city: str
    orders: list[int]


class look_up(BaseModel):
    """Look an order up."""

    order: int


def chat(served: Served, task: str, **more: Any) -> Any:
    return langchain_openai.ChatOpenAI(
        base_url=served.base_url, api_key=SecretStr("none"), model=task, max_retries=0, **more
    )


def test_invoke_gives_text_usage_and_the_real_model(served: Served) -> None:
    answer = chat(served, "write", metadata={"feature": "x"}).invoke(f"SAY {WORDS}")
    assert answer.content == WORDS
    assert answer.response_metadata["model_name"] == "sim/small"
    assert answer.usage_metadata["output_tokens"] == served.last()["completion_tokens"]


def test_stream_says_the_same(served: Served) -> None:
    pieces = list(chat(served, "talk", stream_usage=True).stream(f"SAY {WORDS}"))
    assert "".join(piece.content for piece in pieces) == WORDS
    assert served.last()["ending"] == "accepted"


def test_structured_output_escalates_where_the_cheap_answer_is_none(served: Served) -> None:
    model = chat(served, "extract").with_structured_output(Place)
    assert model.invoke(f"SAY {HALF} | {PLACE}") == Place(city="Köln", orders=[4711, 4712])
    assert served.last()["tier"] == "premium"


def test_tools_are_called_and_their_results_taken(served: Served) -> None:
    messages = pytest.importorskip("langchain_core.messages")
    model = chat(served, "write").bind_tools([look_up])
    said = [messages.HumanMessage("Where is order 7?")]
    answer = model.invoke(said, tool_choice="required")
    (call,) = answer.tool_calls
    assert call["name"] == "look_up"
    assert isinstance(call["args"]["order"], int)
    again = model.invoke([*said, answer, messages.ToolMessage("SAY At sea.", tool_call_id=call["id"])])
    assert again.content == "At sea."


async def test_the_asynchronous_methods_do_the_same(served: Served) -> None:
    assert (await chat(served, "write").ainvoke(f"SAY {WORDS}")).content == WORDS


def test_the_responses_api_through_the_same_class(served: Served) -> None:
    answer = chat(served, "write", use_responses_api=True).invoke(f"SAY {WORDS}")
    assert answer.text == WORDS
    assert answer.usage_metadata["output_tokens"] == served.last()["completion_tokens"]


@pytest.fixture
def messages(served: Served) -> Any:
    anthropic = pytest.importorskip("langchain_anthropic", reason="run by `make test-clients`")
    base_url = served.base_url.removesuffix("/v1")

    def made(task: str) -> Any:
        return anthropic.ChatAnthropic(base_url=base_url, api_key=SecretStr("none"), model=task, max_retries=0)

    return made


def test_chat_anthropic_answers_whole_and_streamed(messages: Any, served: Served) -> None:
    answer = messages("write").invoke(f"SAY {WORDS}")
    assert answer.text == WORDS
    assert answer.usage_metadata["output_tokens"] == served.last()["completion_tokens"]
    assert "".join(piece.text for piece in messages("talk").stream(f"SAY {WORDS}")) == WORDS
    assert (served.last()["task"], served.last()["ending"]) == ("talk", "accepted")


def test_chat_anthropic_calls_tools(messages: Any) -> None:
    answer = messages("write").bind_tools([look_up], tool_choice="any").invoke("Where is order 7?")
    (call,) = answer.tool_calls
    assert call["name"] == "look_up"
    assert isinstance(call["args"]["order"], int)
