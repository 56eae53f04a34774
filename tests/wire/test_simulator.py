"""The simulator speaks OpenRouter's wire: plain HTTP and the openai SDK are its clients here."""

from __future__ import annotations

import asyncio
import json
import random
import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import aiohttp
import openai
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cheapfirst.errors import SimulatorError
from cheapfirst.messages import Wire
from cheapfirst.simulator import (
    DEFAULT_MODELS,
    Caching,
    Handle,
    Latency,
    Made,
    Options,
    Override,
    SimModel,
    Simulator,
    read_options,
    serve_in_thread,
)
from cheapfirst.simulator.answerer import Skill
from simulator_client import CHEAP, PREMIUM, TEXT, Raw, body, call, get


def echo(skill: Skill, request: Wire, rng: random.Random) -> Made:
    """What was said, so that these tests know the answer."""
    return Made(text=str(request["messages"][-1]["content"]))


def dice(skill: Skill, request: Wire, rng: random.Random) -> Made:
    """A text by chance, so that seeds show."""
    return Made(text=" ".join(str(rng.randrange(1000)) for _ in range(20)))


@pytest.fixture(scope="module")
def server() -> Iterator[Handle]:
    with serve_in_thread(answerer=echo) as handle:
        yield handle


@pytest.fixture
def sim(server: Handle) -> Handle:
    server.reset()
    return server


def client(sim: Handle) -> openai.OpenAI:
    return openai.OpenAI(base_url=sim.base_url, api_key="sk-or-v1-any", max_retries=0, timeout=10)


def cost_of(raw: Raw) -> Decimal:
    told = json.loads(raw.data, parse_float=Decimal)["usage"]["cost"]
    return Decimal(told)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the simulator has no event for this
            await asyncio.sleep(0)


async def cancelled(simulator: Simulator) -> dict[str, Any]:
    """The only line of the books, once the simulator has noticed that its client left."""

    def only() -> dict[str, Any]:
        lines: list[dict[str, Any]] = simulator.books()["generations"]
        return lines[0]

    await until(lambda: bool(only()["cancelled"]))
    return only()


# --- the wire ---------------------------------------------------------------------------------------------------


def test_a_whole_answer_has_openrouters_fields_and_says_that_it_is_simulated(sim: Handle) -> None:
    raw = call(sim.base_url, body())
    answer = raw.json
    assert re.fullmatch(r"gen-\d{10}-[A-Za-z0-9]{20}", answer["id"])
    assert raw.headers["x-generation-id"] == answer["id"]
    assert raw.headers["x-cheapfirst-simulated"] == "1"
    assert answer["simulated"] is True
    assert answer["object"] == "chat.completion"
    assert answer["model"] == "deepseek/deepseek-v4-flash-20260423"
    assert answer["provider"] == "DeepSeek (simulated)"
    assert answer["choices"][0]["message"] == {
        "role": "assistant",
        "content": TEXT,
        "refusal": None,
        "reasoning": None,
    }
    assert answer["choices"][0]["finish_reason"] == answer["choices"][0]["native_finish_reason"] == "stop"


def test_cost_is_tokens_times_price_with_its_exact_digits(sim: Handle) -> None:
    raw = call(sim.base_url, body())
    usage = json.loads(raw.data, parse_float=Decimal)["usage"]
    asked = usage["prompt_tokens"] * Decimal("0.00000009")
    answered = usage["completion_tokens"] * Decimal("0.00000018")
    assert usage["cost"] == asked + answered
    assert usage["cost_details"]["upstream_inference_cost"] == asked + answered
    assert usage["cost_details"]["upstream_inference_prompt_cost"] == asked
    assert usage["cost_details"]["upstream_inference_completions_cost"] == answered
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    assert b"E-" not in raw.data
    assert b"e-0" not in raw.data


def test_a_stream_has_comments_deltas_a_finish_a_usage_chunk_and_done(sim: Handle) -> None:
    raw = call(sim.base_url, body(stream=True))
    assert raw.data.startswith(b": OPENROUTER PROCESSING\n\n")
    assert raw.text == TEXT
    assert raw.finishes == ["stop"]
    assert raw.chunks[-1]["choices"] == []
    assert raw.chunks[-1]["usage"]["cost"] > 0
    assert raw.done
    assert all(chunk["simulated"] and chunk["provider"].endswith("(simulated)") for chunk in raw.chunks)
    assert all(c["delta"]["role"] == "assistant" for chunk in raw.chunks for c in chunk["choices"])
    assert {chunk["id"] for chunk in raw.chunks} == {raw.headers["x-generation-id"]}


