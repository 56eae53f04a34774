"""`plan.make`: which attempts a request may have, and why."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from cheapfirst import catalog
from cheapfirst.catalog import Catalog, ModelOverride
from cheapfirst.errors import NoModelFits, RequestError
from cheapfirst.messages import Plan, Request
from cheapfirst.plan import estimate_tokens, make
from cheapfirst.policy.checks import Grounded
from cheapfirst.policy.table import Limits, LongPrompt, Policy, Route, Tier

SMALL = ModelOverride(
    input=Decimal("0.1"),
    output=Decimal("0.2"),
    context=8000,
    max_output=2000,
    tools=False,
    vision=False,
    structured="json_object",
)
OTHER = structs.replace(SMALL, max_output=6000, vision=True, structured="json_schema")
LARGE = ModelOverride(
    input=Decimal(5),
    output=Decimal(25),
    context=200_000,
    max_output=32_000,
    tools=True,
    vision=True,
    structured="json_schema",
)
CATALOG = catalog.load({"t/small": SMALL, "t/other": OTHER, "t/large": LARGE, "t/unknown": ModelOverride()})
SCHEMA = {"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"]}


def route(task: str = "extract", **options: Any) -> Route:
    return Route(task=task, tier_reason="route says so", **{"tier": "cheap", "shape": "json", **options})


DEFAULT = Limits()


def policy(*routes: Route, limits: Limits = DEFAULT, cheap: tuple[str, ...] = ("t/small", "t/other")) -> Policy:
    return Policy(
        tiers=(Tier(name="cheap", models=cheap), Tier(name="premium", models=("t/large",))),
        routes={one.task: one for one in routes or (route(),)},
        limits=limits,
    )


def request(text: str = "hello", task: str = "extract", **options: Any) -> Request:
    body = {"messages": [{"role": "user", "content": text}], **options.pop("body", {})}
    return Request(id="req_1", task=task, body=body, **options)


def planned(plan: Plan) -> list[tuple[str, str, str, str, int]]:
    return [(one.on, one.tier, one.model, one.form, one.max_tokens) for one in plan.attempts]


def test_a_structured_request_goes_cheap_first_in_the_strongest_form_each_model_has() -> None:
    assert planned(make(request(schema=SCHEMA), policy(), CATALOG)) == [
        ("start", "cheap", "t/small", "json_object", 2000),
        ("downgrade", "cheap", "t/small", "prompt", 2000),
        ("fault", "cheap", "t/other", "json_schema", 4096),
        ("downgrade", "cheap", "t/other", "json_object", 4096),
        ("downgrade", "cheap", "t/other", "prompt", 4096),
        ("cut-off", "cheap", "t/other", "json_schema", 6000),
        ("reject", "premium", "t/large", "json_schema", 4096),
        ("downgrade", "premium", "t/large", "json_object", 4096),
        ("downgrade", "premium", "t/large", "prompt", 4096),
        ("cut-off", "premium", "t/large", "json_schema", 16384),
    ]


def test_every_attempt_says_why_it_stands_there() -> None:
    plan = make(request(schema=SCHEMA), policy(), CATALOG)
    assert all(one.reasons and all(one.reasons) for one in plan.attempts)
    assert plan.reasons == ("route says so",)


def test_a_model_that_does_not_fit_is_skipped_with_the_reason() -> None:
    image = {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}]}
    plan = make(request(body=image), policy(), CATALOG)
    assert [(skip.model, skip.reason) for skip in plan.skipped] == [("t/small", "it cannot read images")]
    assert plan.attempts[0].model == "t/other"


def test_if_no_model_fits_the_error_names_what_each_lacked() -> None:
    with pytest.raises(NoModelFits) as caught:
        make(request("x" * 900_000), policy(), CATALOG)
    assert caught.value.lacks.keys() == {"t/small", "t/other", "t/large"}
    assert "context window of 200,000" in caught.value.lacks["t/large"]


def test_tools_need_a_model_with_tools() -> None:
    plan = make(request(body={"tools": [{"type": "function", "function": {"name": "f"}}]}), policy(), CATALOG)
    assert {one.model for one in plan.attempts} == {"t/large"}
    assert plan.attempts[0].form == "tools"


def test_what_the_catalog_does_not_know_is_not_held_against_a_model_but_said() -> None:
    plan = make(request(schema=SCHEMA), policy(cheap=("t/unknown",)), CATALOG)
    assert plan.attempts[0].model == "t/unknown"
    assert any("not checked: context window, structured output" in reason for reason in plan.attempts[0].reasons)
    assert plan.attempts[0].form == "prompt"
    assert plan.attempts[0].worst_case is None


def test_long_prompts_go_up_by_the_rule_in_the_table() -> None:
    table = policy(route(long_prompt=LongPrompt(tokens=1000, tier="premium")))
    assert make(request("x" * 2000), table, CATALOG).tier == "cheap"
    plan = make(request("x" * 4000), table, CATALOG)
    assert plan.tier == "premium"
    assert "long_prompt.tokens = 1,000" in plan.reasons[-1]


def test_a_forced_model_is_all_there_is_and_is_recorded_as_forced() -> None:
    plan = make(request(model="t/large"), policy(), CATALOG)
    assert plan.forced
    assert {(one.tier, one.model) for one in plan.attempts} == {("premium", "t/large")}


def test_a_forced_tier_fails_over_within_itself_and_never_escalates() -> None:
    plan = make(request(tier="cheap"), policy(), CATALOG)
    assert {one.tier for one in plan.attempts} == {"cheap"}


def test_unknown_tasks_and_tiers_name_the_nearest() -> None:
    with pytest.raises(RequestError, match="unknown task 'extrct'; did you mean \"extract\""):
        make(request(task="extrct"), policy(), CATALOG)
    with pytest.raises(RequestError, match='did you mean "premium"'):
        make(request(tier="premum"), policy(), CATALOG)


def test_the_callers_own_cap_is_never_exceeded() -> None:
    for said in (500, 500.0):
        plan = make(request(body={"max_tokens": said}), policy(), CATALOG)
        assert {one.max_tokens for one in plan.attempts} == {500}


@pytest.mark.parametrize("bad", [0, -1, "many", 1.5, True])
def test_a_cap_that_is_no_number_of_tokens_is_refused(bad: object) -> None:
    with pytest.raises(RequestError, match="max_tokens must be a whole number"):
        make(request(body={"max_tokens": bad}), policy(), CATALOG)


def test_a_route_that_may_not_escalate_stays_on_its_tier() -> None:
    plan = make(request(), policy(route(escalate=False)), CATALOG)
    assert {one.tier for one in plan.attempts} == {"cheap"}


def test_a_route_that_asks_again_has_one_re_ask_on_each_tier() -> None:
    plan = make(request(), policy(route(reask=True)), CATALOG)
    assert [one.model for one in plan.attempts if one.on == "re-ask"] == ["t/small", "t/large"]


def test_a_cost_ceiling_leaves_out_models_that_could_break_it_or_whose_price_is_unknown() -> None:
    table = policy(limits=Limits(max_cost=Decimal("0.01")), cheap=("t/unknown", "t/small"))
    plan = make(request(), table, CATALOG)
    assert {one.model for one in plan.attempts} == {"t/small"}
    assert [skip.model for skip in plan.skipped] == ["t/unknown", "t/large"]


def test_the_plan_names_all_checks() -> None:
    plan = make(request(schema=SCHEMA), policy(route(checks=(Grounded(),))), CATALOG)
    assert plan.checks == ("schema", "grounded")


def test_dense_scripts_are_counted_as_more_tokens_than_latin_letters() -> None:
    def of(text: str) -> int:
        return estimate_tokens({"messages": [{"role": "user", "content": text}]})

    assert of("漢" * 300) >= 300
    assert of("a" * 300) < 150


OVERRIDES = st.builds(
    ModelOverride,
    input=st.none() | st.decimals(0, 20, places=3),
    output=st.none() | st.decimals(0, 20, places=3),
    context=st.none() | st.integers(1, 60_000),
    max_output=st.none() | st.integers(1, 30_000),
    tools=st.none() | st.booleans(),
    vision=st.none() | st.booleans(),
    structured=st.none() | st.sampled_from(["json_schema", "json_object", "prompt"]),
)


@given(
    models=st.lists(OVERRIDES, min_size=4, max_size=4),
    length=st.integers(0, 60_000),
    image=st.booleans(),
    tools=st.booleans(),
    schema=st.none() | st.just(SCHEMA),
    max_cost=st.none() | st.decimals("0.000001", 1, places=6),
    room=st.integers(1, 20_000),
    forced=st.none() | st.sampled_from(["m/0", "m/3"]),
)
def test_a_plan_never_contains_a_model_that_does_not_fit(
    models: list[ModelOverride],
    length: int,
    image: bool,
    tools: bool,
    schema: dict[str, Any] | None,
    max_cost: Decimal | None,
    room: int,
    forced: str | None,
) -> None:
    known: Catalog = catalog.load({f"m/{number}": model for number, model in enumerate(models)})
    table = Policy(
        tiers=(
            Tier(name="cheap", models=("m/0", "m/1")),
            Tier(name="middle", models=("m/2",)),
            Tier(name="premium", models=("m/3",)),
        ),
        routes={"extract": route(max_tokens=room)},
        limits=Limits(max_cost=max_cost, escalations=2),
    )
    content: list[dict[str, Any]] = [{"type": "text", "text": "x" * length}]
    if image:
        content.append({"type": "image_url", "image_url": {"url": "https://example.com/a.png"}})
    body: dict[str, Any] = {"messages": [{"role": "user", "content": content}]}
    if tools:
        body["tools"] = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    asked = Request(id="req_1", task="extract", body=body, schema=schema, model=forced)
    try:
        plan = make(asked, table, known)
    except NoModelFits as error:
        missing = set(error.lacks)
    else:
        missing = set()
    if missing:
        assert missing == ({forced} if forced else {"m/0", "m/1", "m/2", "m/3"})
        return
    for one in plan.attempts:
        model = models[int(one.model[2:])]
        if model.context is not None:
            assert plan.prompt_tokens + one.max_tokens <= model.context
        if model.max_output is not None:
            assert one.max_tokens <= model.max_output
        assert not (image and model.vision is False)
        assert not (tools and model.tools is False)
        if max_cost is not None and one.on in ("start", "reject"):
            assert one.worst_case is not None
            assert one.worst_case <= max_cost
        strength = ["none", "tools", "prompt", "json_object", "json_schema"]
        assert strength.index(one.form) <= strength.index(model.structured or "prompt")
