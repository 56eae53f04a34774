"""`cheapfirst serve`: the gateway, for any client of the OpenAI protocol."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Literal

import click

from cheapfirst.cli import options


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8383, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
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
    from cheapfirst.gateway import Gateway, logs, server

    made = logs.Logs("text" if log_format == "off" else log_format, requests=log_format != "off")
    logs.install(made)
    listening = server.listen(host, port)
    gateway = Gateway(policy_file, base_url=base_url, ledger=ledger_file, store=store, logs=made, tracing=otel or None)
    policy = gateway.router.policy
    closed = asyncio.run(server.require_key(listening, policy, gateway.admission.access.address))

    def ready() -> None:
        click.echo(
            f"cheapfirst gateway on {server.address(listening)} (policy {policy.hash} from {policy.source}). "
            "Stop with Ctrl-C.",
            err=True,
        )
        if not closed:
            click.echo("No key was made, so whoever is on this machine is served: cheapfirst keys create", err=True)

    server.run(lambda: server.serve(gateway, listening, ready=ready))