def test_the_openai_sdk_reads_a_whole_answer(sim: Handle) -> None:
    answer = client(sim).chat.completions.create(model=PREMIUM, messages=[{"role": "user", "content": "Hello"}])
    assert answer.choices[0].message.content == "Hello"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 1
    assert answer.model == "anthropic/claude-4.8-opus-20260528"


def test_the_openai_sdk_reads_a_stream(sim: Handle) -> None:
    pieces = []
    usage = None
    with client(sim).chat.completions.create(
        model=CHEAP, messages=[{"role": "user", "content": TEXT}], stream=True
    ) as stream:
        for chunk in stream:
            pieces += [choice.delta.content or "" for choice in chunk.choices]
            usage = chunk.usage or usage
    assert "".join(pieces) == TEXT
    assert usage is not None
    assert usage.total_tokens > 0


def test_the_openai_sdk_raises_its_own_errors(sim: Handle) -> None:
    sdk = client(sim)
    sim.script("429_retry_after", "500_server", "402_affordability", "401")
    for kind in (openai.RateLimitError, openai.InternalServerError, openai.APIStatusError, openai.AuthenticationError):
        with pytest.raises(kind):
            sdk.chat.completions.create(model=CHEAP, messages=[{"role": "user", "content": "x"}])
    with pytest.raises(openai.BadRequestError, match="not a valid model ID"):
        sdk.chat.completions.create(model="no/such", messages=[{"role": "user", "content": "x"}])


def test_the_openai_sdk_lists_the_models(sim: Handle) -> None:
    assert [model.id for model in client(sim).models.list()] == [CHEAP, PREMIUM]


def test_reasoning_is_sent_before_the_text_and_billed_as_output(sim: Handle) -> None:
    plain = call(sim.base_url, body()).json["usage"]
    raw = call(sim.base_url, body(reasoning={"effort": "low"}))
    usage, message = raw.json["usage"], raw.json["choices"][0]["message"]
    assert usage["completion_tokens_details"]["reasoning_tokens"] == 40
    assert usage["completion_tokens"] == plain["completion_tokens"] + 40
    assert message["reasoning"] == message["reasoning_details"][0]["text"]
    streamed = call(sim.base_url, body(reasoning={"effort": "low"}, stream=True))
    assert streamed.chunks[0]["choices"][0]["delta"]["reasoning"]
    assert streamed.text == TEXT
    hidden = call(sim.base_url, body(reasoning={"effort": "low", "exclude": True})).json
    assert hidden["choices"][0]["message"]["reasoning"] is None
    assert hidden["usage"]["completion_tokens_details"]["reasoning_tokens"] == 40


def test_max_tokens_cuts_the_answer_with_finish_length(sim: Handle) -> None:
    for limit in ({"max_tokens": 5}, {"max_completion_tokens": 5}):
        answer = call(sim.base_url, {**body(), **limit}).json
        choice = answer["choices"][0]
        assert answer["usage"]["completion_tokens"] == 5
        assert (choice["finish_reason"], choice["native_finish_reason"]) == ("length", "length")
        assert TEXT.startswith(choice["message"]["content"])
    native = call(sim.base_url, body(model=PREMIUM, max_tokens=5)).json["choices"][0]["native_finish_reason"]
    assert native == "max_tokens"


def test_reasoning_can_eat_the_whole_room(sim: Handle) -> None:
    choice = call(sim.base_url, body(reasoning={"effort": "high"}, max_tokens=50)).json["choices"][0]
    assert choice["message"]["content"] == ""
    assert choice["finish_reason"] == "length"


def test_a_stop_sequence_ends_the_answer(sim: Handle) -> None:
    assert call(sim.base_url, body("one STOP two", stop=["STOP"])).text == "one "


def test_dated_slugs_and_suffixes_name_the_same_model(sim: Handle) -> None:
    for name in (CHEAP, "deepseek/deepseek-v4-flash-20260423", f"{CHEAP}:nitro"):
        assert call(sim.base_url, body(model=name)).status == 200
    assert {line["model"] for line in sim.books()["generations"]} == {CHEAP}


