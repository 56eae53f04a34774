"""Keys, budgets and rates over the wire: real gateways, one or two over one store, in front of the simulator."""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import time
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import openai
import pytest

from access_stores import KINDS, address
from cheapfirst import policy as policies
from cheapfirst.access import Access, keyring
from cheapfirst.errors import GatewayError
from cheapfirst.gateway.server import Handle, serve_in_thread
from cheapfirst.messages import Wire
from cheapfirst.simulator import Latency, Options, SimModel
from cheapfirst.simulator import serve_in_thread as simulate
from cheapfirst.simulator.answerer import Made, Skill
from cheapfirst.simulator.thread import Handle as Simulated

POLICY = """
[tiers]
cheap = "sim/small"
premium = "sim/large"

[routes]
write = { tier = "cheap", shape = "text" }
chat = { tier = "cheap", shape = "stream", stream = "pass" }
draft = { tier = "premium", shape = "text" }
extract = { tier = "cheap", shape = "json" }

[limits]
backoff = 0.001

[models."sim/small"]
input = 0.1
output = 0.2

[models."sim/large"]
input = 5
output = 25

[models."sim/odd"]
context = 8000
"""
SLOW = Latency(first_token=0.01)
MODELS = (
    SimModel(id="sim/small", input=Decimal("0.1"), output=Decimal("0.2"), latency=SLOW),
    SimModel(id="sim/large", input=Decimal(5), output=Decimal(25), latency=SLOW, skill="premium"),
    SimModel(id="sim/odd"),
)
TEXT = "Say hello to everybody in the house, please."


def say(skill: Skill, body: Wire, rng: random.Random) -> Made:
    del rng, body
    return Made(text='{"good": true}' if skill == "premium" else "Hello to everybody in the house.")


@pytest.fixture(scope="module")
def simulator() -> Iterator[Simulated]:
    with simulate(Options(models=MODELS, caching=False), answerer=say) as handle:
        yield handle


@contextlib.contextmanager
def gateways(simulator: Simulated, folder: Path, store: str, rows: str = "", *, replicas: int = 1) -> Iterator[Any]:
    """That many gateways with the same policy over one store; each has a ledger of its own."""
    file = folder / "cheapfirst.toml"
    file.write_text(POLICY + rows)
    with contextlib.ExitStack() as stack:
        yield [
            stack.enter_context(
                serve_in_thread(
                    file,
                    base_url=simulator.base_url,
                    ledger=folder / f"ledger{number}.db",
                    store=store,
                    host="127.0.0.1",
                )
            )
            for number in range(replicas)
        ]


class Told(msgspec.Struct, frozen=True):
    """One answer."""

    status: int
    headers: dict[str, str]
    body: Any

    @property
    def code(self) -> str:
        return str(self.body["error"]["code"])


async def ask(http: aiohttp.ClientSession, handle: Handle, secret: str | None = None, **more: Any) -> Told:
    headers = {} if secret is None else {"Authorization": f"Bearer {secret}"}
    body = {"model": "write", "messages": [{"role": "user", "content": TEXT}], "max_tokens": 50, **more}
    async with http.post(f"{handle.base_url}/chat/completions", json=body, headers=headers) as answer:
        content = await answer.read()
        plain = answer.content_type == "application/json"
        return Told(
            answer.status,
            {name.lower(): value for name, value in answer.headers.items()},
            msgspec.json.decode(content) if plain else content.decode(),
        )


def crowd() -> aiohttp.ClientSession:
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


async def make_key(store: str, name: str = "inbox", **scope: Any) -> str:
    async with Access(policies.loads(POLICY, source="my.toml"), store) as access:
        _, secret = await access.create_key(name, **scope)
    return secret


def balances(store: str, rows: str) -> list[Any]:
    async def read() -> list[Any]:
        async with Access(policies.loads(POLICY + rows, source="my.toml"), store) as access:
            return await access.balances()

    return asyncio.run(read())


def budget(limit: Decimal | float, *, whose: str = 'task = "write"', per: str = "day", more: str = "") -> str:
    return f'[[budgets]]\n{whose}\nper = "{per}"\nlimit = {limit}\n{more}\n'


