"""The two ends around a gateway: the upstream (a small C program) and the load (`wrk` with a Lua script)."""

from __future__ import annotations

import contextlib
import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from msgspec import Struct

HERE = Path(__file__).parent
MARK = "FIGURES "


class Round(Struct, frozen=True):
    """What one round of load found."""

    requests: int
    seconds: float
    p50_ms: float
    p99_ms: float
    mean_ms: float
    errors: int  # connections refused or cut, answers that are not 2xx or 3xx, timeouts
    complete: int  # streams that ended with [DONE]; 0 for whole answers
    broken: int  # streams that ended otherwise

    @property
    def rate(self) -> float:
        """Good answers per second."""
        streams = self.complete + self.broken > 0
        return (self.complete if streams else self.requests - self.errors) / self.seconds


class Missing(Exception):
    """A tool that the benchmark cannot do without is not here."""


def require(tool: str, package: str) -> str:
    found = shutil.which(tool)
    if found is None:
        raise Missing(f"`{tool}` is needed and not on the PATH. On Debian and Ubuntu: apt install {package}")
    return found


@contextlib.contextmanager
def upstream(folder: Path, events_per_write: int) -> Iterator[tuple[int, int]]:
    """Compile and start the upstream; yields its port and process id. Raises Missing."""
    program = folder / "upstream"
    compiler = require("cc", "gcc libc6-dev")
    subprocess.run([compiler, "-O2", "-o", str(program), str(HERE / "upstream.c")], check=True)
    with subprocess.Popen([str(program), "0", str(events_per_write)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            yield int(process.stdout.readline()), process.pid
        finally:
            process.kill()


def post(
    url: str, body: Path, headers: dict[str, str], *, connections: int, seconds: float, stream: bool = False
) -> Round:
    """Post that body over and over on so many connections. Raises Missing, and RuntimeError when wrk fails."""
    command = [require("wrk", "wrk"), "-t1", f"-c{connections}", f"-d{max(1, round(seconds))}s", "--timeout", "30s"]
    command += ["-s", str(HERE / "wrk.lua"), url, "--", str(body), "stream" if stream else "whole"]
    command += [f"{name}: {value}" for name, value in headers.items()]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"wrk failed: {(done.stderr or done.stdout).strip()}")
    return parse(done.stdout)


def parse(text: str) -> Round:
    """The figures in what wrk printed. Raises ValueError when there are none."""
    for line in text.splitlines():
        if line.startswith(MARK):
            return Round(**json.loads(line.removeprefix(MARK).replace("-nan", "0").replace("nan", "0")))
    raise ValueError(f"wrk printed no figures: {text[-200:]!r}")


SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "category": {"type": "string", "enum": ["billing", "shipping", "technical", "other"]},
        "urgent": {"type": "boolean"},
        "order": {"type": ["string", "null"]},
        "summary": {"type": "string"},
    },
    "required": ["category", "urgent", "order", "summary"],
    "additionalProperties": False,
}
MAIL = (
    "Hello, I ordered a desk lamp from your shop last week (order A-10442). It came on time and works well, thank you. "
    "But today I saw on my bank statement that the amount was taken twice: once on Monday and once more on Tuesday. "
    "Please send the second charge back to my card as soon as you can; my rent goes out on Friday and I need the "
    "money by then. You can reach me by mail or phone all day. Best regards, Marta Lindqvist"
)


def body(model: str, kind: str) -> dict[str, Any]:
    """The request that every gateway gets: only the model's name differs. Kinds: json, text, stream."""
    asked: dict[str, Any] = {
        "model": model,
        "messages": [
            {"role": "system", "content": "Sort the customer's mail. Answer only with what is asked."},
            {"role": "user", "content": MAIL},
        ],
        "max_tokens": 400,
    }
    if kind == "json":
        asked["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "ticket", "strict": True, "schema": SCHEMA},
        }
    if kind == "stream":
        asked |= {"stream": True, "stream_options": {"include_usage": True}}
    return asked