def test_both_prefixes_serve_the_same(sim: Handle) -> None:
    assert call(sim.base_url.replace("/api/v1", "/v1"), body()).text == TEXT


# --- what is refused ---------------------------------------------------------------------------------------------

BAD: list[tuple[str, Any, int, str]] = [
    ("not JSON", b"{", 400, "not JSON"),
    ("not an object", b"[1]", 400, "JSON object"),
    ("no messages", {"model": CHEAP}, 400, "messages"),
    ("no model", {"messages": [{"role": "user", "content": "x"}]}, 400, "No models"),
    ("a message without role", {"model": CHEAP, "messages": [{"content": "x"}]}, 400, "role"),
    ("a part that is no object", {"model": CHEAP, "messages": [{"role": "user", "content": [1]}]}, 400, "part"),
    ("an unknown model", body(model="no/such"), 400, "not a valid model ID"),
    ("four models", body(models=["a/a", "a/b", "a/c", "a/d"]), 400, "'models' array must have 3 items or fewer."),
    ("max_tokens as text", body(max_tokens="5"), 400, "max_tokens"),
    ("max_tokens of 0", body(max_tokens=0), 400, "max_tokens"),
    ("tools that are no list", body(tools={}), 400, "tools"),
    ("tools of strings", body(tools=["x"]), 400, "tools"),
    ("a provider that is no object", body(provider=["x"]), 400, "provider"),
]


@pytest.mark.parametrize(("payload", "status", "sentence"), [bad[1:] for bad in BAD], ids=[bad[0] for bad in BAD])
def test_a_bad_request_is_refused_with_a_sentence(sim: Handle, payload: Any, status: int, sentence: str) -> None:
    raw = call(sim.base_url, payload)
    assert raw.status == status
    assert sentence in raw.json["error"]["message"]
    assert raw.json["error"]["code"] == status
    assert sim.books()["generations"] == []


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_FIELD = st.sampled_from(
    ["tools", "tool_choice", "response_format", "provider", "reasoning", "max_tokens", "stop", "models", "metadata",
     "stream", "session_id", "prompt_cache_key", "cache_control", "messages", "temperature", "plugins"]
)  # fmt: skip
_SHAPED = st.one_of(
    _JSON,
    st.fixed_dictionaries({"type": st.just("json_schema"), "json_schema": st.fixed_dictionaries({"schema": _JSON})}),
    st.lists(st.fixed_dictionaries({"type": st.just("function"), "function": _JSON}), max_size=2),
    st.lists(st.fixed_dictionaries({"role": st.sampled_from(["user", "system"]), "content": _JSON}), max_size=2),
    st.fixed_dictionaries({"max_price": _JSON, "only": _JSON, "require_parameters": _JSON}),
)


@settings(max_examples=150)
@given(more=st.dictionaries(_FIELD, _SHAPED, max_size=4))
def test_no_request_however_odd_is_a_server_error(server: Handle, more: dict[str, Any]) -> None:
    assert call(server.base_url, {**body("x", model=PREMIUM), **more}).status in (200, 400, 404)


def test_a_missing_or_wrong_key_is_401_when_keys_are_set() -> None:
    with serve_in_thread(Options(keys=("sk-or-v1-good",))) as sim:
        assert call(sim.base_url, body()).json["error"]["message"] == "No auth credentials found"
        assert call(sim.base_url, body(), headers={"Authorization": "Bearer bad"}).status == 401
        assert call(sim.base_url, body(), headers={"Authorization": "Bearer sk-or-v1-good"}).status == 200


def test_a_body_over_the_limit_is_413() -> None:
    with serve_in_thread(Options(body_limit=2000)) as sim:
        raw = call(sim.base_url, body("x" * 3000))
        assert raw.status == 413
        assert raw.json["error"]["metadata"]["error_type"] == "payload_too_large"


def test_an_unknown_page_is_a_json_404(sim: Handle) -> None:
    raw = get(sim.base_url, "/nothing/here")
    assert raw.status == 404
    assert raw.json["error"]["code"] == 404


SMALL = SimModel(
    id="acme/small",
    input=Decimal(1),
    output=Decimal(2),
    context=100,
    max_output=50,
    supported_parameters=("max_tokens", "response_format"),
)


