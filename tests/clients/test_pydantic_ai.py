"""pydantic-ai, unchanged but for its base URL."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from served import PLACE, WORDS, Served

pytestmark = pytest.mark.clients
pydantic_ai = pytest.importorskip("pydantic_ai", reason="run by `make test-clients`")


class Place(BaseModel):
    city: str
    orders: list[int]


def model(served: Served, task: str) -> Any:
    models = pytest.importorskip("pydantic_ai.models.openai")
    providers = pytest.importorskip("pydantic_ai.providers.openai")
    return models.OpenAIChatModel(task, provider=providers.OpenAIProvider(base_url=served.base_url, api_key="none"))


async def test_an_agent_answers(served: Served) -> None:
    ran = await pydantic_ai.Agent(model(served, "write"), instructions="Be brief.").run(f"SAY {WORDS}")
    assert ran.output == WORDS
    assert served.last()["ending"] == "accepted"


async def test_an_agent_streams(served: Served) -> None:
    async with pydantic_ai.Agent(model(served, "talk")).run_stream(f"SAY {WORDS}") as stream:
        pieces = [piece async for piece in stream.stream_text(delta=True, debounce_by=None)]
    assert "".join(pieces) == WORDS


async def test_an_agents_output_is_a_model_by_schema(served: Served) -> None:
    agent = pydantic_ai.Agent(model(served, "extract"), output_type=pydantic_ai.NativeOutput(Place))
    assert (await agent.run(f"SAY {PLACE}")).output == Place(city="Köln", orders=[4711, 4712])


async def test_an_agents_output_is_a_model_by_tool(served: Served) -> None:
    agent = pydantic_ai.Agent(model(served, "write"), output_type=Place)
    assert isinstance((await agent.run("Which orders are in Berlin?")).output, Place)
    assert served.last()["ending"] == "accepted"


async def test_an_agent_calls_its_tools(served: Served) -> None:
    agent = pydantic_ai.Agent(model(served, "write"))
    asked: list[int] = []

    @agent.tool_plain  # type: ignore[untyped-decorator]
    def look_up(order: int) -> str:
        """Look an order up."""
        asked.append(order)
        return "SAY At sea."

    assert (await agent.run("Where is order 7?")).output == "At sea."
    assert len(asked) == 1
