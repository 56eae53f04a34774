"""`cheapfirst simulator`: a local upstream that speaks OpenRouter's wire, with seeded faults and replay."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import click

from cheapfirst.cli import options
from cheapfirst.errors import SimulatorError
from cheapfirst.simulator import Simulator, read_options


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", default=8484, show_default=True, type=click.IntRange(0, 65535), help="0 takes a free one.")
@click.option("--seed", type=int, help="Same seed, same answers and faults.")
@click.option("--fault", "faults", multiple=True, metavar="NAME=RATE", help="A fault's share of requests, 0 to 1.")
@click.option("--replay", type=options.FILE, help="JSONL of recorded answers to serve instead of made ones.")
@click.option("--options", "options_file", type=options.FILE, help="TOML file with models, faults, latencies.")
def command(
    host: str,
    port: int,
    seed: int | None,
    faults: tuple[str, ...],
    replay: Path | None,
    options_file: Path | None,
) -> None:
    """Serve simulated models on this machine until interrupted. Everything it answers is labelled simulated."""
    made = read_options(options_file, seed=seed, faults=faults, replay=replay)

    async def serve() -> None:
        simulator = Simulator(made)
        try:
            url = await simulator.start(host, port)
        except OSError as error:
            reason = error.strerror or str(error)
            raise SimulatorError(
                f"cannot listen on {host}:{port}: {reason}. Give another --port; 0 takes a free one"
            ) from error
        click.echo(f"cheapfirst simulator on {url} (simulated answers, no real model). Stop with Ctrl-C.", err=True)
        click.echo(f"try: cheapfirst run classify 'Where is my parcel?' --base-url {url}", err=True)
        stop = asyncio.Event()
        for sign in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(sign, stop.set)
        await stop.wait()
        await simulator.stop()

    asyncio.run(serve())