def test_a_prompt_that_does_not_fit_is_context_length_exceeded_and_falls_back() -> None:
    with serve_in_thread(Options(models=(SMALL, *DEFAULT_MODELS)), answerer=echo) as sim:
        error = call(sim.base_url, body("word " * 200, model="acme/small")).json["error"]
        assert error["metadata"]["error_type"] == "context_length_exceeded"
        assert "maximum context length is 100 tokens" in error["message"]
        assert call(sim.base_url, body("word", model="acme/small", max_tokens=99)).status == 400
        assert (
            call(sim.base_url, body("word " * 200, model="acme/small", models=[CHEAP])).json["model"].startswith(CHEAP)
        )


def test_what_a_model_does_not_support_is_dropped_or_refused_as_the_request_says() -> None:
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    image = [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AA"}}]
    with serve_in_thread(Options(models=(SMALL,))) as sim:
        kept = body("hi there", model="acme/small", response_format=schema)
        assert "hi there" in call(sim.base_url, kept).text
        strict = call(sim.base_url, {**kept, "provider": {"require_parameters": True}}).json["error"]
        assert strict["availability"]["code"] == "constraint_filtered"
        assert strict["availability"]["constraint"]["detail"] == "structured_outputs"
        tools = body(model="acme/small", tools=[{"type": "function", "function": {"name": "f"}}])
        assert call(sim.base_url, tools).json["error"]["message"] == "No endpoints found that support tool use."
        seen = {"model": "acme/small", "messages": [{"role": "user", "content": image}]}
        assert "image input" in call(sim.base_url, seen).json["error"]["message"]


def test_provider_constraints_filter_the_only_endpoint(sim: Handle) -> None:
    def excluded(**provider: Any) -> str | None:
        raw = call(sim.base_url, body(provider=provider))
        return None if raw.status == 200 else str(raw.json["error"]["availability"]["excluded_by"])

    assert excluded(max_price={"prompt": 0.09, "completion": "0.18"}) is None
    assert excluded(max_price={"completion": 0.1}) == "max_price"
    assert excluded(only=["deepseek"]) is None
    assert excluded(only=["openai"]) == excluded(ignore=["DeepSeek"]) == "allowed_providers"


def test_an_account_that_cannot_pay_is_told_how_much_it_could() -> None:
    with serve_in_thread(Options(credits=Decimal("0.01")), answerer=echo) as sim:
        message = call(sim.base_url, body("x", model=PREMIUM)).json["error"]["message"]
        assert "You requested up to 128000 tokens, but can only afford 399." in message
        assert call(sim.base_url, body("x", model=PREMIUM, max_tokens=399)).status == 200
        assert get(sim.base_url, "/key").json["data"]["limit_remaining"] == pytest.approx(0.01 - 0.00005)
        assert get(sim.base_url, "/credits").json["data"] == {"total_credits": 0.01, "total_usage": 0.00005}


# --- the catalogue and the account --------------------------------------------------------------------------------


def test_the_models_page_has_prices_as_strings_per_token(sim: Handle) -> None:
    page = get(sim.base_url, "/models").json
    cheap, premium = page["data"]
    assert page["total_count"] == 2
    assert cheap["canonical_slug"] == "deepseek/deepseek-v4-flash-20260423"
    assert cheap["pricing"]["prompt"] == "0.00000009"
    assert cheap["pricing"]["input_cache_read"] == "0.000000009"
    assert premium["pricing"]["completion"] == "0.000025"
    assert premium["pricing"]["input_cache_write"] == "0.00000625"
    assert "image" in premium["architecture"]["input_modalities"]
    assert len(get(sim.base_url, "/models?offset=1&limit=5").json["data"]) == 1


def test_one_model_and_its_endpoints_have_pages(sim: Handle) -> None:
    assert get(sim.base_url, "/model/anthropic/claude-4.8-opus-20260528").json["data"]["id"] == PREMIUM
    (endpoint,) = get(sim.base_url, f"/models/{PREMIUM}/endpoints").json["data"]["endpoints"]
    assert endpoint["provider_name"] == "Anthropic (simulated)"
    assert get(sim.base_url, "/model/no/such").status == 404


def test_a_generation_can_be_looked_up(sim: Handle) -> None:
    answer = call(sim.base_url, body()).json
    data = get(sim.base_url, f"/generation?id={answer['id']}").json["data"]
    assert data["total_cost"] == answer["usage"]["cost"]
    assert data["native_tokens_completion"] == answer["usage"]["completion_tokens"]
    assert data["cancelled"] is False
    assert get(sim.base_url, "/generation?id=gen-1-none").status == 404


def test_a_generation_is_404_until_its_delay_is_over() -> None:
    with serve_in_thread(Options(generation_delay=3600)) as sim:
        answer = call(sim.base_url, body()).json
        assert get(sim.base_url, f"/generation?id={answer['id']}").status == 404


# --- money --------------------------------------------------------------------------------------------------------


def test_the_books_are_the_sum_of_every_cost_served() -> None:
    rates = {
        "429_plain": 0.1,
        "cut_socket": 0.1,
        "length": 0.2,
        "empty_insured": 0.05,
        "no_cost": 0.1,
        "choice_error": 0.1,
    }
    with serve_in_thread(Options(seed=7, faults=rates), answerer=dice) as sim:
        told = billed = Decimal(0)
        for number in range(150):
            raw = call(sim.base_url, body(f"request {number}", model=(CHEAP, PREMIUM)[number % 2]))
            if raw.status == 200 and not raw.broken and "cost" in raw.json["usage"]:
                told += cost_of(raw)
        books = sim.books()
        billed = sum((Decimal(line["cost"]) for line in books["generations"]), Decimal(0))
        total = books["total"]
        assert Decimal(total["cost_told"]) == told > 0
        assert Decimal(total["cost"]) == billed > told
        assert Decimal(total["cost"]) == sum(Decimal(sums["cost"]) for sums in books["by_model"].values())
        assert total["generations"] + sum(books["refused"].values()) == books["requests"] == 150
        assert total["delivered"] + total["undelivered"] == total["generations"]


def test_byok_bills_the_fee_and_tells_the_providers_price_beside_it() -> None:
    for fee, share in (("0.05", Decimal("0.05")), ("0", Decimal(0))):
        with serve_in_thread(Options(byok=True, byok_fee=Decimal(fee))) as sim:
            raw = call(sim.base_url, body(model=PREMIUM))
            usage = json.loads(raw.data, parse_float=Decimal)["usage"]
            upstream = usage["prompt_tokens"] * Decimal("0.000005") + usage["completion_tokens"] * Decimal("0.000025")
            assert usage["is_byok"] is True
            assert usage["cost_details"]["upstream_inference_cost"] == upstream
            assert Decimal(usage["cost"]) == upstream * share
            assert Decimal(sim.books()["total"]["spent"]) == upstream * (1 + share)


def test_prices_change_with_the_prompts_length() -> None:
    model = SimModel(
        id="acme/long",
        input=Decimal(1),
        output=Decimal(1),
        overrides=(
            Override(min_prompt_tokens=100, input=Decimal(2)),
            Override(utc_start="0000", utc_end="2400", output=Decimal(3)),
        ),
    )
    with serve_in_thread(Options(models=(model,)), answerer=echo) as sim:
        for text, price in (("short", 1), ("long " * 200, 2)):
            usage = call(sim.base_url, body(text, model="acme/long")).json["usage"]
            expected = usage["prompt_tokens"] * price + usage["completion_tokens"] * 3
            assert usage["cost"] == pytest.approx(expected / 1e6)


def test_an_automatic_prompt_cache_reads_at_its_price_from_the_second_time(sim: Handle) -> None:
    messages = [{"role": "system", "content": "rule " * 300}, {"role": "user", "content": "a"}]
    first = call(sim.base_url, {"model": CHEAP, "messages": messages}).json["usage"]
    other = [messages[0], {"role": "user", "content": "b"}]
    raw = call(sim.base_url, {"model": CHEAP, "messages": other})
    second = raw.json["usage"]
    assert first["prompt_tokens_details"]["cached_tokens"] == 0
    cached = second["prompt_tokens_details"]["cached_tokens"]
    assert 300 <= cached < second["prompt_tokens"]
    fresh = second["prompt_tokens"] - cached
    assert cost_of(raw) == (fresh * 90 + cached * 9 + second["completion_tokens"] * 180) * Decimal("0.000000001")


def test_an_explicit_prompt_cache_writes_up_to_the_mark_and_then_reads() -> None:
    model = SimModel(
        id="acme/explicit",
        input=Decimal(4),
        output=Decimal(8),
        cache_read=Decimal("0.4"),
        cache_write=Decimal(5),
        caching=Caching(mode="explicit", min_tokens=100),
    )

    def ask(sim: Handle, text: str, *, mark: bool = True) -> tuple[dict[str, Any], Decimal]:
        part = {"type": "text", "text": text, **({"cache_control": {"type": "ephemeral"}} if mark else {})}
        messages = [{"role": "system", "content": [part]}, {"role": "user", "content": "hi"}]
        raw = call(sim.base_url, {"model": "acme/explicit", "messages": messages})
        return raw.json["usage"], cost_of(raw)

    with serve_in_thread(Options(models=(model,)), answerer=echo) as sim:
        assert ask(sim, "rule " * 10)[0]["prompt_tokens_details"]["cache_write_tokens"] == 0
        assert ask(sim, "rule " * 200, mark=False)[0]["prompt_tokens_details"]["cache_write_tokens"] == 0
        first, cost = ask(sim, "rule " * 200)
        written = first["prompt_tokens_details"]["cache_write_tokens"]
        assert written >= 200
        assert cost == (
            (first["prompt_tokens"] - written) * 4 + written * 5 + first["completion_tokens"] * 8
        ) * Decimal("0.000001")
        second = ask(sim, "rule " * 200)[0]["prompt_tokens_details"]
        assert (second["cached_tokens"], second["cache_write_tokens"]) == (written, 0)


def test_a_session_stays_on_one_host_and_a_provider_order_does_not() -> None:
    model = SimModel(id="acme/wide", hosts=50)
    with serve_in_thread(Options(models=(model,))) as sim:

        def hosts(**more: Any) -> set[int]:
            sim.reset()
            for number in range(8):
                assert call(sim.base_url, body(f"turn {number}", model="acme/wide", **more)).status == 200
            return {line["host"] for line in sim.books()["generations"]}

        assert len(hosts(session_id="s1")) == 1
        assert len(hosts(session_id="s1", provider={"order": ["x"]})) > 1
        assert len(hosts()) > 1


@pytest.mark.parametrize("stops", [True, False])
async def test_hanging_up_in_a_stream_bills_what_was_made_or_all_of_it(stops: bool) -> None:
    model = SimModel(
        id="acme/slow", input=Decimal(1), output=Decimal(1), latency=Latency(per_token=60.0), cancel_stops_billing=stops
    )
    simulator = Simulator(Options(models=(model,), caching=False), answerer=echo)
    base_url = await simulator.start()
    try:
        async with aiohttp.ClientSession() as session:
            async with session.post(
                f"{base_url}/chat/completions", json=body(model="acme/slow", stream=True)
            ) as response:
                async for sent in response.content:
                    if sent.startswith(b"data: "):
                        break
                response.close()
            line = await cancelled(simulator)
            shown = await (await session.get(f"{base_url}/generation?id={line['id']}")).json()
    finally:
        await simulator.stop()
    assert shown["data"]["cancelled"] is True
    assert not line["delivered"]
    assert (line["completion_tokens"] == 4) == stops


async def test_hanging_up_on_a_whole_answer_bills_all_of_it() -> None:
    model = SimModel(id="acme/slow", input=Decimal(1), output=Decimal(1), latency=Latency(first_token=3600))
    simulator = Simulator(Options(models=(model,)), answerer=echo)
    base_url = await simulator.start()
    try:
        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=0.2)) as session:
            with pytest.raises(TimeoutError):
                await session.post(f"{base_url}/chat/completions", json=body(model="acme/slow"))
            line = await cancelled(simulator)
    finally:
        await simulator.stop()
    assert not line["delivered"]
    assert Decimal(line["cost"]) == (line["prompt_tokens"] + line["completion_tokens"]) * Decimal("0.000001")


