"""`cheapfirst catalog show | sync`: what is known about models, and what the upstream lists now."""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any

import click

from cheapfirst import catalog as models
from cheapfirst import policy as policies
from cheapfirst.cli import options, screen
from cheapfirst.errors import CatalogError, nearest
from cheapfirst.messages import Fault
from cheapfirst.policy import Policy
from cheapfirst.upstream import Upstream

SPELLED = {None: "unknown", True: "yes", False: "no"}


@click.group()
def command() -> None:
    """Prices and capabilities of models."""


@command.command()
@click.argument("model")
@options.json_option
@options.policy_option
def show(model: str, as_json: bool, policy_file: Path | None) -> None:
    """Print what is known about MODEL, with the policy's own word over the catalog's."""
    known = models.load(policies.load(policy_file).models)
    found = known.model(known.normalise(model))
    if not found.known:
        raise CatalogError(
            f"unknown model {model!r}{nearest(model, known.ids())} `cheapfirst catalog sync` asks the upstream"
        )
    if as_json:
        screen.print_json(found)
        return
    price = found.price(time.time())
    facts: list[tuple[str, Any]] = [("model", found.id)]
    for name in ("input", "output", "cache_read", "cache_write"):
        amount = getattr(price, name) if price is not None else None
        facts.append((name, f"{screen.price(amount)} per million tokens" if amount is not None else "unknown"))
    for name in ("context", "max_output", "tools", "vision", "structured"):
        value = getattr(found, name)
        facts.append((name, f"{value:,} tokens" if type(value) is int else SPELLED.get(value, value)))
    screen.put(screen.console(), screen.table(None, ("what", "is"), facts))
    click.echo(
        f"Shipped data of {known.date}: " + ", ".join(f"{one.name} {one.version}" for one in known.sources), err=True
    )


@command.command()
@click.option("--base-url", help="Another OpenAI-compatible server.")
@options.policy_option
def sync(base_url: str | None, policy_file: Path | None) -> None:
    """Ask the upstream what it lists now and keep that for later commands and programs."""
    loaded = policies.load(policy_file, base_url=base_url)
    rows = asyncio.run(_rows(loaded))
    file = models.save_synced(rows, base_url=loaded.upstream.base_url, at=time.time())
    click.echo(f"{len(rows)} models of {loaded.upstream.base_url} are in {file}.")


async def _rows(policy: Policy) -> list[Any]:
    upstream = Upstream(policy.upstream, api_key=os.environ.get(policy.upstream.key_env))
    try:
        listed = await upstream.get("/models")
    finally:
        await upstream.close()
    if isinstance(listed, Fault):
        raise CatalogError(f"{policy.upstream.base_url} did not list its models: {listed.name}: {listed.sentence}")
    if listed.get("simulated"):
        raise CatalogError(f"{policy.upstream.base_url} is a simulator: its prices are made up, so none were kept")
    rows = listed.get("data")
    if not isinstance(rows, list):
        raise CatalogError(f"{policy.upstream.base_url}/models answered without a list under `data`")
    return rows
