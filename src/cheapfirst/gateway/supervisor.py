"""Keeps several gateway processes on one socket: starts them, replaces one that dies, passes on what it is told.

The processes are forked, so that they share the memory of everything that was loaded before. The supervisor serves
nothing, has no event loop and no threads. Each worker hears it over a socket pair, whose end tells either that the
other is gone, however that came.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import select
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from types import FrameType

from msgspec import Struct

from cheapfirst.errors import CheapfirstError, GatewayError

LOG = logging.getLogger("cheapfirst.gateway")

READY = b"+"
"""What a worker says once it serves."""

RELOAD, END = b"r", b"e"
"""What the supervisor says. END twice: without waiting for requests under way."""

LOOK = 1.0
"""Seconds between looks at the policy's file."""

STEADY = 10.0
"""Seconds that a worker must have lived for its death to count as the first."""

LONGEST_PAUSE = 30.0
"""Seconds before a worker that dies again and again is replaced. The first death has none; then it doubles from 0.2."""

OVERTIME = 15.0
"""Seconds beyond `gateway.drain` after which a worker that does not end is killed."""

FAILED = 70
"""Exit code of a worker that came to grief; it has said why."""

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD)


class Seat(Struct, frozen=True):
    """A worker's place."""

    number: int  # from 1; whoever replaces a dead worker takes its number
    many: int  # workers in all
    channel: socket.socket  # to the supervisor


class Worker(Struct):
    """A worker as the supervisor sees it."""

    number: int
    pid: int = 0  # 0: none runs
    channel: socket.socket | None = None
    born: float = 0.0  # monotonic seconds
    deaths: int = 0  # in a row
    due: float = 0.0  # monotonic seconds: when the next one may start
    ready: bool = False  # one was ready once


class Plot(Struct, frozen=True):
    """What the supervisor is there for."""

    many: int
    listening: socket.socket
    work: Callable[[Seat], None]  # runs in the worker until its end
    stamp: Callable[[], object]  # changes when the policy's file does
    reload: Callable[[], bool]  # load the policy anew; whether the workers must, too
    ready: Callable[[], None]
    drain: Callable[[], float]  # seconds


def run(plot: Plot) -> None:
    """Run until SIGTERM or SIGINT, and until every worker has ended.

    Raises GatewayError when a worker ends before it was ever ready, or does not end as it should.
    """
    for thread in threading.enumerate():  # a fork copies only the thread that forks
        if thread is not threading.current_thread():
            thread.join(OVERTIME)
    with _woken() as wake:
        _Supervisor(plot, wake).run()


