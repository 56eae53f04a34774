"""OpenTelemetry's real SDK gets the spans and metrics of a real gateway; the upstream gets the trace context."""

from __future__ import annotations

import builtins
import json
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import openai
import pytest
from observed import CANARY, SCHEMA, SECRET, ask, gateway, stream
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.semconv._incubating.attributes import gen_ai_attributes
from opentelemetry.trace import SpanKind, StatusCode

from cheapfirst.errors import MissingExtra
from cheapfirst.gateway import tracing
from cheapfirst.gateway.telemetry import context_of
from cheapfirst.gateway.tracing import Tracing

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
BASE = "https://openrouter.ai/api/v1"


class Observed:
    """A tracing whose spans and metrics stay here."""

    def __init__(self, *exporters: SpanExporter, **options: Any) -> None:
        self.spans_kept = InMemorySpanExporter()
        self.reader = InMemoryMetricReader()
        tracers = TracerProvider(**options)
        for exporter in (self.spans_kept, *exporters):
            tracers.add_span_processor(SimpleSpanProcessor(exporter))
        self.tracing = Tracing(BASE, tracers=tracers, meters=MeterProvider([self.reader]))

    def spans(self) -> Sequence[ReadableSpan]:
        return self.spans_kept.get_finished_spans()

    def server(self) -> ReadableSpan:
        (found,) = [span for span in self.spans() if span.kind is SpanKind.SERVER]
        return found

    def calls(self) -> list[ReadableSpan]:
        return [span for span in self.spans() if span.kind is SpanKind.CLIENT]

    def points(self, name: str) -> list[Any]:
        told: Any = self.reader.get_metrics_data()
        return [
            point
            for resource in told.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]


def attributes(span: ReadableSpan) -> dict[str, Any]:
    return dict(span.attributes or {})


@contextmanager
def listening() -> Iterator[tuple[str, list[dict[str, str]]]]:
    """An upstream that keeps the headers it gets."""
    got: list[dict[str, str]] = []
    message = {"role": "assistant", "content": "Hello to everybody in the house."}

    class Upstream(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            got.append({name.lower(): value for name, value in self.headers.items()})
            body = json.dumps(
                {
                    "id": "gen-1",
                    "object": "chat.completion",
                    "model": asked.get("model"),
                    "choices": [{"index": 0, "message": message, "finish_reason": "stop"}],
                    "usage": {"prompt_tokens": 5, "completion_tokens": 6, "total_tokens": 11},
                }
            ).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Upstream)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1", got
    finally:
        server.shutdown()
        server.server_close()


def test_an_escalated_request_is_a_span_with_one_of_each_call_below_it(tmp_path: Path) -> None:
    observed = Observed()
    with gateway(tmp_path, tracing=observed.tracing) as handle:
        answer = ask(handle, "extract", response_format=SCHEMA)
    server, calls = observed.server(), observed.calls()
    told = attributes(server)
    assert server.name == "chat extract"
    assert told["gen_ai.operation.name"] == "chat"
    assert told["gen_ai.response.model"] == answer.model == "sim/large"
    assert told["gen_ai.usage.input_tokens"] == answer.usage.prompt_tokens
    assert told["cheapfirst.escalated"] is True
    assert told["cheapfirst.tier"] == "premium"
    assert told["cheapfirst.cost_usd"] == pytest.approx(float(answer.cheapfirst["cost"]))
    assert [span.name for span in calls] == ["chat sim/small", "chat sim/large"]
    assert [attributes(span)["cheapfirst.accepted"] for span in calls] == [False, True]
    assert attributes(calls[0])["cheapfirst.reasons"] == ("schema.type",)
    for span in calls:
        assert span.parent is not None
        assert span.parent.span_id == server.context.span_id
        assert attributes(span)["gen_ai.provider.name"] == "openrouter"
        assert attributes(span)["server.address"] == "openrouter.ai"
        assert attributes(span)["gen_ai.response.finish_reasons"] == ("stop",)
        assert server.start_time <= span.start_time <= span.end_time <= server.end_time  # type: ignore[operator]
    assert server.status.status_code is not StatusCode.ERROR


def test_a_fault_marks_its_call_and_not_the_request_that_was_saved(tmp_path: Path) -> None:
    observed = Observed()
    with gateway(tmp_path, faults={"529_overloaded": 1.0}, tracing=observed.tracing) as handle:
        ask(handle)
    failed, *_, last = observed.calls()
    assert attributes(failed)["error.type"] == "overloaded"
    assert failed.status.status_code is StatusCode.ERROR
    assert "error.type" not in attributes(last)
    assert observed.server().status.status_code is not StatusCode.ERROR


def test_streams_have_spans_too(tmp_path: Path) -> None:
    observed = Observed()
    with gateway(tmp_path, tracing=observed.tracing) as handle:
        stream(handle)
    (call,) = observed.calls()
    assert attributes(call)["gen_ai.response.time_to_first_chunk"] > 0


