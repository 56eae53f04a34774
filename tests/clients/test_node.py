"""Clients for Node: the openai package and the Vercel AI SDK."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from served import HALF, PLACE, WORDS, Served, printed, tool

pytestmark = pytest.mark.clients

FOLDER = Path(__file__).with_name("node")


def run(served: Served, script: str) -> Any:
    node = tool("node", "nodejs npm")
    if not (FOLDER / "node_modules" / "ai").is_dir():
        pytest.skip("the packages are not installed: npm ci in tests/clients/node")
    return printed([node, str(FOLDER / script), served.base_url, WORDS, PLACE, HALF])


def test_the_openai_package(served: Served) -> None:
    before = served.count()
    seen = run(served, "openai.mjs")
    assert seen.pop("request").startswith("req_")
    assert seen.pop("tokens") > 0
    assert seen == {
        "text": WORDS,
        "model": "sim/small",
        "tier": "cheap",
        "streamed": WORDS,
        "parsed": json.loads(PLACE),
        "parsedBy": "sim/large",
        "called": "look_up",
        "order": "number",
        "told": "At sea.",
        "response": WORDS,
        "wrong": [True, 404, "model_not_found"],
    }
    assert served.count() == before + 6


def test_the_vercel_ai_sdk(served: Served) -> None:
    before = served.count()
    seen = run(served, "vercel.mjs")
    assert seen.pop("tokens") > 0
    assert seen == {
        "text": WORDS,
        "model": "sim/small",
        "tier": "cheap",
        "streamed": WORDS,
        "parsed": json.loads(PLACE),
        "parsedBy": "sim/large",
        "orders": ["number"],
        "told": "At sea.",
        "wrong": [True, 404],
    }
    assert served.count() == before + 5
