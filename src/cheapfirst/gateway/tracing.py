"""OpenTelemetry's traces and metrics of each request, by the GenAI semantic conventions. Needs the extra `otel`.

A span of the request (SERVER) has one of each upstream call (CLIENT) below it, and the upstream gets that one as its
parent. No attribute holds text or a key. Conventions: https://github.com/open-telemetry/semantic-conventions-genai
"""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from cheapfirst.errors import MissingExtra
from cheapfirst.messages import Attempt, Request, Story, Usage

if TYPE_CHECKING:
    from opentelemetry.metrics import MeterProvider
    from opentelemetry.trace import Span, TracerProvider

LOG = logging.getLogger("cheapfirst.gateway")

ASKING = ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
"""OpenTelemetry's own variables: where one is set, spans and metrics go there."""

NAME = "cheapfirst"
CLOSING = 5.0
"""Seconds that the end may wait for what has not been sent."""

TOKEN_BOUNDS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
SECOND_BOUNDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
"""Upper bounds that the conventions give for the two histograms."""

PROVIDERS = {"openrouter.ai": "openrouter", "api.openai.com": "openai", "api.anthropic.com": "anthropic"}
"""What the conventions call an upstream, by its host; any other is called by its host."""

OPERATIONS = {"embeddings": "embeddings", "completions": "text_completion"}
"""Operations of tasks that pass through; all others are `chat`."""


class Tracing:
    """Makes spans and metrics with OpenTelemetry.

    Without providers of your own it uses the process's (`opentelemetry.trace.get_tracer_provider()`).
    """

    def __init__(
        self,
        base_url: str,
        *,
        tracers: TracerProvider | None = None,
        meters: MeterProvider | None = None,
        owned: bool = False,
    ) -> None:
        _require()
        from opentelemetry import metrics, trace
        from opentelemetry.context import Context
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        parts = urlsplit(base_url)
        self._trace = trace
        self._nowhere = Context()  # else a span of the program around us would be the parent
        self._propagator = TraceContextTextMapPropagator()
        self._providers = (tracers or trace.get_tracer_provider(), meters or metrics.get_meter_provider())
        self._owned = owned
        self._tracer = trace.get_tracer(NAME, tracer_provider=self._providers[0])
        meter = metrics.get_meter(NAME, meter_provider=self._providers[1])
        self._tokens = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=list(TOKEN_BOUNDS),
        )
        self._duration = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=list(SECOND_BOUNDS),
        )
        host = parts.hostname or ""
        self.server: dict[str, Any] = {"gen_ai.provider.name": PROVIDERS.get(host, host), "server.address": host}
        port = parts.port or (443 if parts.scheme == "https" else 80)
        self.server["server.port"] = port

    def begin(self, request: Request, context: Mapping[str, str]) -> Traced:
        """A request begins; `context` is the trace context that came with it."""
        parent = self._propagator.extract(dict(context), self._nowhere)
        span = self._tracer.start_span(
            f"{operation(request)} {request.task}",
            context=parent,
            kind=self._trace.SpanKind.SERVER,
        )
        return Traced(self, request, span)

    def call(self, traced: Traced, started: int) -> tuple[Span, dict[str, str]]:
        """An upstream call begins at `started` (Unix nanoseconds): its span, and the headers that make the upstream's
        spans its children."""
        context = self._trace.set_span_in_context(traced.span, self._nowhere)
        span = self._tracer.start_span(
            operation(traced.request), context=context, kind=self._trace.SpanKind.CLIENT, start_time=started
        )
        headers: dict[str, str] = {}
        self._propagator.inject(headers, self._trace.set_span_in_context(span, context))
        return span, headers

    def count(self, task: str, attempt: Attempt, named: str) -> None:
        """The metrics of one upstream call."""
        outcome = attempt.outcome
        shared = {
            "gen_ai.operation.name": named,
            "gen_ai.request.model": attempt.planned.model,
            "gen_ai.response.model": attempt.model,
            "cheapfirst.task": task,
            **self.server,
        }
        failed = {"error.type": outcome.fault.name} if outcome.fault is not None else {}
        self._duration.record(outcome.duration, {**shared, **failed})
        if outcome.usage is not None:
            self._tokens.record(outcome.usage.prompt_tokens, {**shared, "gen_ai.token.type": "input"})
            self._tokens.record(outcome.usage.completion_tokens, {**shared, "gen_ai.token.type": "output"})

    def fail(self, span: Span) -> None:
        """Mark a span as failed. What failed is in its `error.type`."""
        span.set_status(self._trace.Status(self._trace.StatusCode.ERROR))

    def close(self) -> None:
        """Send what waits, and end providers that were made here. Waits CLOSING seconds at most."""
        ending = threading.Thread(target=self._end, name="cheapfirst-otel", daemon=True)
        ending.start()
        ending.join(CLOSING)

    def _end(self) -> None:
        for provider in self._providers:
            end = getattr(provider, "shutdown" if self._owned else "force_flush", None)
            if end is not None:
                end()


