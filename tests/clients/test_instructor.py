"""instructor over the openai package, unchanged but for its base URL."""

from __future__ import annotations

from typing import Any

import openai
import pytest
from pydantic import BaseModel

from served import HALF, PLACE, Served

pytestmark = pytest.mark.clients
instructor = pytest.importorskip("instructor", reason="run by `make test-clients`")


class Place(BaseModel):
    city: str
    orders: list[int]


@pytest.mark.parametrize("mode", ["JSON", "JSON_SCHEMA"])
def test_a_model_comes_back(served: Served, mode: str) -> None:
    client: Any = instructor.from_openai(
        openai.OpenAI(base_url=served.base_url, api_key="none"), mode=getattr(instructor.Mode, mode)
    )
    place = client.create(
        model="extract",
        response_model=Place,
        max_retries=0,
        messages=[{"role": "user", "content": f"SAY ```json\n{PLACE}\n```"}],
    )
    assert place.model_dump() == {"city": "Köln", "orders": [4711, 4712]}  # it is of a class that instructor made
    assert served.last()["ending"] == "accepted"


def test_a_model_comes_back_from_a_tool(served: Served) -> None:
    client: Any = instructor.from_openai(openai.OpenAI(base_url=served.base_url, api_key="none"))
    asked = [{"role": "user", "content": "Which orders are in Berlin?"}]
    assert isinstance(client.create(model="write", response_model=Place, max_retries=0, messages=asked), Place)


def test_the_gateway_escalates_before_instructor_has_to_ask_again(served: Served) -> None:
    client: Any = instructor.from_openai(
        openai.OpenAI(base_url=served.base_url, api_key="none"), mode=instructor.Mode.JSON_SCHEMA
    )
    before = served.count()
    asked = [{"role": "user", "content": f"SAY {HALF} | {PLACE}"}]
    place = client.create(model="extract", response_model=Place, max_retries=3, messages=asked)
    assert place.orders == [4711, 4712]
    assert served.count() == before + 1
    assert served.last()["escalated"] == 1