def test_metrics_count_tokens_and_durations_of_each_call(tmp_path: Path) -> None:
    observed = Observed()
    with gateway(tmp_path, tracing=observed.tracing) as handle:
        answer = ask(handle)
    tokens = {
        point.attributes["gen_ai.token.type"]: point.sum for point in observed.points("gen_ai.client.token.usage")
    }
    assert tokens == {"input": answer.usage.prompt_tokens, "output": answer.usage.completion_tokens}
    (duration,) = observed.points("gen_ai.client.operation.duration")
    assert duration.count == 1
    assert duration.attributes["gen_ai.response.model"] == "sim/small"


def test_spans_hold_no_text_and_no_key(tmp_path: Path) -> None:
    observed = Observed()
    with gateway(tmp_path, faults={"529_overloaded": 0.5}, tracing=observed.tracing) as handle:
        ask(handle, "extract", response_format=SCHEMA)
        stream(handle)
    told = "".join(span.to_json() for span in observed.spans())
    assert "cheapfirst.task" in told
    assert CANARY not in told
    assert SECRET not in told


def test_attributes_have_the_conventions_names(tmp_path: Path) -> None:
    known = {value for name, value in vars(gen_ai_attributes).items() if name.startswith("GEN_AI_")}
    observed = Observed()
    with gateway(tmp_path, tracing=observed.tracing) as handle:
        ask(handle)
    named = {name for span in observed.spans() for name in attributes(span) if name.startswith("gen_ai.")}
    assert named <= known


def test_the_trace_context_that_came_goes_on_to_the_upstream(tmp_path: Path) -> None:
    headers = {"traceparent": PARENT, "tracestate": "vendor=1"}
    with listening() as (url, got), gateway(tmp_path, upstream=url) as handle:
        ask(handle, extra_headers=headers)
        ask(handle)
    assert {name: got[0].get(name) for name in headers} == headers
    assert "traceparent" not in got[1]


def test_with_tracing_the_upstreams_parent_is_the_call_within_the_clients_trace(tmp_path: Path) -> None:
    observed = Observed()
    with listening() as (url, got), gateway(tmp_path, upstream=url, tracing=observed.tracing) as handle:
        ask(handle, extra_headers={"traceparent": PARENT})
    (call,) = observed.calls()
    assert got[0]["traceparent"] == f"00-{PARENT[3:35]}-{call.context.span_id:016x}-01"
    server = observed.server()
    assert server.parent is not None
    assert f"{server.parent.span_id:016x}" == PARENT[36:52]


def test_what_passes_through_is_traced_as_what_it_is(tmp_path: Path) -> None:
    observed = Observed()
    with listening() as (url, got), gateway(tmp_path, upstream=url, tracing=observed.tracing) as handle:
        openai.OpenAI(base_url=handle.base_url, api_key="none").embeddings.with_raw_response.create(
            model="sim/small", input=CANARY, extra_headers={"traceparent": PARENT}
        )
    (call,) = observed.calls()
    assert call.name == "embeddings sim/small"
    assert got[0]["traceparent"] == f"00-{PARENT[3:35]}-{call.context.span_id:016x}-01"


def test_a_trace_that_is_not_sampled_says_so_upstream(tmp_path: Path) -> None:
    observed = Observed(sampler=ALWAYS_OFF)
    with listening() as (url, got), gateway(tmp_path, upstream=url, tracing=observed.tracing) as handle:
        ask(handle)
    assert int(got[0]["traceparent"][-2:], 16) & 1 == 0
    assert observed.spans() == ()


@pytest.mark.parametrize(
    "parent",
    [
        b"",
        b"00",
        PARENT.encode() + b"\r\nx: y",
        PARENT.upper().encode(),
        b"ff" + PARENT.encode()[2:],
        b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01",
        b"00-0af7651916cd43dd8448eb211c80319c-" + b"0" * 16 + b"-01",
    ],
)
def test_a_trace_context_that_is_none_goes_nowhere(parent: bytes) -> None:
    assert context_of({b"traceparent": parent, b"tracestate": b"a=1"}) == {}


def test_an_exporter_that_raises_fails_no_request(tmp_path: Path) -> None:
    class Broken(SpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            raise RuntimeError("out of order")

    observed = Observed(Broken())
    with gateway(tmp_path, tracing=observed.tracing) as handle:
        assert ask(handle).choices[0].message.content
    assert observed.spans()


def test_tracing_that_raises_fails_no_request(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise RuntimeError("out of order")

    observed = Observed()
    with gateway(tmp_path, tracing=observed.tracing) as handle:
        for name in ("count", "call", "begin"):
            monkeypatch.setattr(observed.tracing, name, broken)
            assert ask(handle).choices[0].message.content


def test_without_opentelemetry_who_asks_for_it_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def missing(name: str, *rest: Any) -> Any:
        if name.startswith("opentelemetry"):
            raise ImportError(name=name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", missing)
    with pytest.raises(MissingExtra, match=r"cheapfirst\[otel\]"):
        tracing.of(True, BASE)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:4318")
    assert tracing.of(None, BASE) is None


def test_opentelemetrys_own_variables_ask_for_tracing(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in tracing.ASKING:
        monkeypatch.delenv(name, raising=False)
    assert tracing.of(None, BASE) is None
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    assert tracing.of(False, BASE) is None
    monkeypatch.setenv("OTEL_SDK_DISABLED", "true")
    assert tracing.of(None, BASE) is None
