"""`compose.body`: what is sent for one attempt."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec import structs

from cheapfirst import compose
from cheapfirst.messages import Attempt, Finding, Outcome, Planned, Request, Verdict
from cheapfirst.policy.table import Policy, Route, Tier, Upstream

SCHEMA = {
    "type": "object",
    "properties": {"total": {"type": "number"}},
    "required": ["total"],
    "additionalProperties": False,
}
ROUTE = Route(
    task="extract", tier="cheap", tier_reason="r", shape="json", prompt="Extract.", prompts={"premium": "Do."}
)
POLICY = Policy(tiers=(Tier(name="cheap", models=("a/b",)),), routes={"extract": ROUTE})


def request(**body: Any) -> Request:
    return Request(
        id="req_1", task="extract", body={"messages": [{"role": "user", "content": "hi"}], **body}, schema=SCHEMA
    )


def planned(form: Any = "json_schema", tier: str = "cheap", fallbacks: tuple[str, ...] = ()) -> Planned:
    return Planned(on="start", tier=tier, model="a/b", form=form, max_tokens=100, fallbacks=fallbacks)


def test_fields_we_do_not_know_survive() -> None:
    wire = compose.body(request(seed=7, new_field={"deep": [1]}), planned(), ROUTE, POLICY)
    assert (wire["seed"], wire["new_field"]) == (7, {"deep": [1]})


def test_the_callers_request_is_not_changed() -> None:
    asked = request()
    compose.body(asked, planned("prompt"), ROUTE, POLICY)
    assert asked.body == {"messages": [{"role": "user", "content": "hi"}]}


def test_json_schema_is_sent_strict_only_when_the_schema_is_within_the_strict_subset() -> None:
    strict = compose.body(request(), planned(), ROUTE, POLICY)
    assert strict["response_format"]["json_schema"] == {"name": "answer", "strict": True, "schema": SCHEMA}
    loose = structs.replace(request(), schema={**SCHEMA, "required": []})
    assert compose.body(loose, planned(), ROUTE, POLICY)["response_format"]["json_schema"]["strict"] is False


@pytest.mark.parametrize(("form", "sent"), [("json_object", {"type": "json_object"}), ("prompt", None)])
def test_weaker_forms_put_the_schema_into_the_instructions(form: str, sent: object) -> None:
    wire = compose.body(request(), planned(form), ROUTE, POLICY)
    assert wire.get("response_format") == sent
    assert '"total"' in wire["messages"][0]["content"]


def test_the_routes_prompt_has_variants_by_tier_and_gives_way_to_the_callers_own() -> None:
    assert compose.body(request(), planned(), ROUTE, POLICY)["messages"][0]["content"] == "Extract."
    assert compose.body(request(), planned(tier="premium"), ROUTE, POLICY)["messages"][0]["content"] == "Do."
    own = request(messages=[{"role": "system", "content": "Mine."}, {"role": "user", "content": "hi"}])
    assert compose.body(own, planned(), ROUTE, POLICY)["messages"][0]["content"] == "Mine."
    with_schema = compose.body(own, planned("prompt"), ROUTE, POLICY)["messages"][0]["content"]
    assert with_schema.startswith("Mine.\n\n")


def test_structured_routes_are_cold_unless_someone_said_otherwise() -> None:
    assert compose.body(request(), planned(), ROUTE, POLICY)["temperature"] == 0
    assert compose.body(request(temperature=0.7), planned(), ROUTE, POLICY)["temperature"] == 0.7
    warm = structs.replace(ROUTE, temperature=0.3)
    assert compose.body(request(), planned(), warm, POLICY)["temperature"] == 0.3
    text = structs.replace(ROUTE, shape="text")
    assert "temperature" not in compose.body(request(), planned(), text, POLICY)


def test_a_reask_shows_the_model_its_answer_and_the_verdict() -> None:
    finding = Finding(check="schema", code="schema.required", sentence="total is missing")
    rejected = Attempt(
        number=1,
        planned=planned(),
        on="start",
        outcome=Outcome(kind="answer", text="{}"),
        verdict=Verdict(accept=False, findings=(finding,)),
        model="a/b",
    )
    wire = compose.body(request(), planned(), ROUTE, POLICY, reask=rejected)
    assert wire["messages"][-2] == {"role": "assistant", "content": "{}"}
    assert "total is missing" in wire["messages"][-1]["content"]


def test_the_native_models_array_is_sent_where_the_upstream_has_it() -> None:
    several = planned(fallbacks=("c/d", "e/f"))
    assert compose.body(request(), several, ROUTE, POLICY)["models"] == ["a/b", "c/d", "e/f"]
    local = structs.replace(POLICY, upstream=Upstream(base_url="http://127.0.0.1:1/v1"))
    assert "models" not in compose.body(request(), several, ROUTE, local)


def test_a_streamed_call_asks_for_usage() -> None:
    wire = compose.body(request(), planned(), ROUTE, POLICY, stream=True)
    assert (wire["stream"], wire["stream_options"]) == (True, {"include_usage": True})


def test_one_room_field_is_sent() -> None:
    wire = compose.body(request(max_completion_tokens=50), planned(), ROUTE, POLICY)
    assert wire["max_tokens"] == 100
    assert "max_completion_tokens" not in wire
