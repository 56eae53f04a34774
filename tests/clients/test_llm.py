"""Simon Willison's command line tool `llm`, told of the gateway in its own settings."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from served import PATIENCE, PLACE, WORDS, Served

pytestmark = pytest.mark.clients
pytest.importorskip("llm", reason="run by `make test-clients`")


@pytest.fixture
def environment(served: Served, tmp_path: Path) -> dict[str, str]:
    (tmp_path / "extra-openai-models.yaml").write_text(
        "".join(
            f"- model_id: cheapfirst-{task}\n  model_name: {task}\n  api_base: {served.base_url}\n"
            "  api_key_name: cheapfirst\n  supports_schema: true\n"
            for task in ("write", "talk", "extract")
        )
    )
    (tmp_path / "keys.json").write_text('{"cheapfirst": "none"}')
    return {**os.environ, "LLM_USER_PATH": os.fspath(tmp_path)}


def ask(environment: dict[str, str], *given: str) -> str:
    done = subprocess.run(
        [sys.executable, "-m", "llm", *given], env=environment, capture_output=True, text=True, timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_it_streams_by_default(served: Served, environment: dict[str, str]) -> None:
    assert ask(environment, "-m", "cheapfirst-talk", f"SAY {WORDS}") == WORDS
    assert served.last()["task"] == "talk"
    assert served.last()["first_token"] is not None


def test_it_asks_without_a_stream(served: Served, environment: dict[str, str]) -> None:
    assert ask(environment, "--no-stream", "-m", "cheapfirst-write", "-s", "Be brief.", f"SAY {WORDS}") == WORDS
    assert served.last()["first_token"] is None


def test_it_asks_by_a_schema(served: Served, environment: dict[str, str]) -> None:
    said = ask(environment, "-m", "cheapfirst-extract", "--schema", "city, n int", f'SAY {PLACE[:-1]}, "n": 2}}')
    assert '"city": "Köln"' in said
    assert served.last()["ending"] == "accepted"