class Traced:
    """The spans of one request."""

    __slots__ = ("_calls", "_tracing", "request", "span")

    def __init__(self, tracing: Tracing, request: Request, span: Span) -> None:
        self._tracing = tracing
        self.request = request
        self.span = span
        self._calls: list[tuple[int, Span]] = []

    @property
    def trace_id(self) -> str:
        """32 hex digits."""
        return f"{self.span.get_span_context().trace_id:032x}"

    def call(self) -> Mapping[str, str]:
        """Begin the next upstream call; returns its headers."""
        started = time.time_ns()
        span, headers = self._tracing.call(self, started)
        self._calls.append((started, span))
        return headers

    def end(self, story: Story) -> None:
        """End all spans with what the story says, and count its attempts."""
        named = operation(self.request)
        for attempt in story.attempts:
            self._tracing.count(story.request.task, attempt, named)
        if not self.span.is_recording():  # not sampled
            return
        for number, (started, span) in enumerate(self._calls):
            if number < len(story.attempts):
                attempt = story.attempts[number]
                span.set_attributes(of_attempt(attempt, named) | self._tracing.server)
                span.update_name(f"{named} {attempt.planned.model}")
                if attempt.outcome.fault is not None:
                    self._tracing.fail(span)
                span.end(started + int(attempt.outcome.duration * 1e9))
            else:
                span.end()
        self.span.set_attributes(of_story(story, named))
        if story.ending not in ("accepted", "returned"):
            self._tracing.fail(self.span)
        self.span.end()


def of(given: Tracing | bool | None, base_url: str) -> Tracing | None:
    """The tracing that a program gave, that it wants (True), or that the environment asks for (None); False: none.

    Raises MissingExtra where it is wanted and not installed.
    """
    if isinstance(given, bool):
        return configured(base_url) if given else None
    return given or asked_for(base_url)


def asked_for(base_url: str) -> Tracing | None:
    """The tracing that OpenTelemetry's environment variables ask for, or None. Where the extra is missing, they may be
    set for other programs: that is said and no more."""
    if os.environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or not any(map(os.environ.get, ASKING)):
        return None
    try:
        return configured(base_url)
    except MissingExtra as error:
        LOG.warning("no traces are sent: %s", error)
        return None


def configured(base_url: str) -> Tracing:
    """Tracing that sends over OTLP/HTTP to where OpenTelemetry's variables say (absent: localhost:4318). Where the
    process has set up a provider of its own, that one is used. Raises MissingExtra."""
    _require()
    from opentelemetry import metrics, trace

    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        raise MissingExtra(error.name or "opentelemetry-sdk", "otel", "OpenTelemetry") from error
    tracers, meters = trace.get_tracer_provider(), metrics.get_meter_provider()
    if isinstance(tracers, TracerProvider) or isinstance(meters, MeterProvider):
        return Tracing(base_url)
    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": NAME}
    resource = Resource.create(named)
    made = TracerProvider(resource=resource)
    made.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    metered = MeterProvider([PeriodicExportingMetricReader(OTLPMetricExporter())], resource=resource)
    return Tracing(base_url, tracers=made, meters=metered, owned=True)


