"""Writes tests/exports/openai_*.jsonl: lines in OpenAI's forms, written after its API reference (no tool makes them).

python -m scripts.foreign_logs.make_openai
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from scripts.foreign_logs.upstream import CALLS, body

FOLDER = Path(__file__).parents[2] / "tests" / "exports"
REFUSED = {"error": {"message": "Rate limit reached", "type": "requests", "code": "rate_limit_exceeded"}}


def pairs() -> Iterable[dict[str, Any]]:
    """Requests with their responses, as applications log them."""
    for number, call in enumerate(CALLS, 1):
        labels = {"task": call.task, "feature": call.feature, "tenant": call.team}
        request = {
            "model": call.model,
            "max_tokens": 4000,
            "messages": [{"role": "user", "content": "made up"}],
            "metadata": {name: value for name, value in labels.items() if value},
        }
        pair = {"timestamp": f"2026-09-28T{number:02d}:00:00Z", "duration_ms": 100 * number, "request": request}
        refused = {"response": {"status_code": call.status, "body": REFUSED}}
        yield {**pair, **({"response": body(call, number)} if call.status == 200 else refused)}


def answers() -> Iterable[dict[str, Any]]:
    """Bare answers: chat completions, and one of the Responses API."""
    for number, call in enumerate(CALLS, 101):
        if call.status == 200:
            yield {**body(call, number), "created": 1791000000 + number}
    usage = {
        "input_tokens": 900,
        "input_tokens_details": {"cached_tokens": 256},
        "output_tokens": 75,
        "output_tokens_details": {"reasoning_tokens": 32},
        "total_tokens": 975,
    }
    head = {"id": "resp_made_up_1", "object": "response", "created_at": 1791000200, "status": "completed"}
    yield {**head, "model": "gpt-4.1-mini", "output": [], "usage": usage, "metadata": {"task": "extract"}}


def batch() -> Iterable[dict[str, Any]]:
    """The output of a batch."""
    for number, call in enumerate(CALLS, 201):
        head = {"id": f"batch_req_made_up_{number}", "custom_id": f"request-{number}"}
        if call.status == 200:
            response = {"status_code": 200, "request_id": f"made-up-{number}", "body": body(call, number)}
        else:
            response = {"status_code": call.status, "request_id": f"made-up-{number}", "body": REFUSED}
        yield {**head, "response": response, "error": None}


def main() -> None:
    """Write the three files."""
    FOLDER.mkdir(exist_ok=True)
    for name, lines in (("pairs", pairs()), ("answers", answers()), ("batch", batch())):
        (FOLDER / f"openai_{name}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


if __name__ == "__main__":
    main()
