"""Starts the gateways, proves that each answers rightly, and runs the rounds: each gateway in turn, again and again."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

from msgspec import Struct

from benchmarks.gateway import load, peers, process

PATIENCE = 90.0
"""Seconds until a gateway that does not answer is given up."""


class Target(Struct, frozen=True):
    """A gateway that runs."""

    name: str
    url: str
    headers: dict[str, str]
    bodies: dict[str, Path]  # by kind of request
    pid: int
    launch: peers.Launch | None = None
    start_up: float = 0.0  # seconds from its start to the first good answer
    idle_mb: float = 0.0


class Row(Struct, frozen=True):
    """One round of one gateway."""

    name: str
    kind: str
    connections: int
    turn: int
    rate: float  # good answers, or complete streams, per second
    p50_ms: float
    p99_ms: float
    cpu_us: float  # CPU time of the gateway's processes per request
    upstream_cores: float  # how much of a core the upstream used
    bad: int  # failed requests and broken streams


class Memory(Struct, frozen=True):
    name: str
    idle_mb: float
    after_mb: float
    requests: int
    start_up: float
    after_pss_mb: float = 0.0  # 0: the system does not tell


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def ask(target_url: str, headers: dict[str, str], body: bytes, timeout: float = 30.0) -> tuple[int, str]:
    where = urlsplit(target_url)
    connection = http.client.HTTPConnection(where.hostname or "", where.port, timeout=timeout)
    try:
        connection.request("POST", where.path, body, {"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    finally:
        connection.close()


def fault(kind: str, status: int, text: str) -> str | None:
    """What is wrong with an answer of the upstream that went through a gateway, or None."""
    if status != 200:
        return f"answered {status}: {' '.join(text.split())[:200]}"
    try:
        if kind == "stream":
            return _stream_fault(text)
        content = json.loads(json.loads(text)["choices"][0]["message"]["content"])
        return None if content["order"] == "A-10442" else f"its answer's content was changed: {content}"
    except (ValueError, LookupError, TypeError, AttributeError):
        return f"its answer holds no JSON content: {text[:200]!r}"


def _stream_fault(text: str) -> str | None:
    events = [line.removeprefix("data:").strip() for line in text.splitlines() if line.startswith("data:")]
    said = 0
    for event in events:
        if event != "[DONE]":
            choices = json.loads(event).get("choices") or [{}]
            said += len(((choices[0].get("delta") or {}).get("content") or "").split())
    if said == 50 and events[-1] == "[DONE]":
        return None
    return f"its stream has {said} words of 50 and ends with {events[-1][:60] if events else 'nothing'}"


@contextlib.contextmanager
def started(name: str, folder: Path, cache: Path, upstream: int) -> Iterator[Target]:
    """Install, start and prove one gateway. Raises peers.Absent."""
    folder.mkdir()
    place = peers.Place(cache, folder, upstream, free_port(), free_port())
    launch = peers.PEERS[name](place)
    url = f"http://127.0.0.1:{place.port}{launch.path}"
    bodies = {kind: write(folder, kind, launch.models.get(kind, peers.MODEL)) for kind in launch.kinds}
    log = folder / "log"
    began = time.perf_counter()
    with process.running(launch.command, launch.env, log) as running:
        problem: str | None = "never answered"
        while time.perf_counter() - began < PATIENCE and problem:
            if running.poll() is not None:
                raise peers.Absent(f"ended at once with {running.returncode}: {last(log)}")
            try:
                problem = fault("json", *ask(url, launch.headers, bodies["json"].read_bytes(), 5.0))
            except (OSError, http.client.HTTPException) as error:
                problem = f"never answered ({error})"
            took = time.perf_counter() - began
            time.sleep(0.01 if problem else 0)
        if problem:
            raise peers.Absent(f"{problem}; its log ends: {last(log)}")
        for kind, body in list(bodies.items()):
            if problem := fault(kind, *ask(url, launch.headers, body.read_bytes())):
                print(f"{name}: {kind} is left out: {problem}", file=sys.stderr)
                del bodies[kind]
        time.sleep(0.5)
        yield Target(name, url, launch.headers, bodies, running.pid, launch, took, process.memory(running.pid))


def bare(folder: Path, port: int, pid: int) -> Target:
    """The upstream itself, without a gateway."""
    folder.mkdir()
    bodies = {kind: write(folder, kind, peers.MODEL) for kind in ("json", "stream")}
    return Target("upstream", f"http://127.0.0.1:{port}/v1/chat/completions", {}, bodies, pid)


def write(folder: Path, kind: str, model: str) -> Path:
    path = folder / f"{kind}.json"
    path.write_text(json.dumps(load.body(model, kind)))
    return path


def last(log: Path) -> str:
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return lines[-1][:300] if lines else "(nothing)"


def one_round(target: Target, kind: str, connections: int, turn: int, seconds: float, upstream_pid: int) -> Row:
    before, upstream_before = process.cpu(target.pid), process.cpu(upstream_pid)
    found = load.post(
        target.url,
        target.bodies[kind],
        target.headers,
        connections=connections,
        seconds=seconds,
        stream=kind == "stream",
    )
    used, upstream_used = process.cpu(target.pid) - before, process.cpu(upstream_pid) - upstream_before
    return Row(
        target.name,
        kind,
        connections,
        turn,
        found.rate,
        found.p50_ms,
        found.p99_ms,
        used / max(1, found.requests) * 1e6,
        upstream_used / found.seconds,
        found.errors + found.broken,
    )


def fill(target: Target, requests: int, patience: float) -> Memory:
    """Make so many requests, or as many as there is patience (seconds) for, and look at the memory."""
    assert target.launch is not None
    made = 0
    began = time.perf_counter()
    rate = 0.0
    while made < requests and (left := patience - (time.perf_counter() - began)) >= 1:
        seconds = min((requests - made) / rate if rate else 1.0, left)
        found = load.post(target.url, target.bodies["json"], target.headers, connections=16, seconds=seconds)
        made += found.requests
        rate = max(1.0, found.requests / found.seconds)
    time.sleep(0.5)
    after, shared = process.memory(target.pid), process.proportional(target.pid)
    return Memory(target.name, target.idle_mb, after, made, target.start_up, shared)