async def costs(handle: Handle, task: str = "write") -> tuple[Decimal, Decimal]:
    """What one request costs, and what its first attempt may cost at worst."""
    async with crowd() as http:
        told = await ask(http, handle, model=task)
    assert told.status == 200, told.body
    made = handle.gateway.router.explain(task, TEXT, max_tokens=50)
    worst = made.attempts[0].worst_case
    assert worst is not None
    return Decimal(told.headers["x-cheapfirst-cost"]), worst


@pytest.mark.parametrize(("kind", "replicas"), [("sqlite", 1), ("postgres", 2)])
def test_two_hundred_clients_get_exactly_the_answers_that_a_budget_allows(
    simulator: Simulated, tmp_path: Path, kind: str, replicas: int
) -> None:
    (tmp_path / "plain").mkdir()
    with gateways(simulator, tmp_path / "plain", address("sqlite", tmp_path / "plain")) as (plain,):
        cost, least = asyncio.run(costs(plain))
    allowed = 120
    limit = cost * (allowed - 1) + least
    store, rows = address(kind, tmp_path), budget(limit)
    simulator.reset()

    async def storm(handles: list[Handle]) -> list[Told]:
        async with crowd() as http:
            tellings = (ask(http, handles[n % len(handles)], stream=n % 3 == 0) for n in range(200))
            return list(await asyncio.gather(*tellings))

    with gateways(simulator, tmp_path, store, rows, replicas=replicas) as handles:
        came = asyncio.run(storm(handles))
    assert Counter(told.status for told in came) == {200: allowed, 402: 200 - allowed}
    for told in came:
        if told.status == 402:
            assert told.code == "budget_exhausted"
            assert "begins anew at" in told.body["error"]["message"]
            assert 0 < int(told.headers["retry-after"]) <= 86400
    (found,) = balances(store, rows)
    assert (found.spent, found.reserved) == (cost * allowed, Decimal(0))
    assert found.spent <= limit
    billed = Decimal(str(simulator.books()["total"]["cost"]))
    assert billed == found.spent


