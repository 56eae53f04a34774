"""Writes tests/exports/langfuse*: observations as Langfuse's own SDK sends them and its exports shape them.

    python -m venv /tmp/langfuse && /tmp/langfuse/bin/pip install langfuse==5.0.4 openai
    /tmp/langfuse/bin/python -m scripts.foreign_logs.make_langfuse

The SDK's wrapper of the OpenAI client makes the calls and sends its spans to a loopback server, which keeps them. What
Langfuse's server does with them before an export needs ClickHouse, so it is done here, as its documentation says: an
OpenAI-style usage is split into kinds that add up (`input`, `input_cached_tokens`, ...), and the cost is computed from
a price list (`PRICES`) where the model is in it. The forms are those of the observations API (camel case, JSON), of
the blob storage export (snake case, JSON Lines) and of a table exported as CSV.
"""

from __future__ import annotations

import csv
import gzip
import json
import threading
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from langfuse import Langfuse, propagate_attributes
from langfuse.openai import OpenAI
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from scripts.foreign_logs.upstream import CALLS, Call, serving

FOLDER = Path(__file__).parents[2] / "tests" / "exports"
BEGIN = datetime(2026, 9, 21, 8, 0, tzinfo=UTC)
PRICES = {  # USD per million tokens: input, cached input, output
    "gpt-4o-mini": ("0.15", "0.075", "0.6"),
    "gpt-4o": ("2.5", "1.25", "10"),
    "o4-mini": ("1.1", "0.275", "4.4"),
    "gpt-4.1-mini": ("0.4", "0.1", "1.6"),
}
"""gpt-4.1-nano and the internal model are left out, so that there are calls without a cost."""


class Keep(BaseHTTPRequestHandler):
    """Takes spans as Langfuse's OpenTelemetry endpoint does."""

    protocol_version = "HTTP/1.1"
    spans: list[Any]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        sent = ExportTraceServiceRequest.FromString(body)
        for resource in sent.resource_spans:
            for scope in resource.scope_spans:
                self.spans.extend(scope.spans)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def ask(client: OpenAI, langfuse: Langfuse, call: Call, number: int) -> None:
    """Make the call inside a trace, as an application would."""
    labels = {"task": call.task, "tenant": call.team}
    metadata = {name: value for name, value in labels.items() if value}
    with (
        langfuse.start_as_current_observation(name="handle", as_type="span"),
        propagate_attributes(trace_name=call.feature or "none", session_id=f"session-{number}", metadata=metadata),
    ):
        try:
            options = {"stream_options": {"include_usage": True}} if call.stream else {}
            answer = client.chat.completions.create(
                model=call.model,
                messages=[{"role": "user", "content": "made up"}],
                max_tokens=4000,
                stream=call.stream,
                **options,
            )
            if call.stream:
                list(answer)
        except Exception:  # noqa: BLE001 - what the upstream refused: the span says so
            return


def attributes(span: Any) -> dict[str, Any]:
    """A span's attributes as plain values."""
    return {one.key: getattr(one.value, one.value.WhichOneof("value") or "string_value") for one in span.attributes}


def observation(span: Any, number: int) -> dict[str, Any]:
    """The span as the observations API shows it."""
    said = attributes(span)
    prefix = "langfuse.observation."
    generation = said.get(f"{prefix}type") == "generation"
    begin = BEGIN + timedelta(hours=5 * number, milliseconds=250)
    end = begin + timedelta(milliseconds=300 + 70 * number)
    streamed = f"{prefix}completion_start_time" in said
    model = said.get(f"{prefix}model.name") if generation else None
    usage = _usage(json.loads(said.get(f"{prefix}usage_details", "{}")))
    cost = _cost(model, usage)
    metadata = {  # the server decodes what the SDK encodes
        name.rpartition(".")[2]: json.loads(value)
        for name, value in said.items()
        if name.startswith("langfuse.trace.metadata.")
    }
    return {
        "id": f"{number:016x}",
        "traceId": f"{number // 2:032x}",
        "startTime": _time(begin),
        "endTime": _time(end),
        "projectId": "made-up",
        "parentObservationId": None if number % 2 == 0 else f"{number - 1:016x}",
        "type": "GENERATION" if generation else "SPAN",
        "name": span.name,
        "level": said.get(f"{prefix}level", "DEFAULT"),
        "statusMessage": said.get(f"{prefix}status_message"),
        "environment": "default",
        "traceName": said.get("langfuse.trace.name"),
        "sessionId": said.get("session.id"),
        "userId": None,
        "completionStartTime": _time(begin + timedelta(milliseconds=120)) if streamed else None,
        "metadata": metadata,
        "model": model,
        "modelParameters": json.loads(said.get(f"{prefix}model.parameters", "{}")) if generation else None,
        "usageDetails": usage,
        "costDetails": {name: float(amount) for name, amount in cost.items()},
        "totalCost": float(cost["total"]) if cost else None,
        "latency": (300 + 70 * number) / 1000,
        "timeToFirstToken": 0.12 if streamed else None,
    }


