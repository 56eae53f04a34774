"""The gateways that are measured: for each, how it is installed, started and asked.

Versions are pinned: figures of "the newest" cannot be compared, and a new release of somebody else's package does not
run here unseen (LiteLLM 1.82.7 and 1.82.8 stole credentials). They are installed from wheels only,
into environments of their own, and run with an empty environment but for what is given here.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from msgspec import Struct, structs

import cheapfirst
from benchmarks.gateway.load import HERE

ROOT = HERE.parent.parent
MODEL = "deepseek/deepseek-v4-flash"
KEY = "benchmark"


class Place(Struct, frozen=True):
    cache: Path  # where peers are installed
    folder: Path  # empty, this peer's own
    upstream: int  # port
    port: int  # to listen on
    metrics: int  # another free port

    @property
    def base(self) -> str:
        return f"http://127.0.0.1:{self.upstream}/v1"


class Launch(Struct, frozen=True):
    """How to start a peer and how to ask it."""

    command: list[str]
    version: str
    env: dict[str, str] = {}
    path: str = "/v1/chat/completions"
    headers: dict[str, str] = {}
    models: dict[str, str] = {}  # by kind of request; MODEL where nothing stands
    kinds: tuple[str, ...] = ("json", "stream")
    note: str = ""


class Absent(Exception):
    """The peer cannot be measured here; the reason is the message."""


Peer: TypeAlias = Callable[[Place], Launch]


def ours(place: Place) -> Launch:
    policy = place.folder / "bench.toml"
    policy.write_text(POLICY)
    return Launch(
        [
            *(sys.executable, "-m", "cheapfirst", "serve", "--policy", str(policy), "--base-url", place.base),
            *("--port", str(place.port), "--ledger", str(place.folder / "ledger.db")),
        ],
        cheapfirst.__version__,
        env={"OPENROUTER_API_KEY": KEY, "PYTHONPATH": str(Path(cheapfirst.__file__).parents[1])},
        models={"json": "ticket", "text": "answer", "stream": "talk"},
        kinds=("json", "text", "stream"),
        note="checks and ledger on; json: schema and required fields, text: refusal, repetition, length",
    )


def ours_twice(place: Place) -> Launch:
    one = ours(place)
    return structs.replace(one, command=[*one.command, "--workers", "2"], note="uses every core of two")


POLICY = f"""
[tiers]
cheap = "{MODEL}"
premium = "anthropic/claude-opus-4.8"

[routes]
ticket = {{ tier = "cheap", shape = "json", checks = [{{ required = ["category", "summary"] }}] }}
answer = {{ tier = "cheap", shape = "text", checks = ["refusal", "repetition", {{ length = {{ max_words = 200 }} }}] }}
talk = {{ tier = "cheap", shape = "stream" }}
"""


def forwarder(place: Place) -> Launch:
    return Launch(
        [sys.executable, "-m", "benchmarks.gateway.forwarder", f"http://127.0.0.1:{place.upstream}", str(place.port)],
        "",
        env={"PYTHONPATH": str(ROOT)},
        note="bare uvicorn + aiohttp, nothing parsed",
    )


def nginx(place: Place) -> Launch:
    program = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if program is None:
        raise Absent("nginx is not installed (Debian: apt install nginx-light)")
    config = place.folder / "nginx.conf"
    config.write_text(
        f"""
worker_processes 1; daemon off; pid {place.folder}/nginx.pid; error_log stderr error;
events {{ worker_connections 4096; }}
http {{
  access_log off; keepalive_requests 100000000; client_max_body_size 20m; client_body_buffer_size 64k;
  client_body_temp_path {place.folder}/body; proxy_temp_path {place.folder}/proxy;
  fastcgi_temp_path {place.folder}/f; uwsgi_temp_path {place.folder}/u; scgi_temp_path {place.folder}/s;
  upstream up {{ server 127.0.0.1:{place.upstream}; keepalive 512; keepalive_requests 100000000; }}
  server {{
    listen 127.0.0.1:{place.port};
    location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off; }}
  }}
}}
"""
    )
    version = subprocess.run([program, "-v"], capture_output=True, text=True).stderr.rpartition("/")[2].strip()
    return Launch([program, "-c", str(config)], version, note="one worker, nothing parsed")


def litellm(place: Place) -> Launch:
    python = environment(place.cache, "litellm[proxy]", "1.82.6")
    config = place.folder / "litellm.yaml"
    config.write_text(
        f"""
