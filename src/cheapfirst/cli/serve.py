"""`cheapfirst serve`: the gateway, for any client of the OpenAI protocol."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

import click

from cheapfirst.cli import options

MOST = 256
"""Workers."""


def _workers(ctx: click.Context, param: click.Parameter, value: str) -> int:
    if value == "auto":
        from cheapfirst.gateway import workers

        return min(MOST, workers.cores())
    if not value.isascii() or not value.isdigit() or not 1 <= int(value) <= MOST:
        raise click.BadParameter(f"{value!r} is neither a number from 1 to {MOST} nor auto")
    return int(value)


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8383, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option(
    "--workers",
    default="1",
    show_default=True,
    metavar="[N|auto]",
    callback=_workers,
    help="Processes that serve, on one port; auto: one for each core.",
)
@click.option("--base-url", help="Another OpenAI-compatible upstream.")
@options.policy_option
@options.ledger_option
@options.store_option
@click.option(
    "--log",
    "log_format",
    type=click.Choice(["json", "text", "off"]),
    default="off",
    show_default=True,
    help="One line a request on standard error; with off only what the gateway has to say itself.",
)
@click.option("--otel", is_flag=True, help="Send OpenTelemetry's traces and metrics, as the OTEL_ variables say.")
def command(
    host: str,
    port: int,
    workers: int,
    base_url: str | None,
    policy_file: Path | None,
    ledger_file: Path | None,
    store: str | None,
    log_format: Literal["json", "text", "off"],
    otel: bool,
) -> None:
    """Serve the OpenAI protocol: point any client's base URL here and name a task as the model.

    Without any key made (cheapfirst keys create) it listens on loopback only. SIGTERM ends it gracefully, SIGHUP (or a
    changed file) loads the policy anew.
    """
    from cheapfirst.access import place
    from cheapfirst.gateway import Gateway, logs, server
    from cheapfirst.gateway import workers as processes
    from cheapfirst.ledger import locate
    from cheapfirst.router import AsyncRouter

    form: Literal["json", "text"] = "text" if log_format == "off" else log_format
    each = log_format != "off"
    listening = server.listen(host, port)
    closed = False

    def ready() -> None:
        policy = found.policy
        several = f", {workers} workers" if workers > 1 else ""
        click.echo(
            f"cheapfirst gateway on {server.address(listening)} (policy {policy.hash} from {policy.source}{several}). "
            "Stop with Ctrl-C.",
            err=True,
        )
        if found.missing_key is not None:
            click.echo(
                f"{found.missing_key} is not set, so every request will be refused: set it and start again. To try it "
                "without a key, run `cheapfirst simulator` and give --base-url http://127.0.0.1:8484/api/v1.",
                err=True,
            )
        if not closed:
            click.echo("No key was made, so whoever is on this machine is served: cheapfirst keys create", err=True)

    if workers == 1:
        made = logs.Logs(form, requests=each)
        logs.install(made)
        gateway = Gateway(
            policy_file, base_url=base_url, ledger=ledger_file, store=store, logs=made, tracing=otel or None
        )
        found = gateway.router
        closed = asyncio.run(server.require_key(listening, found.policy, gateway.admission.access.address))
        server.run(lambda: server.serve(gateway, listening, ready=ready))
        return
    logs.install(logs.Direct(form))
    found = AsyncRouter(policy_file, base_url=base_url, ledger=False)
    store = place.find(ledger_file or locate(found.policy.ledger.path)) if store is None else store
    closed = asyncio.run(server.require_key(listening, found.policy, store))
    processes.serve(
        workers,
        listening,
        policy=found.policy,
        base_url=base_url,
        ledger=ledger_file,
        store=store,
        log=(form, each),
        otel=otel,
        ready=ready,
    )
