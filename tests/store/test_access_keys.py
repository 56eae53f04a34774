"""Virtual keys on real stores: shown once, kept as a digest, known from memory, gone when they are revoked."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from access_stores import KINDS, Clock, address, rules
from cheapfirst.access import Access, keyring, keys, place
from cheapfirst.errors import AccessError, GatewayError, KeyRefused, NotAllowed


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return address(request.param, tmp_path)


def files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


async def test_a_key_is_known_by_its_secret_alone(store: str) -> None:
    async with Access(rules(""), store, clock=Clock()) as access:
        assert not await access.any_keys()
        key, secret = await access.create_key("inbox", tenant="acme", tasks=["extract"], tiers=["cheap"])
        assert await access.any_keys()
        assert await access.authenticate(secret) == key
        assert (key.tenant, key.tasks, key.tiers, key.models) == ("acme", ("extract",), ("cheap",), ())
        for wrong in ("", "cf-", secret[:-1], secret + "x", key.id, key.name, keys.digest(secret), "\ud800"):
            with pytest.raises(KeyRefused) as caught:
                await access.authenticate(wrong)
            assert secret[:-1] not in str(caught.value)
    async with Access(rules(""), store, clock=Clock()) as access:
        assert await access.list_keys() == [key]


def test_secrets_are_long_random_and_never_the_same() -> None:
    made = {keys.new_secret() for _ in range(1000)}
    assert len(made) == 1000
    assert all(secret.startswith("cf-") and len(secret) == 3 + 43 for secret in made)


async def test_a_secret_is_nowhere_in_the_store(tmp_path: Path) -> None:
    async with Access(rules(""), str(tmp_path / "access.db"), clock=Clock()) as access:
        _, secret = await access.create_key("inbox")
    assert not [file for file in files(tmp_path) if secret.encode() in file.read_bytes()]
    assert (tmp_path / "access.db").stat().st_mode & 0o077 == 0
    with sqlite3.connect(tmp_path / "access.db") as db:
        assert db.execute("SELECT digest FROM cheapfirst_keys").fetchall() == [(keys.digest(secret),)]


async def test_a_revoked_key_is_refused_at_once_here_and_soon_elsewhere(
    store: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Access(rules(""), store, clock=Clock()) as here, Access(rules(""), store, clock=Clock()) as there:
        key, secret = await here.create_key("inbox")
        assert await there.authenticate(secret) == key
        await here.revoke_key("inbox")
        with pytest.raises(KeyRefused, match="revoked"):
            await here.authenticate(secret)
        assert await there.authenticate(secret) == key, "known from memory for a moment"
        monkeypatch.setattr(keyring, "FRESH", 0.0)
        with pytest.raises(KeyRefused, match="revoked"):
            await there.authenticate(secret)
        assert await there.any_keys(), "a gateway whose last key is revoked stays closed"


async def test_a_key_ends_when_it_expires(store: str) -> None:
    clock = Clock()
    async with Access(rules(""), store, clock=clock) as access:
        _, secret = await access.create_key("inbox", expires=clock.now + 60)
        clock.now += 59
        await access.authenticate(secret)
        clock.now += 1
        with pytest.raises(KeyRefused, match="expired"):
            await access.authenticate(secret)


async def test_a_name_is_taken_until_its_key_is_revoked(store: str) -> None:
    async with Access(rules(""), store, clock=Clock()) as access:
        old, _ = await access.create_key("inbox")
        with pytest.raises(AccessError, match="already"):
            await access.create_key("inbox")
        await access.revoke_key(old.id)
        new, secret = await access.create_key("inbox")
        assert new.id != old.id
        assert await access.authenticate(secret) == new
        with pytest.raises(AccessError, match="no key"):
            await access.revoke_key(old.id)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"name": " "}, "1 to 256"),
        ({"name": "x" * 257}, "1 to 256"),
        ({"name": "*"}, "is not"),
        ({"name": "a", "tenant": ""}, "tenant"),
        ({"name": "a", "tasks": ["extrct"]}, '"extract"?'),
        ({"name": "a", "tiers": ["chep"]}, '"cheap"?'),
        ({"name": "a", "expires": 1.0}, "past"),
    ],
)
async def test_a_key_that_could_never_work_is_not_made(given: dict[str, object], says: str, tmp_path: Path) -> None:
    async with Access(rules(""), str(tmp_path / "access.db"), clock=Clock()) as access:
        with pytest.raises(AccessError) as caught:
            await access.create_key(**given)  # type: ignore[arg-type]
        assert says in str(caught.value)
        assert not await access.any_keys()


def test_a_key_says_what_it_may_use() -> None:
    key = keys.Key(id="key_1", name="inbox", tasks=("extract",), tiers=("cheap",), models=("a/b",))
    keys.require_task(key, "extract")
    keys.require_tier(key, "cheap")
    keys.require_model(key, "a/b")
    keys.require_model(keys.Key(id="key_2", name="all"), "c/d")
    for require, kind in ((keys.require_task, "task"), (keys.require_tier, "tier"), (keys.require_model, "model")):
        with pytest.raises(NotAllowed, match="may not use") as caught:
            require(key, "other")
        assert caught.value.kind == kind


async def test_looking_makes_no_file(tmp_path: Path) -> None:
    async with Access(rules(""), str(tmp_path / "none" / "access.db"), clock=Clock()) as access:
        assert not await access.any_keys()
        assert await access.list_keys() == []
        assert await access.balances() == []
    assert files(tmp_path) == []


async def test_a_file_that_is_replaced_is_read_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keyring, "FRESH", 0.0)
    path = tmp_path / "access.db"
    async with Access(rules(""), str(path), clock=Clock()) as access:
        _, secret = await access.create_key("inbox")
        for file in files(tmp_path):
            file.unlink()
        with pytest.raises(KeyRefused):
            await access.authenticate(secret)
        assert not await access.any_keys()


def test_the_store_is_found_by_its_variable_else_beside_the_ledger(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.delenv(place.VARIABLE, raising=False)
    assert place.find(tmp_path / "ledger.db") == str(tmp_path / "access.db")
    monkeypatch.setenv(place.VARIABLE, "postgresql://user:secret@host/db?sslmode=require")
    assert place.find(tmp_path / "ledger.db") == "postgresql://user:secret@host/db?sslmode=require"
    assert place.shown(place.find()) == "postgresql://host/db"
    monkeypatch.setenv(place.VARIABLE, "~/keys.db")
    assert place.find() == str(Path("~/keys.db").expanduser())


def test_an_address_of_something_else_is_refused_before_anything_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GatewayError, match=r"mysql://\.\.\..*postgresql://") as refused:
        Access(rules(""), "mysql://me:secret@db/keys")
    assert "secret" not in str(refused.value)
    assert files(tmp_path) == []