model_list:
  - model_name: {MODEL}
    litellm_params: {{ model: "openai/{MODEL}", api_base: "{place.base}", api_key: {KEY} }}
"""
    )
    return Launch(
        [
            *(str(python.with_name("litellm")), "--config", str(config), "--host", "127.0.0.1"),
            *("--port", str(place.port), "--num_workers", "1", "--telemetry", "False"),
        ],
        "1.82.6",
        env={"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR"},
        note="one worker, no database",
    )


def portkey(place: Place) -> Launch:
    version = "1.15.2"
    # newer servers of hono fail each of its streams (Portkey-AI/gateway, issue 1389)
    folder = node(place.cache, "@portkey-ai/gateway", version, {"@hono/node-server": "1.13.7"})
    return Launch(
        ["node", str(folder / "build" / "start-server.js"), f"--port={place.port}", "--headless"],
        version,
        env={"TRUSTED_CUSTOM_HOSTS": "127.0.0.1,localhost"},
        headers={
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": place.base,
            "Authorization": f"Bearer {KEY}",
        },
    )


def smg(place: Place) -> Launch:
    python = environment(place.cache, "smg", "1.13.0")
    return Launch(
        [
            *(str(python.with_name("smg")), "launch", "--host", "127.0.0.1", "--port", str(place.port)),
            *("--worker-urls", f"http://127.0.0.1:{place.upstream}", "--backend", "openai"),
            *("--history-backend", "none", "--log-level", "error", "--prometheus-port", str(place.metrics)),
        ],
        "1.13.0",
        headers={"Authorization": f"Bearer {KEY}"},
        note="uses every core",
    )


def cascadeflow(place: Place) -> Launch:
    python = environment(place.cache, "cascadeflow", "1.2.0")
    config = place.folder / "cascadeflow.json"
    model = {"name": MODEL, "provider": "vllm", "cost": 0.001, "base_url": place.base, "api_key": KEY}
    config.write_text(json.dumps({"models": [model, {**model, "cost": 0.01}]}))
    return Launch(
        [
            *(str(python.with_name("cascadeflow-gateway")), "--port", str(place.port)),
            *("--mode", "agent", "--config", str(config)),
        ],
        "1.2.0",
        env={"OPENAI_API_KEY": KEY},
    )


OURS = "cheapfirst"
OURS_TWICE = "cheapfirst (2 workers)"

PEERS: dict[str, Peer] = {
    OURS: ours,
    OURS_TWICE: ours_twice,
    "forwarder": forwarder,
    "nginx": nginx,
    "smg": smg,
    "portkey": portkey,
    "litellm": litellm,
    "cascadeflow": cascadeflow,
}


def environment(cache: Path, requirement: str, version: str) -> Path:
    """The Python of an environment that holds that package, made if need be. Raises Absent."""
    name = requirement.partition("[")[0]
    folder = cache / f"{name}-{version}"
    python = folder / "bin" / "python"
    ready = folder / ".ready"
    if not ready.exists():
        folder.mkdir(parents=True, exist_ok=True)
        venv.create(folder, with_pip=True, clear=True)
        pinned = f"{requirement}=={version}"
        run([str(python), "-m", "pip", "install", "-q", "--only-binary", ":all:", pinned], f"pip install {pinned}")
        ready.touch()
    return python


def node(cache: Path, package: str, version: str, overrides: dict[str, str]) -> Path:
    """The folder of that npm package, installed if need be; no scripts of packages are run. Raises Absent.

    Overrides: versions of packages that it depends on.
    """
    if not shutil.which("node") or not shutil.which("npm"):
        raise Absent("node and npm are not installed (Debian: apt install nodejs npm)")
    folder = cache / f"{package.rpartition('/')[2]}-{version}"
    ready = folder / ".ready"
    if not ready.exists():
        folder.mkdir(parents=True, exist_ok=True)
        wanted = {"private": True, "dependencies": {package: version}, "overrides": overrides}
        folder.joinpath("package.json").write_text(json.dumps(wanted))
        run(["npm", "install", "--ignore-scripts", "--prefix", str(folder)], f"npm install {package}@{version}")
        ready.touch()
    return folder / "node_modules" / package


def run(command: list[str], what: str) -> None:
    print(f"{what} ...", file=sys.stderr, flush=True)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=900)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise Absent(f"{what} failed: {error}") from error
    if done.returncode:
        lines = [line for line in (done.stderr or done.stdout).splitlines() if line.strip()]
        raise Absent(f"{what} failed: {lines[-1] if lines else done.returncode}")