# --- seeds, concurrency, life ---------------------------------------------------------------------------------------


async def _ask_all(options: Options, order: list[int]) -> dict[int, tuple[int, Any, Any]]:
    simulator = Simulator(options, answerer=dice)
    base_url = await simulator.start()
    found: dict[int, tuple[int, Any, Any]] = {}

    async def one(session: aiohttp.ClientSession, number: int) -> None:
        async with session.post(f"{base_url}/chat/completions", json=body(f"request {number}")) as response:
            answer = await response.json()
            choice = (answer.get("choices") or [{}])[0]
            found[number] = (response.status, choice.get("message"), answer.get("usage"))

    try:
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=300)) as session:
            await asyncio.gather(*(one(session, number) for number in order))
    finally:
        await simulator.stop()
    return found


async def test_a_seed_gives_the_same_answers_and_faults_in_any_order() -> None:
    options = Options(seed=3, faults={"429_plain": 0.2, "length": 0.2, "empty_choices": 0.1}, caching=False)
    numbers = list(range(300))
    first = await _ask_all(options, numbers)
    again = await _ask_all(options, numbers[::-1])
    other = await _ask_all(Options(seed=4, faults=options.faults, caching=False), numbers)
    assert first == again
    assert first != other
    assert {status for status, _, _ in first.values()} == {200, 429}


