"""Runs the gateway behind uvicorn: bounds on headers and slow senders, a graceful end, a policy that can change."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import ipaddress
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from cheapfirst.access import Access
from cheapfirst.errors import CheapfirstError, GatewayError, MissingExtra, PolicyError
from cheapfirst.gateway.app import Gateway
from cheapfirst.policy import Policy

if TYPE_CHECKING:
    import uvicorn

LOG = logging.getLogger("cheapfirst.gateway")

LOOK = 1.0
"""Seconds between looks at the policy's file."""

BACKLOG = 2048

COLLECT = (20_000, 20, 20)
"""Objects made before the interpreter looks for dead cycles: a request leaves hardly any, so looking is a waste."""


class Handle(Struct, frozen=True):
    """A gateway that runs on a thread of its own."""

    base_url: str  # what clients take as base URL: ends in /v1
    gateway: Gateway


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that listens there; port 0 takes a free one. Raises GatewayError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0]
        made = socket.socket(found[0], found[1])
        try:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            made.bind(found[4])
            made.listen(BACKLOG)
        except BaseException:
            made.close()
            raise
    except OSError as error:
        raise GatewayError(
            f"cannot listen on {host}:{port}: {error.strerror or error}. Give another --port; 0 takes a free one"
        ) from error
    made.setblocking(False)
    return made


def address(listening: socket.socket) -> str:
    """The base URL that clients of this socket use."""
    host, port = listening.getsockname()[:2]
    if host in ("0.0.0.0", "::"):  # noqa: S104 - read, not bound
        host = "127.0.0.1"
    return f"http://[{host}]:{port}/v1" if ":" in host else f"http://{host}:{port}/v1"


async def require_key(listening: socket.socket, policy: Policy, store: str) -> bool:
    """Whether a key was ever made, so that everybody needs one. Raises GatewayError when none was and others than this
    machine can reach the socket, and StoreUnavailable."""
    async with Access(policy, store) as access:
        found = await access.any_keys()
    host, port = listening.getsockname()[:2]
    if not found and not ipaddress.ip_address(host.partition("%")[0]).is_loopback:
        raise GatewayError(
            f"others could reach {host}:{port}, and spend, without a key: make one first "
            "(cheapfirst keys create --name NAME), or listen on 127.0.0.1"
        )
    return found


def make(gateway: Gateway) -> uvicorn.Server:
    """Return the server for a gateway. Raises MissingExtra."""
    try:
        import httptools  # noqa: F401
        import uvicorn
    except ImportError as error:
        raise MissingExtra(error.name or "uvicorn", "gateway", "the gateway") from error
    from cheapfirst.gateway.protocol import Protocol

    gateway.admission.served = True
    config = uvicorn.Config(
        gateway,
        loop="uvloop" if _has_uvloop() else "asyncio",
        http=Protocol,
        ws="none",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        date_header=True,
        lifespan="on",
        timeout_keep_alive=75,
        timeout_graceful_shutdown=max(1, round(gateway.router.policy.gateway.drain)),
        backlog=BACKLOG,
    )
    return uvicorn.Server(config)


async def serve(gateway: Gateway, listening: socket.socket, *, ready: Callable[[], None] = lambda: None) -> None:
    """Serve until SIGTERM or SIGINT; then let requests under way end, and bring the ledger in.

    SIGHUP and a change of the policy's file load the policy anew; a wrong one is refused and the old one stays.
    """
    server = make(gateway)
    gateway.router.ledger.load_apart()
    gc.collect()
    gc.freeze()  # what is there now stays, so that no collection has to look at it again
    gc.set_threshold(*COLLECT)
    loop = asyncio.get_running_loop()
    watch = asyncio.create_task(_watch(gateway, server, ready))
    with contextlib.suppress(NotImplementedError, RuntimeError, ValueError):  # no signals here
        loop.add_signal_handler(signal.SIGHUP, lambda: reload(gateway))
    try:
        await _serve(server, listening)
    finally:
        watch.cancel()


async def _serve(server: uvicorn.Server, listening: socket.socket) -> None:
    """Serve until a signal says to end. uvicorn by itself would send itself the signal once more, and so end in the
    middle of what is to be done last."""
    loop = asyncio.get_running_loop()
    try:
        for sign in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(sign, server.handle_exit, sign, None)
    except (NotImplementedError, RuntimeError, ValueError):  # no signals here
        await server.serve(sockets=[listening])
    else:
        await server._serve([listening])


def reload(gateway: Gateway) -> bool:
    """Load the policy's file anew. Returns whether the new one is in force; a wrong one is said and left alone."""
    try:
        changed = gateway.reload()
    except CheapfirstError as error:
        say_wrong(error)
        return False
    if changed:
        say_new(gateway.router.policy)
    return changed


def say_wrong(error: CheapfirstError) -> None:
    """Say why a changed policy is not taken."""
    problems = error.problems if isinstance(error, PolicyError) else (str(error),)
    LOG.error("the changed policy is wrong, so the old one stays: %s", "; ".join(problems))


def say_new(policy: Policy) -> None:
    """Say that another policy is in force."""
    LOG.warning("policy %s is in force now, from %s", policy.hash, policy.source)


def stamp(policy: Policy) -> tuple[int, int, int] | None:
    """What changes when the policy's file does; None when there is none."""
    try:
        found = os.stat(Path(policy.source))
    except (OSError, ValueError):
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


async def _watch(gateway: Gateway, server: uvicorn.Server, ready: Callable[[], None]) -> None:
    """Say when the server is ready, notice a change of the policy's file, and close the gate when the end begins."""
    loaded = seen = stamp(gateway.router.policy)
    said = False
    while True:
        if server.started and not said:
            said = True
            ready()
        if server.should_exit:
            gateway.gate.closing = True
        await asyncio.sleep(LOOK if said and not server.should_exit else 0.02)
        before, seen = seen, stamp(gateway.router.policy)
        if seen == before != loaded:  # twice the same: nobody is in the middle of writing it
            loaded = seen
            reload(gateway)


def _has_uvloop() -> bool:
    try:
        import uvloop  # noqa: F401
    except ImportError:
        return False
    return True


@contextlib.contextmanager
def serve_in_thread(*args: Any, host: str = "127.0.0.1", port: int = 0, **options: Any) -> Iterator[Handle]:
    """Run a gateway for the length of a `with` block; arguments are those of `Gateway`.

    Raises PolicyError, GatewayError, MissingExtra.
    """
    listening = listen(host, port)
    gateway = Gateway(*args, **options)
    server = make(gateway)
    server.config.load()
    started = threading.Event()
    refused: list[CheapfirstError] = []

    async def main() -> None:
        try:
            await require_key(listening, gateway.router.policy, gateway.admission.access.address)
        except CheapfirstError as error:
            refused.append(error)
            await gateway.aclose()
            started.set()
            return
        watch = asyncio.create_task(_watch(gateway, server, started.set))
        try:
            await server._serve([listening])  # `serve` would take over the process's signals
        finally:
            watch.cancel()
            started.set()

    thread = threading.Thread(target=lambda: run(main), name="cheapfirst-gateway", daemon=True)
    thread.start()
    started.wait()
    try:
        if refused:
            raise refused[0]
        yield Handle(address(listening), gateway)
    finally:
        server.should_exit = True
        thread.join()
        listening.close()


def run(main: Callable[[], Any]) -> None:
    """Run a coroutine function on the fastest loop there is."""
    if _has_uvloop():
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(main())
    else:
        asyncio.run(main())