@pytest.mark.parametrize("kind", KINDS)
def test_every_path_but_health_needs_a_key_once_one_is_made(
    simulator: Simulated, tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = address(kind, tmp_path)
    monkeypatch.setattr(keyring, "FRESH", 0.0)

    async def walk(handle: Handle) -> None:
        root = handle.base_url.removesuffix("/v1")
        async with crowd() as http:
            assert (await ask(http, handle)).status == 200
            assert (await ask(http, handle, "whatever a client sends")).status == 200
            secret = await make_key(store, tasks=["write"], tiers=["cheap"], tenant="acme")
            assert (await ask(http, handle)).status == 401
            for path in ("/v1/models", "/metrics", "/nowhere", "/v1/chat/completions"):
                async with http.get(root + path) as answer:
                    assert answer.status == 401
                    assert answer.headers["www-authenticate"] == "Bearer"
            for path in ("/health", "/health/live", "/health/ready"):
                async with http.get(root + path) as answer:
                    assert answer.status == 200
            for name, value in (("Authorization", f"Bearer {secret}"), ("x-api-key", secret)):
                async with http.get(f"{root}/v1/models", headers={name: value}) as answer:
                    assert answer.status == 200
            wrong = await ask(http, handle, "cf-wrong")
            assert (wrong.status, wrong.code) == (401, "invalid_api_key")
            assert (await ask(http, handle, secret)).status == 200
            for code, said in (
                ("task_not_allowed", {"model": "draft"}),
                ("tier_not_allowed", {"model": "sim/large", "metadata": {"task": "write"}}),
                ("tier_not_allowed", {"model": "sim/large", "metadata": {"task": "write", "tier": "cheap"}}),
                ("tier_not_allowed", {"metadata": {"tier": "premium"}}),
                ("tenant_not_allowed", {"metadata": {"tenant": "other"}}),
            ):
                told = await ask(http, handle, secret, **said)
                assert (told.status, told.code) == (403, code), said

    with gateways(simulator, tmp_path, store) as (handle,):
        asyncio.run(walk(handle))


def test_a_key_bound_to_a_tier_is_never_escalated_beyond_it(simulator: Simulated, tmp_path: Path) -> None:
    store = address("sqlite", tmp_path)
    bound = asyncio.run(make_key(store, "bound", tiers=["cheap"]))
    free = asyncio.run(make_key(store, "free"))

    async def walk(handle: Handle) -> None:
        async with crowd() as http:
            told = await ask(http, handle, free, model="extract")
            assert told.body["cheapfirst"]["escalated"] is True
            told = await ask(http, handle, bound, model="extract")
            assert (told.status, told.code) == (422, "answer_rejected")

    with gateways(simulator, tmp_path, store) as (handle,):
        asyncio.run(walk(handle))


def test_only_loopback_is_served_without_a_key(simulator: Simulated, tmp_path: Path) -> None:
    store = str(tmp_path / "access.db")
    options: dict[str, Any] = {"base_url": simulator.base_url, "ledger": False, "store": store, "host": "0.0.0.0"}
    with pytest.raises(GatewayError, match="cheapfirst keys create"), serve_in_thread(**options):
        pass
    secret = asyncio.run(make_key(store))
    with serve_in_thread(**options) as handle:
        port = handle.base_url.rpartition(":")[2].removesuffix("/v1")
        with socket.create_connection(("127.0.0.1", int(port))) as raw:
            raw.sendall(b"GET /v1/models HTTP/1.1\r\nhost: x\r\nauthorization: bearer " + secret.encode() + b"\r\n\r\n")
            assert raw.recv(100).startswith(b"HTTP/1.1 200")


def test_no_website_spends_through_a_gateway_without_keys(simulator: Simulated, tmp_path: Path) -> None:
    store = address("sqlite", tmp_path)

    async def asked(handle: Handle, origin: str, **headers: str) -> int:
        url = f"{handle.base_url}/chat/completions"
        body = {"model": "write", "messages": [{"role": "user", "content": TEXT}]}
        async with crowd() as http, http.post(url, json=body, headers={"Origin": origin, **headers}) as answer:
            return answer.status

    with gateways(simulator, tmp_path, store) as (handle,):
        for origin in ("http://localhost:3000", "http://127.0.0.1:8383", "http://[::1]:5173", "https://app.localhost"):
            assert asyncio.run(asked(handle, origin)) == 200
        for origin in (
            "https://elsewhere.example",
            "null",
            "http://127.evil.example",
            "http://localhost.evil.example",
            "http://[",
        ):
            assert asyncio.run(asked(handle, origin)) == 403
    secret = asyncio.run(make_key(store))
    with gateways(simulator, tmp_path, store) as (handle,):
        assert asyncio.run(asked(handle, "https://elsewhere.example", Authorization=f"Bearer {secret}")) == 200


def test_near_its_end_a_budget_steps_requests_down_to_the_cheapest_tier(simulator: Simulated, tmp_path: Path) -> None:
    rows = budget(1, whose='tenant = "acme"', per="total", more="step_down = 0.0001")

    async def walk(handle: Handle) -> None:
        async with crowd() as http:
            tiers = []
            for _ in range(2):
                told = await ask(http, handle, model="draft", metadata={"tenant": "acme"})
                tiers.append(told.body["cheapfirst"]["tier"])
            assert tiers == ["premium", "cheap"]
            told = await ask(http, handle, model="sim/large", metadata={"tenant": "acme"})
            assert told.body["cheapfirst"]["tier"] == "premium", "who forces a model gets it"
            told = await ask(http, handle, model="draft", metadata={"tenant": "other"})
            assert told.body["cheapfirst"]["tier"] == "premium"

    with gateways(simulator, tmp_path, address("sqlite", tmp_path), rows) as (handle,):
        asyncio.run(walk(handle))


def test_rates_answer_429_with_the_seconds_to_wait(simulator: Simulated, tmp_path: Path) -> None:
    rows = '[[rates]]\nfeature = "*"\nrequests = 2\n'

    async def walk(handle: Handle) -> None:
        async with crowd() as http:
            came = [await ask(http, handle, metadata={"feature": "f"}) for _ in range(3)]
            assert [told.status for told in came] == [200, 200, 429]
            assert came[2].code == "rate_limited"
            assert 50 < int(came[2].headers["retry-after"]) <= 61
            assert (await ask(http, handle, metadata={"feature": "g"})).status == 200

    with gateways(simulator, tmp_path, address("sqlite", tmp_path), rows) as (handle,):
        asyncio.run(walk(handle))


def test_a_client_that_leaves_gives_back_what_nobody_billed(simulator: Simulated, tmp_path: Path) -> None:
    rows = budget(1)
    store = address("sqlite", tmp_path)

    async def walk(handle: Handle) -> None:
        async with crowd() as http:
            leaving = [asyncio.create_task(ask(http, handle)) for _ in range(20)]
            await asyncio.sleep(0.02)
            for task in leaving:
                task.cancel()
            await asyncio.gather(*leaving, return_exceptions=True)

    simulator.reset()
    with gateways(simulator, tmp_path, store, rows) as (handle,):
        asyncio.run(walk(handle))
    (found,) = balances(store, rows)
    assert found.reserved == 0
    assert Decimal(str(simulator.books()["total"]["cost"])) <= found.spent


def test_a_model_of_unknown_price_is_not_let_in_under_a_budget(simulator: Simulated, tmp_path: Path) -> None:
    async def walk(handle: Handle) -> None:
        async with crowd() as http:
            told = await ask(http, handle, model="sim/odd", metadata={"tenant": "acme"})
            assert (told.status, told.code) == (402, "budget_exhausted")
            assert "price" in told.body["error"]["message"]
            told = await ask(http, handle, model="sim/odd", metadata={"tenant": "other"})
            assert told.status == 200

    rows = budget(1, whose='tenant = "acme"')
    with gateways(simulator, tmp_path, address("sqlite", tmp_path), rows) as (handle,):
        asyncio.run(walk(handle))


def test_several_choices_are_reserved_several_times(simulator: Simulated, tmp_path: Path) -> None:
    with gateways(simulator, tmp_path, str(tmp_path / "none.db")) as (plain,):
        _, least = asyncio.run(costs(plain))
    rows = budget(least * 2)

    async def walk(handle: Handle) -> None:
        async with crowd() as http:
            assert (await ask(http, handle, n=3)).code == "budget_exhausted"
            assert (await ask(http, handle, n=2)).status == 200

    with gateways(simulator, tmp_path, address("sqlite", tmp_path), rows) as (handle,):
        asyncio.run(walk(handle))


def test_the_openai_client_raises_its_own_errors_for_ours(simulator: Simulated, tmp_path: Path) -> None:
    store = address("sqlite", tmp_path)
    secret = asyncio.run(make_key(store, "inbox", tenant="acme", tasks=["write"]))
    free = asyncio.run(make_key(store, "free"))
    rows = budget(0, whose='key = "inbox"', per="month") + '[[rates]]\nfeature = "f"\nconcurrent = 1\nrequests = 1\n'
    with gateways(simulator, tmp_path, store, rows) as (handle,):

        def create(key: str, model: str, **metadata: str) -> None:
            with openai.OpenAI(base_url=handle.base_url, api_key=key, max_retries=0) as client:
                said: list[Any] = [{"role": "user", "content": TEXT}]
                client.chat.completions.create(model=model, messages=said, max_tokens=50, metadata=metadata)

        with pytest.raises(openai.AuthenticationError, match="nobody has this key"):
            create("cf-wrong", "write")
        with pytest.raises(openai.PermissionDeniedError, match="may not use the task 'draft'"):
            create(secret, "draft")
        with pytest.raises(openai.APIStatusError, match="key 'inbox' may spend") as caught:
            create(secret, "write")
        assert caught.value.status_code == 402
        create(free, "write", feature="f")
        with pytest.raises(openai.RateLimitError, match="feature 'f' may make 1 requests a minute"):
            create(free, "write", feature="f")


def test_a_changed_policy_changes_budgets_and_keeps_what_was_spent(simulator: Simulated, tmp_path: Path) -> None:
    store = address("sqlite", tmp_path)
    with gateways(simulator, tmp_path, store) as (plain,):
        cost, least = asyncio.run(costs(plain))

    async def first(handle: Handle) -> int:
        async with crowd() as http:
            return (await ask(http, handle)).status

    with gateways(simulator, tmp_path, store, budget(least)) as (handle,):
        assert asyncio.run(first(handle)) == 200
        assert asyncio.run(first(handle)) == 402
        (tmp_path / "cheapfirst.toml").write_text(POLICY + budget(least + cost))
        until = time.monotonic() + 30
        while asyncio.run(first(handle)) == 402 and time.monotonic() < until:
            time.sleep(0.05)
        assert asyncio.run(first(handle)) == 402
    (found,) = balances(store, budget(least + cost))
    assert found.spent == cost * 2
