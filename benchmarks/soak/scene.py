"""The processes of a soak: the simulator, the gateway before it, and what can be seen of the gateway from outside."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from msgspec import Struct, field

from cheapfirst.simulator import FAULTS

FINAL = {"401", "402_empty", "403_moderation", "403_guardrail", "412_precondition", "413_too_large"}
"""Faults that end a request: rarer than the others, so that most requests go on."""

RATES = {name: 0.001 if name in FINAL else 0.005 for name in FAULTS}
"""Every fault that there is; about one call in four meets one or more."""

POLICY = """
[tiers]
cheap = ["sim/small", "sim/other"]
premium = "sim/large"

[routes]
extract = { tier = "cheap", shape = "json", reask = true }
draft = { tier = "cheap", shape = "text", on_reject = "return" }
chat = { tier = "cheap", shape = "stream", stream = "pass" }
write = { tier = "cheap", shape = "text", stream = "hold" }

[limits]
retries = 2
backoff = 0.01
deadline = 15.0
timeouts = { connect = 5.0, first_token = 1.0, silence = 1.0, total = 5.0 }

[upstream]
native_fallback = true  # the session is told to the upstream, so its books name our requests

[gateway]
keep_alive = 0.2
drain = 20.0

[models."sim/small"]
input = 0.1
output = 0.2
structured = "json_schema"

[models."sim/other"]
input = 0.2
output = 0.4

[models."sim/large"]
input = 5
output = 25
structured = "json_schema"
"""

OPTIONS = """
seed = {seed}
retry_after = 0.01
slow = 0.05
entries = {entries}

[faults]
{faults}

[[models]]
id = "sim/small"
canonical = "sim/small-20260101"
input = 0.1
output = 0.2
latency = {{ first_token = 0.002, per_token = 0.0002 }}

[[models]]
id = "sim/other"
input = 0.2
output = 0.4
cancel_stops_billing = false

[[models]]
id = "sim/large"
skill = "premium"
input = 5
output = 25
"""


class Program(Struct):
    """One process that was started, and the address it said it serves."""

    process: subprocess.Popen[str]
    url: str
    said: list[str] = field(default_factory=list)

    @property
    def port(self) -> int:
        port = urlsplit(self.url).port
        assert port is not None
        return port

    def memory(self) -> float:
        """Resident memory in MB."""
        with open(f"/proc/{self.process.pid}/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def sockets(self) -> tuple[int, int]:
        """TCP connections: those of clients, and those to the upstream."""
        held = set()
        for number in os.listdir(f"/proc/{self.process.pid}/fd"):
            try:
                held.add(os.readlink(f"/proc/{self.process.pid}/fd/{number}"))
            except OSError:
                continue
        below = above = 0
        for name in ("tcp", "tcp6"):
            with open(f"/proc/{self.process.pid}/net/{name}") as file:
                for line in file.readlines()[1:]:
                    fields = line.split()
                    if f"socket:[{fields[9]}]" not in held or fields[3] == "0A":  # 0A: listens
                        continue
                    if int(fields[1].rpartition(":")[2], 16) == self.port:
                        below += 1
                    else:
                        above += 1
        return below, above

    def stop(self) -> int:
        """Ask it to end, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(90)


def page(url: str, *, post: bool = False) -> Any:
    """A JSON page."""
    request = urllib.request.Request(url, method="POST" if post else "GET")
    with urllib.request.urlopen(request, timeout=120) as response:
        return json.load(response)


@contextmanager
def program(*arguments: str, said: list[str], folder: Path) -> Iterator[Program]:
    """Run a cheapfirst command that says its address on stderr."""
    process = subprocess.Popen(
        [sys.executable, "-m", "cheapfirst", *arguments],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        env={**os.environ, "CHEAPFIRST_STORE": str(folder / "access.db")},
    )
    assert process.stderr is not None
    try:
        for line in process.stderr:
            said.append(line.rstrip())
            found = re.search(r" on (http://\S+)", line)
            if found is not None:
                break
        else:
            raise RuntimeError(f"cheapfirst {arguments[0]} did not start: {' '.join(said)}")
        listening = threading.Thread(target=_listen, args=(process.stderr, said), daemon=True)
        listening.start()
        yield Program(process, found[1], said)
    finally:
        process.kill()
        process.wait()


def _listen(stream: IO[str], said: list[str]) -> None:
    for line in stream:
        if len(said) < 10_000:
            said.append(line.rstrip())


@contextmanager
def scene(folder: Path, *, seed: int, requests: int) -> Iterator[tuple[Program, Program]]:
    """The simulator and the gateway; the policy and the ledger (`ledger.db`) are in the folder."""
    faults = "\n".join(f'"{name}" = {rate}' for name, rate in RATES.items())
    (folder / "simulator.toml").write_text(OPTIONS.format(seed=seed, entries=10 * requests, faults=faults))
    (folder / "cheapfirst.toml").write_text(POLICY)
    simulating = program("simulator", "--port", "0", "--options", "simulator.toml", said=[], folder=folder)
    with simulating as simulator:
        serving = program(
            *("serve", "--port", "0", "--policy", "cheapfirst.toml", "--ledger", "ledger.db"),
            *("--base-url", simulator.url),
            said=[],
            folder=folder,
        )
        with serving as gateway:
            yield simulator, gateway
