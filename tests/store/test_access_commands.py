"""`cheapfirst keys` and `cheapfirst budgets`, as a shell runs them."""

from __future__ import annotations

import asyncio
import json
import time
from decimal import Decimal
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from access_stores import KINDS, address, price, request, rules
from cheapfirst.access import Access, place
from cheapfirst.cli import root
from cheapfirst.errors import AccessError, GatewayError

BUDGET = '[[budgets]]\ntenant = "*"\nper = "month"\nlimit = 2\n'


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    found = address(request.param, tmp_path)
    monkeypatch.setenv(place.VARIABLE, found)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.chdir(tmp_path)
    return found


def run(*words: str) -> Result:
    return CliRunner().invoke(root, words, catch_exceptions=False)


def test_a_keys_life(store: str) -> None:
    assert "no keys" in run("keys", "list").stdout
    made = run("keys", "create", "--name", "inbox", "--task", "extract", "--task", "classify", "--expires", "30d")
    secret = made.stdout.strip()
    assert secret.startswith("cf-")
    assert "not shown again" in made.stderr
    assert secret not in made.stderr

    async def known() -> None:
        async with Access(rules(""), store) as access:
            key = await access.authenticate(secret)
            assert key.tasks == ("extract", "classify")
            assert key.expires is not None
            assert abs(key.expires - time.time() - 30 * 86400) < 60

    asyncio.run(known())
    listed = run("keys", "list").stdout
    assert "inbox" in listed
    assert "extract, classify" in listed
    assert secret not in listed
    assert "revoked" in run("keys", "revoke", "inbox").stdout
    (told,) = json.loads(run("keys", "list", "--json").stdout)
    assert (told["name"], told["state"]) == ("inbox", "revoked")
    assert "digest" not in told


def test_a_key_as_json_holds_its_secret_once(store: str) -> None:
    told = json.loads(run("keys", "create", "--name", "a", "--tenant", "acme", "--json").stdout)
    assert told["secret"].startswith("cf-")
    assert told["tenant"] == "acme"
    assert "secret" not in json.loads(run("keys", "list", "--json").stdout)[0]


def test_what_cannot_be_is_said_in_a_sentence(store: str) -> None:
    for words, says in (
        (["create", "--name", "a", "--tier", "chep"], '"cheap"?'),
        (["create", "--name", "a", "--expires", "1999-01-01"], "past"),
        (["revoke", "nobody"], "cheapfirst keys list"),
    ):
        with pytest.raises(AccessError, match=says.replace("?", r"\?")):
            run("keys", *words)


def test_budgets_shows_what_is_spent_reserved_and_left(store: str, tmp_path: Path) -> None:
    policy = tmp_path / "mine.toml"
    policy.write_text(BUDGET)
    assert "Nothing was spent" in run("budgets", "--policy", str(policy)).stdout

    async def spend() -> None:
        async with Access(rules(BUDGET), store) as access:
            await (await access.admit(request(), None, price("0.5"), 1)).settle(Decimal("0.25"))
            await access.admit(request(), None, price("0.75"), 1)

    asyncio.run(spend())
    shown = run("budgets", "--policy", str(policy)).stdout
    for words in ("tenant acme", "month", "$2.00", "$0.2500", "$0.7500", "$1.00"):
        assert words in shown
    (told,) = json.loads(run("budgets", "--policy", str(policy), "--json").stdout)
    assert (Decimal(told["spent"]), Decimal(told["reserved"]), Decimal(told["left"])) == (
        Decimal("0.25"),
        Decimal("0.75"),
        Decimal(1),
    )


def test_serve_refuses_addresses_that_others_reach_until_a_key_is_made(store: str, tmp_path: Path) -> None:
    with pytest.raises(GatewayError, match="cheapfirst keys create"):
        run("serve", "--host", "0.0.0.0", "--port", "0", "--ledger", str(tmp_path / "ledger.db"))
