"""A gateway of several processes, run as a program in front of the simulator."""

from __future__ import annotations

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from msgspec import Struct

from cheapfirst.simulator import Latency, Options, SimModel
from cheapfirst.simulator import serve_in_thread as simulate
from cheapfirst.simulator.answerer import Made

PATIENCE = 15.0  # seconds until what should come is given up

POLICY = """
[tiers]
cheap = "sim/small"
premium = "sim/large"

[routes]
write = { tier = "cheap", shape = "text" }
chat = { tier = "cheap", shape = "stream", stream = "pass" }
slow = { tier = "premium", shape = "stream", stream = "pass" }

[models."sim/small"]
input = 0.1
output = 0.2

[models."sim/large"]
input = 5
output = 25
"""

MODELS = (
    SimModel(id="sim/small"),
    SimModel(id="sim/large", skill="premium", latency=Latency(first_token=0.05, per_token=0.01)),
)
WORDS = " ".join(f"word{number}" for number in range(30))


ENVIRONMENT = {**os.environ, "OPENROUTER_API_KEY": "sk-simulated"}


def command(many: int) -> list[str]:
    """The program, to be run in a folder that holds the policy."""
    serve = [sys.executable, "-m", "cheapfirst", "serve", "--port", "0", "--workers", str(many)]
    return [*serve, "--policy", "cheapfirst.toml", "--ledger", "ledger.db"]


class Running(Struct, frozen=True):
    """The program, and where it listens."""

    process: subprocess.Popen[bytes]
    port: int
    folder: Path
    said: list[str]  # lines of its standard error so far

    def workers(self) -> list[int]:
        """Process ids of the workers that live."""
        return [child for child in children(self.process.pid) if alive(child)]

    def ask(
        self, path: str = "/v1/chat/completions", body: Any = None, *, timeout: float = PATIENCE
    ) -> tuple[int, bytes]:
        """One request over a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=timeout)
        try:
            if body is None:
                connection.request("GET", path)
            else:
                connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"})
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def write(self) -> str:
        """Have something written; returns the request's id."""
        status, content = self.ask(body=asking("write"))
        assert status == 200, content
        return str(json.loads(content)["cheapfirst"]["request_id"])

    def health(self) -> Any:
        """What /health says."""
        return json.loads(self.ask("/health")[1])

    def metric(self, name: str) -> float:
        """The sum of a metric's values over its labels."""
        lines = self.ask("/metrics")[1].decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if re.match(rf"{name}[{{ ]", line))

    def until(self, true: Callable[[], bool]) -> None:
        """Wait until it is so."""
        wait(true, lambda: f"never so; it said {self.said}")

    def heard(self, text: str) -> int:
        """How many lines hold that text."""
        return sum(text in line for line in self.said)


@contextmanager
def running(folder: Path, *arguments: str, many: int = 2, policy: str = POLICY) -> Iterator[Running]:
    """The gateway with so many workers, in front of the simulator."""
    (folder / "cheapfirst.toml").write_text(policy, "utf-8")
    with simulate(Options(models=MODELS), answerer=lambda skill, body, rng: Made(text=WORDS)) as simulator:
        given = [*command(many), "--base-url", simulator.base_url, *arguments]
        process = subprocess.Popen(given, cwd=folder, env=ENVIRONMENT, stderr=subprocess.PIPE)
        said: list[str] = []
        reader = threading.Thread(target=_listen, args=(process, said), daemon=True)
        reader.start()
        before: list[int] = []
        try:
            wait(lambda: bool(said) or process.poll() is not None, lambda: "it never began")
            found = re.search(r":(\d+)/v1", said[0])
            assert found, said
            before = children(process.pid)
            yield Running(process, int(found[1]), folder, said)
        finally:
            before = children(process.pid) or before
            process.kill()
            process.wait()
            for one in before:
                with suppress(ProcessLookupError):
                    os.kill(one, signal.SIGKILL)
            reader.join(PATIENCE)
            assert process.stderr is not None
            process.stderr.close()


def asking(task: str, **more: Any) -> dict[str, Any]:
    return {"model": task, "messages": [{"role": "user", "content": "Say some words."}], **more}


def wait(true: Callable[[], bool], otherwise: Callable[[], str]) -> None:
    until = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < until, otherwise()
        time.sleep(0.01)


def children(pid: int) -> list[int]:
    """Process ids of the process's children."""
    listed = subprocess.run(["ps", "-A", "-o", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
    return [int(line.split()[0]) for line in listed.splitlines() if int(line.split()[1]) == pid]


def alive(pid: int) -> bool:
    """Whether the process runs: one that nobody has waited for does not."""
    state = subprocess.run(["ps", "-o", "stat=", "-p", str(pid)], capture_output=True, text=True).stdout.strip()
    return bool(state) and not state.startswith("Z")


def started_as(pid: int) -> str:
    """How the process was started."""
    return subprocess.run(["ps", "-o", "args=", "-p", str(pid)], capture_output=True, text=True).stdout


def _listen(process: subprocess.Popen[bytes], said: list[str]) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        said.append(line.decode())
