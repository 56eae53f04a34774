"""One of several gateway processes on one socket: takes connections one by one, and does what the supervisor says."""

from __future__ import annotations

import asyncio
import errno
import gc
import logging
import shutil
import signal
import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cheapfirst.errors import CheapfirstError
from cheapfirst.gateway import server
from cheapfirst.gateway.app import Gateway
from cheapfirst.gateway.siblings import Siblings
from cheapfirst.gateway.supervisor import END, READY, RELOAD, Seat

if TYPE_CHECKING:
    import uvicorn

LOG = logging.getLogger("cheapfirst.gateway")

NO_ROOM = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
"""Why a connection cannot be taken now but perhaps later."""

AGAIN = 1.0
"""Seconds until then."""


async def serve(gateway: Gateway, listening: socket.socket, seat: Seat, folder: Path) -> None:
    """Serve until the supervisor says END or is gone, or SIGTERM comes; then let requests under way end, and bring the
    ledger in. `folder`: where the workers exchange what they count."""
    made = server.make(gateway)
    gateway.router.ledger.load_apart()
    siblings = Siblings(folder, seat.number, seat.many, lambda: gateway.telemetry.metrics.families(gateway))
    await siblings.open()
    gateway.siblings = siblings
    gc.collect()
    gc.freeze()
    gc.set_threshold(*server.COLLECT)
    worker = _Worker(gateway, made, listening, seat)
    starting = asyncio.create_task(worker.start())
    try:
        await made._serve([])  # `serve` would take over the signals, and `sockets` take every connection at once
    finally:
        starting.cancel()
        siblings.close()
        if worker.alone:
            shutil.rmtree(folder, ignore_errors=True)


class _Worker:
    def __init__(self, gateway: Gateway, made: uvicorn.Server, listening: socket.socket, seat: Seat) -> None:
        self._gateway = gateway
        self._server = made
        self._listening = listening
        self._channel = seat.channel
        self._channel.setblocking(False)
        self._loop = asyncio.get_running_loop()
        self._coming: set[asyncio.Task[None]] = set()
        self._open = False
        self._told = False  # END, once
        self.alone = False  # the supervisor is gone

    async def start(self) -> None:
        """Begin to take connections as soon as the server is up, and say so."""
        self._loop.add_signal_handler(signal.SIGTERM, self._end)
        self._loop.add_reader(self._channel, self._hear)
        while not self._server.started:  # noqa: ASYNC110 - uvicorn tells nobody
            await asyncio.sleep(0.005)
        if not self._server.should_exit:
            self._take_up()
            self._channel.send(READY)

    def _hear(self) -> None:
        try:
            words = self._channel.recv(64)
        except BlockingIOError:
            return
        except OSError:
            words = b""
        if not words:
            self._loop.remove_reader(self._channel)
            self.alone = True
            LOG.error("the supervisor is gone, so this worker ends too")
            self._end()
        if RELOAD in words:
            self._reload()
        for _ in range(words.count(END)):
            self._server.force_exit = self._told
            self._told = True
            self._end()

    def _end(self) -> None:
        self._server.should_exit = True
        self._gateway.gate.closing = True
        self._lay_down()
        self._listening.close()

    def _reload(self) -> None:
        """The supervisor has found the policy's file good and said so; it can have changed again since."""
        try:
            self._gateway.reload()
        except CheapfirstError as error:
            LOG.error("the policy cannot be loaded, so this worker keeps the old one: %s", error)

    def _take_up(self) -> None:
        if not self._server.should_exit:
            self._open = True
            self._loop.add_reader(self._listening, self._take)

    def _lay_down(self) -> None:
        if self._open:
            self._open = False
            self._loop.remove_reader(self._listening)

    def _take(self) -> None:
        """Take one connection; the others are for whoever has time: taking all that wait would leave the other workers
        idle while this one is busy for seconds."""
        try:
            connection, _ = self._listening.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return  # another worker was faster
        except OSError as error:
            if error.errno not in NO_ROOM:
                raise
            LOG.error("no connection can be taken for %g seconds: %s", AGAIN, error.strerror)
            self._lay_down()
            self._loop.call_later(AGAIN, self._take_up)
            return
        connection.setblocking(False)
        task = self._loop.create_task(self._welcome(connection))
        self._coming.add(task)
        task.add_done_callback(self._coming.discard)

    async def _welcome(self, connection: socket.socket) -> None:
        try:
            _, protocol = await self._loop.connect_accepted_socket(self._protocol, connection)
        except OSError:  # it left at once
            connection.close()
            return
        if self._server.should_exit:  # the server has told all others already
            protocol.shutdown()

    def _protocol(self) -> Any:
        made = self._server
        return made.config.http_protocol_class(  # type: ignore[call-arg]
            config=made.config, server_state=made.server_state, app_state=made.lifespan.state
        )
