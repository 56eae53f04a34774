"""PHP with its curl extension."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from served import WORDS, Served, printed, tool

pytestmark = pytest.mark.clients

SCRIPT = Path(__file__).with_name("php") / "chat.php"


def test_it_asks_whole_and_streamed_and_is_told_what_is_wrong(served: Served) -> None:
    php = tool("php", "php-cli php-curl")
    if "curl" not in subprocess.run([php, "-m"], capture_output=True, text=True).stdout.split():
        pytest.skip("PHP's curl extension is not installed: apt install php-curl")
    assert printed([php, str(SCRIPT), served.base_url, f"SAY {WORDS}"]) == {
        "status": 200,
        "text": WORDS,
        "model": "sim/small",
        "tier": "cheap",
        "streamed": WORDS,
        "done": True,
        "wrong": 404,
        "code": "model_not_found",
    }
