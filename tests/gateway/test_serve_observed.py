"""`cheapfirst serve --log json --otel` as its own process: lines on standard error, spans at a collector."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openai
from observed import CANARY, POLICY, SECRET, say

from cheapfirst.simulator import Options, SimModel
from cheapfirst.simulator import serve_in_thread as simulate


@contextmanager
def collector() -> Iterator[tuple[str, dict[str, bytes]]]:
    """What OpenTelemetry sends: the bytes by path."""
    got: dict[str, bytes] = {}

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got[self.path] = got.get(self.path, b"") + self.rfile.read(int(self.headers["Content-Length"]))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Collector)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", got
    finally:
        server.shutdown()
        server.server_close()


def test_a_served_request_is_a_line_and_its_spans_and_metrics_reach_the_collector(tmp_path: Path) -> None:
    (tmp_path / "cheapfirst.toml").write_text(POLICY, "utf-8")
    models = (SimModel(id="sim/small"), SimModel(id="sim/large", skill="premium"))
    said: list[str] = []
    with simulate(Options(models=models), answerer=say) as simulator, collector() as (endpoint, got):
        command = [sys.executable, "-m", "cheapfirst", "serve", "--port", "0", "--log", "json", "--otel"]
        command += ["--policy", "cheapfirst.toml", "--base-url", simulator.base_url, "--ledger", "ledger.db"]
        variables = {"OPENROUTER_API_KEY": SECRET, "OTEL_EXPORTER_OTLP_ENDPOINT": endpoint}
        with subprocess.Popen(
            command, cwd=tmp_path, env=os.environ | variables, stderr=subprocess.PIPE, text=True
        ) as served:
            assert served.stderr is not None
            base_url = None
            while base_url is None and (line := served.stderr.readline()):
                said.append(line)
                match = re.search(r"gateway on (http://\S+)", line)
                base_url = match[1] if match is not None else None
            answer = openai.OpenAI(base_url=base_url, api_key="none", max_retries=0).chat.completions.create(
                model="write", messages=[{"role": "user", "content": CANARY}]
            )
            served.send_signal(signal.SIGTERM)
            said += served.stderr
    (told,) = [json.loads(line) for line in said if '"event":"request"' in line]
    assert told["model"] == answer.model
    spans = got["/v1/traces"]
    assert bytes.fromhex(told["trace_id"]) in spans
    assert b"chat sim/small" in spans
    assert b"gen_ai.client.token.usage" in got["/v1/metrics"]
    for sent in (*got.values(), "".join(said).encode()):
        assert CANARY.encode() not in sent
        assert SECRET.encode() not in sent
