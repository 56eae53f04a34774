"""`cheapfirst keys create | list | revoke`: who may use the gateway, and for what."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TypeVar

import click
import msgspec

from cheapfirst import policy as policies
from cheapfirst.access import Access, Key, keyring, place
from cheapfirst.cli import options, screen
from cheapfirst.ledger import locate
from cheapfirst.ledger.period import UNITS, moment

T = TypeVar("T")

_SPAN = re.compile(r"(\d+)\s*([smhdw])", re.ASCII)


@click.group()
def command() -> None:
    """Make, list and revoke virtual keys. Once the first is made, the gateway serves nobody without one."""


@command.command()
@click.option("--name", required=True, help="What people call it, and what budgets and rates may name.")
@click.option("--tenant", help="Whose spend its requests are, whatever they say; else as each request says.")
@click.option("--task", "tasks", multiple=True, help="A task it may ask for; repeat for more. None given: all.")
@click.option("--tier", "tiers", multiple=True, help="A tier it may use; repeat for more. None given: all.")
@click.option("--model", "models", multiple=True, help="A model it may use; repeat for more. None given: all.")
@click.option("--expires", help="When it ends: a span from now (12h, 30d, 4w), a date or an ISO time. Else never.")
@options.policy_option
@options.ledger_option
@options.store_option
@options.json_option
def create(
    name: str,
    tenant: str | None,
    tasks: tuple[str, ...],
    tiers: tuple[str, ...],
    models: tuple[str, ...],
    expires: str | None,
    policy_file: Path | None,
    ledger_file: Path | None,
    store: str | None,
    as_json: bool,
) -> None:
    """Make a key and print its secret, this once: it is kept only as a digest."""

    async def make(access: Access) -> tuple[Key, str]:
        until = _later(expires, time.time()) if expires is not None else None
        return await access.create_key(name, tenant=tenant, tasks=tasks, tiers=tiers, models=models, expires=until)

    key, secret = with_access(make, policy_file, ledger_file, store)
    if as_json:
        screen.print_json({**msgspec.to_builtins(key), "secret": secret})
        return
    click.echo(secret)
    click.echo(
        f"This is the secret of key {key.name!r} ({key.id}); it is not shown again. Clients send it as their API key. "
        f"Gateways know it within {keyring.FRESH:g} seconds.",
        err=True,
    )


@command.command("list")
@options.policy_option
@options.ledger_option
@options.store_option
@options.json_option
def list_(policy_file: Path | None, ledger_file: Path | None, store: str | None, as_json: bool) -> None:
    """List every key, revoked and expired ones too. Secrets cannot be shown."""
    found = with_access(Access.list_keys, policy_file, ledger_file, store)
    now = time.time()
    if as_json:
        screen.print_json([{**msgspec.to_builtins(key), "state": key.state(now)} for key in found])
        return
    if not found:
        click.echo("There are no keys: the gateway serves whoever reaches it, and listens on loopback only.")
        return
    columns = ("id", "name", "state", "tenant", "tasks", "tiers", "models", "expires")
    out = screen.console()
    screen.put(out, screen.table("Keys", columns, [_row(key, now) for key in found]))


@command.command()
@click.argument("key")
@options.policy_option
@options.ledger_option
@options.store_option
def revoke(key: str, policy_file: Path | None, ledger_file: Path | None, store: str | None) -> None:
    """Revoke the KEY with this id or name. It cannot be taken back; its name is free again."""
    gone = with_access(lambda access: access.revoke_key(key), policy_file, ledger_file, store)
    click.echo(f"Key {gone.name!r} ({gone.id}) is revoked. Gateways refuse it within {keyring.FRESH:g} seconds.")


def with_access(
    work: Callable[[Access], Awaitable[T]], policy_file: Path | None, ledger_file: Path | None, store: str | None
) -> T:
    """Do some work on the store that the options name, and return what it returns."""
    policy = policies.load(policy_file)
    address = store if store is not None else place.find(ledger_file or locate(policy.ledger.path))

    async def run() -> T:
        async with Access(policy, address) as access:
            return await work(access)

    return asyncio.run(run())


def when(time: float | None) -> str:
    """A moment for people, in UTC; "never" for none."""
    return "never" if time is None else f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H:%M}Z"


def _row(key: Key, now: float) -> tuple[object, ...]:
    several = (", ".join(names) or "all" for names in (key.tasks, key.tiers, key.models))
    return (key.id, key.name, key.state(now), key.tenant or "any", *several, when(key.expires))


def _later(text: str, now: float) -> float:
    if found := _SPAN.fullmatch(text.strip().lower()):
        return now + int(found[1]) * UNITS[found[2]]
    return moment(text)