def operation(request: Request) -> str:
    """The conventions' word for what a request does."""
    return OPERATIONS.get(request.task, "chat") if not request.body else "chat"


def of_story(story: Story, named: str) -> dict[str, Any]:
    """The attributes of a request's span. Amounts are USD; what is unknown is left out."""
    winner = story.attempts[story.winner - 1] if story.winner is not None else None
    last = winner or (story.attempts[-1] if story.attempts else None)
    told: dict[str, Any] = {
        "gen_ai.operation.name": named,
        "gen_ai.request.model": story.request.model or story.request.task,
        "cheapfirst.request_id": story.request.id,
        "cheapfirst.task": story.request.task,
        "cheapfirst.tier": last.planned.tier if last is not None else story.plan.tier,
        "cheapfirst.ending": story.ending,
        "cheapfirst.escalated": story.escalated,
        "cheapfirst.attempts": len(story.attempts),
        "cheapfirst.policy": story.plan.policy_hash,
    }
    if story.cost is not None:
        told["cheapfirst.cost_usd"] = float(story.cost)
    if story.baseline is not None:
        told["cheapfirst.baseline_usd"] = float(story.baseline)
    if winner is not None:
        told["gen_ai.response.model"] = winner.model
        if winner.outcome.usage is not None:
            told |= _usage(winner.outcome.usage)
    if story.ending not in ("accepted", "returned"):
        told["error.type"] = story.ending
    return told


def of_attempt(attempt: Attempt, named: str) -> dict[str, Any]:
    """The attributes of an upstream call's span, but for where it went."""
    outcome, planned = attempt.outcome, attempt.planned
    told: dict[str, Any] = {
        "gen_ai.operation.name": named,
        "gen_ai.request.model": planned.model,
        "gen_ai.response.model": attempt.model,
        "cheapfirst.tier": planned.tier,
        "cheapfirst.attempt": attempt.number,
        "cheapfirst.on": attempt.on,
        "cheapfirst.outcome": outcome.kind,
    }
    if planned.max_tokens:
        told["gen_ai.request.max_tokens"] = planned.max_tokens
    if outcome.generation_id is not None:
        told["gen_ai.response.id"] = outcome.generation_id
    if outcome.finish is not None:
        told["gen_ai.response.finish_reasons"] = [outcome.finish]
    if outcome.first_token is not None:
        told["gen_ai.response.time_to_first_chunk"] = outcome.first_token
    if outcome.provider is not None:
        told["cheapfirst.provider"] = outcome.provider
    if outcome.usage is not None:
        told |= _usage(outcome.usage)
    if attempt.cost is not None:
        told["cheapfirst.cost_usd"] = float(attempt.cost)
    if attempt.verdict is not None:
        told["cheapfirst.accepted"] = attempt.verdict.accept
        told["cheapfirst.reasons"] = list(dict.fromkeys(finding.code for finding in attempt.verdict.findings))
    if outcome.fault is not None:
        told["error.type"] = outcome.fault.name
        if outcome.fault.status is not None:
            told["http.response.status_code"] = outcome.fault.status
    return told


def _usage(usage: Usage) -> dict[str, int]:
    return {
        "gen_ai.usage.input_tokens": usage.prompt_tokens,
        "gen_ai.usage.output_tokens": usage.completion_tokens,
        "gen_ai.usage.cache_read.input_tokens": usage.cached_tokens,
        "gen_ai.usage.cache_creation.input_tokens": usage.cache_write_tokens,
        "gen_ai.usage.reasoning.output_tokens": usage.reasoning_tokens,
    }


def _require() -> None:
    try:
        import opentelemetry.trace  # noqa: F401
    except ImportError as error:
        raise MissingExtra(error.name or "opentelemetry-api", "otel", "OpenTelemetry") from error