def _usage(said: dict[str, Any]) -> dict[str, int]:
    """OpenAI's counts as Langfuse's server keeps them: kinds that add up, and their total."""
    if not said:
        return {}
    kept = {"input": said["prompt_tokens"], "output": said["completion_tokens"]}
    for name, details in (("input", "prompt_tokens_details"), ("output", "completion_tokens_details")):
        for kind, many in (said.get(details) or {}).items():
            kept[f"{name}_{kind}"] = many
            kept[name] = max(kept[name] - many, 0)
    return {**kept, "total": said["total_tokens"]}


def _cost(model: str | None, usage: dict[str, int]) -> dict[str, Decimal]:
    if model not in PRICES or not usage:
        return {}
    fresh, cached, output = (Decimal(price) / 10**6 for price in PRICES[model])
    cost = {
        "input": usage["input"] * fresh,
        "input_cached_tokens": usage["input_cached_tokens"] * cached,
        "output": (usage["output"] + usage["output_reasoning_tokens"]) * output,
    }
    return {**cost, "total": sum(cost.values(), Decimal(0))}


def _time(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


SNAKE = {"traceId": "trace_id", "projectId": "project_id", "model": "provided_model_name"}


def blob(made: dict[str, Any]) -> dict[str, Any]:
    """The observation as a line of the blob storage export."""
    row = {
        SNAKE.get(name) or "".join("_" + c.lower() if c.isupper() else c for c in name): value
        for name, value in made.items()
    }
    for name in ("start_time", "end_time", "completion_start_time"):
        if row[name]:
            row[name] = row[name].replace("T", " ").replace("Z", "000")
    row["model_parameters"] = json.dumps(row["model_parameters"]) if row["model_parameters"] else ""
    row["provided_model_name"] = row["provided_model_name"] or ""
    row["total_cost"] = row["total_cost"] or 0
    return row


def main() -> None:
    """Make the calls and write the three files."""
    handler = type("Handler", (Keep,), {"spans": []})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    langfuse = Langfuse(public_key="pk", secret_key="none", base_url=f"http://127.0.0.1:{server.server_address[1]}")
    with serving() as base_url:
        client = OpenAI(base_url=base_url, api_key="none", max_retries=0)
        for number, call in enumerate(CALLS):
            ask(client, langfuse, call, number)
        langfuse.flush()
    server.shutdown()
    spans = sorted(handler.spans, key=lambda span: span.start_time_unix_nano)
    made = [observation(span, number) for number, span in enumerate(spans)]
    FOLDER.mkdir(exist_ok=True)
    pages = {"data": made, "meta": {"page": 1, "limit": 100, "totalItems": len(made), "totalPages": 1}}
    (FOLDER / "langfuse.json").write_text(json.dumps(pages, indent=1) + "\n")
    (FOLDER / "langfuse_blob.jsonl").write_text("".join(json.dumps(blob(one)) + "\n" for one in made))
    with (FOLDER / "langfuse.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(made[0])
        for one in made:
            writer.writerow(json.dumps(v) if isinstance(v, dict) else "" if v is None else v for v in one.values())


if __name__ == "__main__":
    main()
