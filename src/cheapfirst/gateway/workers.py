"""Runs the gateway as several processes on one socket, so that it uses several cores."""

from __future__ import annotations

import importlib
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from cheapfirst.errors import CheapfirstError
from cheapfirst.gateway import logs, server, supervisor, worker
from cheapfirst.gateway.app import Gateway
from cheapfirst.gateway.supervisor import Plot, Seat
from cheapfirst.policy import Policy
from cheapfirst.policy.load import BUILT_IN
from cheapfirst.router import AsyncRouter

SHARED = ("cheapfirst.gateway.protocol", "cheapfirst.ledger.store")
"""What a worker loads while it serves; loaded before, its memory is shared by all."""


def cores() -> int:
    """How many this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def serve(
    many: int,
    listening: socket.socket,
    *,
    policy: Policy,
    base_url: str | None,
    ledger: Path | None,
    store: str,
    log: tuple[Literal["text", "json"], bool],
    otel: bool,
    ready: Callable[[], None],
) -> None:
    """Serve with so many processes until SIGTERM or SIGINT; what the two do to one process, they do to all.

    `log`: the format of lines, and whether there is one a request. Raises GatewayError when a worker cannot start.
    """
    for name in SHARED:
        importlib.import_module(name)
    held = policy

    def reload() -> bool:
        nonlocal held
        source = held.source if held.source != BUILT_IN else None
        try:
            new = AsyncRouter(source, base_url=base_url, ledger=False).policy
        except CheapfirstError as error:
            server.say_wrong(error)
            return False
        if new == held:
            return False
        held = new
        server.say_new(held)
        return True

    def work(seat: Seat) -> None:
        made = logs.Logs(log[0], requests=log[1])
        logs.install(made)
        gateway = Gateway(
            held, base_url=base_url, ledger=ledger, store=store, logs=made, tracing=otel or None, parts=many
        )
        try:
            server.run(lambda: worker.serve(gateway, listening, seat, Path(folder)))
        finally:
            made.close()

    with tempfile.TemporaryDirectory(prefix="cheapfirst-") as folder:
        supervisor.run(
            Plot(
                many=many,
                listening=listening,
                work=work,
                stamp=lambda: server.stamp(held),
                reload=reload,
                ready=ready,
                drain=lambda: held.gateway.drain,
            )
        )