class _Supervisor:
    def __init__(self, plot: Plot, wake: socket.socket) -> None:
        self._plot = plot
        self._wake = wake
        self._workers = [Worker(number) for number in range(1, plot.many + 1)]
        self._told = False  # a signal said to end
        self._until = 0.0  # monotonic seconds: when those who are left are killed
        self._said = False
        self._stamp = plot.stamp()  # of the file as it was loaded
        self._seen = self._stamp  # at the last look
        self._look_at = 0.0  # monotonic seconds
        self._failed: str | None = None

    def run(self) -> None:
        try:
            while True:
                self._fill()
                self._wait()
                self._reap()
                if (self._told or self._failed) and not any(worker.pid for worker in self._workers):
                    break
                self._look()
        except BaseException:
            self._kill()
            raise
        if self._failed is not None:
            raise GatewayError(self._failed)

    def _fill(self) -> None:
        """Start what is missing and due."""
        if self._told or self._failed:
            return
        for worker in self._workers:
            if not worker.pid and time.monotonic() >= worker.due:
                self._start(worker)

    def _start(self, worker: Worker) -> None:
        ours, theirs = socket.socketpair()
        gc.collect()
        gc.freeze()  # a collection in the worker would touch, and so copy, what is shared
        pid = os.fork()
        if pid == 0:
            _become(lambda: self._leave(ours), lambda: self._plot.work(Seat(worker.number, self._plot.many, theirs)))
        theirs.close()
        ours.setblocking(False)
        worker.pid, worker.channel, worker.born = pid, ours, time.monotonic()

    def _leave(self, ours: socket.socket) -> None:
        """In a worker: let go of what is the supervisor's, so that its end can be seen."""
        ours.close()
        self._wake.close()
        for other in self._workers:
            if other.channel is not None:
                other.channel.close()

    def _wait(self) -> None:
        """Wait for a signal, a word of a worker or the time of what is due, and act on signals and words."""
        now = time.monotonic()
        due = [worker.due - now for worker in self._workers if not worker.pid and not self._told]
        channels = {worker.channel: worker for worker in self._workers if worker.channel is not None}
        heard, _, _ = select.select([self._wake, *channels], [], [], max(0.0, min([LOOK, *due])))
        for source in heard:
            if source is self._wake:
                for number in self._wake.recv(1024):
                    self._signal(number)
            else:
                self._hear(channels[source])

    def _hear(self, worker: Worker) -> None:
        assert worker.channel is not None
        try:
            word = worker.channel.recv(16)
        except BlockingIOError:
            return
        except OSError:
            word = b""
        if not word:
            worker.channel.close()
            worker.channel = None
            return
        worker.ready = True
        if not self._said and all(one.ready for one in self._workers):
            self._said = True
            self._plot.ready()

    def _signal(self, number: int) -> None:
        if number in (signal.SIGTERM, signal.SIGINT):
            if not self._told:
                self._told = True
                self._end()
            elif number == signal.SIGINT:
                self._tell(END)
        elif number == signal.SIGHUP:
            self._reload()

    def _end(self) -> None:
        """Begin the end: nothing new is taken, and each worker is told."""
        self._until = time.monotonic() + self._plot.drain() + OVERTIME
        self._plot.listening.close()
        self._tell(END)

    def _look(self) -> None:
        """See whether the policy's file changed, and whether somebody takes too long to end."""
        if self._told or self._failed:
            if time.monotonic() > self._until:
                self._kill()
            return
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK
        before, self._seen = self._seen, self._plot.stamp()
        if self._seen == before != self._stamp:  # twice the same: nobody is in the middle of writing it
            self._reload()

    def _reload(self) -> None:
        self._stamp = self._plot.stamp()
        if not self._told and self._plot.reload():
            self._tell(RELOAD)

    def _tell(self, word: bytes) -> None:
        for worker in self._workers:
            if worker.channel is not None:
                with contextlib.suppress(OSError):  # it is about to be seen dead
                    worker.channel.send(word)

    def _reap(self) -> None:
        for worker in self._workers:
            if not worker.pid:
                continue
            pid, status = os.waitpid(worker.pid, os.WNOHANG)
            if pid:
                self._died(worker, os.waitstatus_to_exitcode(status))

    def _died(self, worker: Worker, code: int) -> None:
        pid, now = worker.pid, time.monotonic()
        worker.pid = 0
        if worker.channel is not None:
            self._hear(worker)  # what it said last
        if worker.channel is not None:
            worker.channel.close()
            worker.channel = None
        how = f"was ended by {_name(-code)}" if code < 0 else f"ended with exit code {code}"
        if self._told or self._failed:
            if code not in (0, -signal.SIGTERM) and not self._failed:  # SIGTERM: it had not begun
                self._failed = f"worker {worker.number} (process {pid}) {how}, and not as it should"
            return
        if not worker.ready:
            self._failed = f"worker {worker.number} (process {pid}) {how} before it was ready"
            self._end()
            return
        worker.deaths = 0 if now - worker.born > STEADY else worker.deaths + 1
        pause = min(LONGEST_PAUSE, 0.1 * 2.0**worker.deaths) if worker.deaths else 0.0
        worker.due = now + pause
        again = f"in {pause:.1f} seconds" if pause else "now"
        LOG.error("worker %d (process %d) %s; another one starts %s", worker.number, pid, how, again)

    def _kill(self) -> None:
        for worker in self._workers:
            if worker.pid:
                LOG.error("worker %d (process %d) did not end in time and is killed", worker.number, worker.pid)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(worker.pid, signal.SIGKILL)


def _become(leave: Callable[[], None], work: Callable[[], None]) -> None:
    """Be a worker, in the process that was just forked; never returns."""
    code = FAILED
    try:
        signal.set_wakeup_fd(-1)
        for one in SIGNALS:
            signal.signal(one, signal.SIG_DFL)
        # A terminal sends these to every process; what they mean comes from the supervisor.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        leave()
        work()
        code = 0
    except CheapfirstError as error:
        _say(f"Error: {error}\n")
    except BaseException:  # noqa: BLE001 - nobody above is there for it
        _say(traceback.format_exc())
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # what the supervisor's code above would do at its end is not for a worker


def _say(text: str) -> None:
    with contextlib.suppress(OSError):
        os.write(2, text.encode(errors="replace"))


@contextlib.contextmanager
def _woken() -> Iterator[socket.socket]:
    """A socket that holds a byte for each signal that came; handlers are as before when the block ends."""
    wake, signalled = socket.socketpair()
    wake.setblocking(False)
    signalled.setblocking(False)
    before = {one: signal.signal(one, _nothing) for one in SIGNALS}
    signal.set_wakeup_fd(signalled.fileno(), warn_on_full_buffer=False)
    try:
        yield wake
    finally:
        signal.set_wakeup_fd(-1)
        for one, handler in before.items():
            signal.signal(one, handler)
        wake.close()
        signalled.close()


def _nothing(number: int, frame: FrameType | None) -> None:
    """Its byte in the socket is enough."""


def _name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
