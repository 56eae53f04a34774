"""Plain curl, as in a shell script."""

from __future__ import annotations

import json
import subprocess

import pytest

from served import HALF, PLACE, WORDS, Served, tool

pytestmark = pytest.mark.clients

SCHEMA = {"type": "object", "properties": {"orders": {"type": "array"}}, "required": ["orders"]}


def curl(served: Served, body: object, *options: str, path: str = "/chat/completions") -> str:
    done = subprocess.run(
        [
            *(tool("curl", "curl"), "-sS", "--max-time", "20", f"{served.base_url}{path}"),
            *("-H", "Content-Type: application/json", "-d", json.dumps(body), *options),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout


def asking(task: str, words: str, **more: object) -> dict[str, object]:
    return {"model": task, "messages": [{"role": "user", "content": words}], **more}


def test_a_whole_answer_with_its_headers(served: Served) -> None:
    said = curl(served, asking("write", f"SAY {WORDS}"), "-D", "-", "-H", "x-cheapfirst-feature: inbox")
    head, _, body = said.replace("\r\n", "\n").partition("\n\n")
    assert json.loads(body)["choices"][0]["message"]["content"] == WORDS
    assert "x-cheapfirst-model: sim/small" in head.lower()
    assert served.last()["feature"] == "inbox"


def test_a_stream_line_by_line(served: Served) -> None:
    said = curl(served, asking("talk", f"SAY {WORDS}", stream=True), "-N")
    data = [line.removeprefix("data: ") for line in said.splitlines() if line.startswith("data: ")]
    assert data[-1] == "[DONE]"
    chunks = [json.loads(one) for one in data[:-1]]
    assert "".join(choice["delta"].get("content") or "" for one in chunks for choice in one["choices"]) == WORDS


def test_a_schema_and_an_escalation(served: Served) -> None:
    form = {"type": "json_schema", "json_schema": {"name": "place", "schema": SCHEMA}}
    said = json.loads(curl(served, asking("extract", f"SAY {HALF} | {PLACE}", response_format=form)))
    assert json.loads(said["choices"][0]["message"]["content"])["orders"] == [4711, 4712]
    assert said["cheapfirst"]["escalated"] is True


def test_an_error_says_what_to_do(served: Served) -> None:
    said = json.loads(curl(served, asking("wrote", "Hi"), "-w", "%{stderr}%{http_code}"))
    assert said["error"]["code"] == "model_not_found"
    assert "write" in said["error"]["message"]


def test_compressed_bodies_of_every_protocol(served: Served) -> None:
    said = json.loads(curl(served, {"model": "write", "input": f"SAY {WORDS}"}, "--compressed", path="/responses"))
    assert said["output"][-1]["content"][0]["text"] == WORDS
    body = {**asking("write", f"SAY {WORDS}"), "max_tokens": 100}
    said = json.loads(curl(served, body, "-H", "anthropic-version: 2023-06-01", path="/messages"))
    assert said["content"][0]["text"] == WORDS