def test_the_same_request_again_may_get_another_answer_and_a_reset_starts_over() -> None:
    with serve_in_thread(Options(seed=1), answerer=dice) as sim:
        first = [call(sim.base_url, body()).text for _ in range(3)]
        sim.reset()
        assert [call(sim.base_url, body()).text for _ in range(3)] == first
        assert len(set(first)) == 3


def test_switching_a_fault_on_does_not_change_the_answers_of_others() -> None:
    with serve_in_thread(Options(seed=1), answerer=dice) as sim:
        plain = [call(sim.base_url, body(f"r {number}")).text for number in range(20)]
        sim.reset()
        sim.rates({"429_plain": 0.5})
        for number, text in enumerate(plain):
            raw = call(sim.base_url, body(f"r {number}"))
            assert raw.status == 429 or raw.text == text


async def test_a_simulator_stops_while_clients_wait_and_can_start_again() -> None:
    simulator = Simulator()
    base_url = await simulator.start()
    with pytest.raises(SimulatorError, match="listens already"):
        await simulator.start()
    async with aiohttp.ClientSession() as session:
        waiting = asyncio.ensure_future(
            session.post(f"{base_url}/chat/completions", json=body(metadata={"simulate": "silent"}))
        )
        await until(lambda: bool(simulator.books()["refused"]))
        await simulator.stop()
        with pytest.raises(aiohttp.ClientError):
            await waiting
    await simulator.stop()
    assert (await simulator.start()).startswith("http://127.0.0.1:")
    await simulator.stop()


def test_old_lines_of_the_books_make_room_but_stay_in_the_totals() -> None:
    with serve_in_thread(Options(entries=5)) as sim:
        for number in range(12):
            call(sim.base_url, body(f"r {number}"))
        books = sim.books()
        assert len(books["generations"]) == 5
        assert books["total"]["generations"] == 12


# --- options --------------------------------------------------------------------------------------------------------


def test_options_are_read_from_toml_and_json_with_exact_prices(tmp_path: Any) -> None:
    toml = tmp_path / "sim.toml"
    toml.write_text(
        'seed = 5\n[faults]\n"429_plain" = 0.1\n[[models]]\nid = "acme/small"\ninput = 0.09\n'
        'output = "0.18"\nlatency = { first_token = 0.5 }\n'
    )
    options = read_options(toml, faults=["length=0.2", "429_plain=0"])
    assert options.seed == 5
    assert options.faults == {"429_plain": 0.0, "length": 0.2}
    assert options.models[0].input == Decimal("0.09")
    assert options.models[0].latency.first_token == 0.5
    plain = tmp_path / "sim.json"
    plain.write_text('{"models": [{"id": "acme/small", "input": 0.09}]}')
    assert read_options(plain, seed=9).models[0].input == Decimal("0.09")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("seed = ", "Invalid value"),
        ("sede = 1", "sede"),
        ('[faults]\n"429_plane" = 0.1', '"429_plain"'),
        ('[faults]\n"429_plain" = 2', "between 0 and 1"),
        ('[[models]]\nid = ""', "needs an id"),
        ('[[models]]\nid = "a/b"\ncaching = { mode = "magic" }', "automatic or explicit"),
        ("speed = 0", "speed"),
    ],
)
def test_wrong_options_say_what_is_wrong(tmp_path: Any, text: str, sentence: str) -> None:
    file = tmp_path / "sim.toml"
    file.write_text(text)
    with pytest.raises(SimulatorError, match=re.escape(sentence)):
        read_options(file)
