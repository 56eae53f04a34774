"""Understands Langfuse's observations: of its API, of its blob storage export and of the tables its pages export."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from cheapfirst.ledger.importing import cells, openai
from cheapfirst.ledger.importing.entry import Entry, Malformed, Row, Skip
from cheapfirst.messages import Usage

FLAT = (
    ("input", ("inputTokens", "promptTokens", "input_tokens", "prompt_tokens", "inputUsage")),
    ("output", ("outputTokens", "completionTokens", "output_tokens", "completion_tokens", "outputUsage")),
)
"""Columns of tables that hold the counts themselves."""


def entry(row: Row) -> Entry | Skip:
    """The call of one observation. Raises Malformed."""
    id = cells.word(row, "id", "observationId", "observation_id")
    if id is None:
        raise Malformed("no id: this is not an observation")
    kind = cells.word(row, "type")
    if kind is not None and kind.upper() != "GENERATION":
        return Skip(f"type {kind}")
    model = cells.word(row, "model", "provided_model_name", "providedModelName")
    if model is None:
        return Skip("no model" if kind else "no type and no model: traces or scores")
    begun = cells.moment(row, "startTime", "start_time")
    if begun is None:
        raise Malformed("no startTime")
    ended = cells.moment(row, "endTime", "end_time")
    first = cells.moment(row, "completionStartTime", "completion_start_time")
    failed = (cells.word(row, "level") or "").upper() == "ERROR"
    metadata = cells.table(row.get("metadata"))
    said = cells.labels(_tags(row), metadata, cells.table(metadata.get("attributes")))
    return Entry(
        id=id,
        time=begun,
        model=model,
        usage=_usage(row),
        cost=_cost(row),
        task=said.get("task"),
        feature=said.get("feature") or cells.word(row, "traceName", "trace_name"),
        tenant=said.get("tenant"),
        session=said.get("session") or cells.word(row, "sessionId", "session_id", "traceId", "trace_id"),
        max_tokens=_room(row),
        duration=max(ended - begun, 0.0) if ended is not None else cells.span(row, "latency") or 0.0,
        first_token=first - begun
        if first is not None and first >= begun
        else cells.span(row, "timeToFirstToken", "time_to_first_token"),
        failed=failed,
    )


def _tags(row: Row) -> Any:
    return cells.pick(row, "tags", "traceTags", "trace_tags")


def _usage(row: Row) -> Usage | None:
    """Kinds of usage whose name holds `input` are the prompt, those with `output` the answer: Langfuse's own rule."""
    details = cells.table(cells.pick(row, "usageDetails", "usage_details"))
    if not details:
        details = cells.table(row.get("usage"))
        if str(cells.pick(details, "unit") or "TOKENS").upper() != "TOKENS":
            return None
    if "prompt_tokens" in details or "input_tokens" in details:
        return openai.usage(details)  # as the provider said it, before Langfuse split it up
    counts = {name: cells.count(details, name) or 0 for name in details if _kind(name)}
    if not counts:
        counts = {name: said for name, columns in FLAT if (said := cells.count(row, *columns)) is not None}
    if not counts:
        return None
    inputs = {name: number for name, number in counts.items() if _kind(name) == "input"}
    outputs = {name: number for name, number in counts.items() if _kind(name) == "output"}
    written = sum(number for name, number in inputs.items() if _is_write(name))
    return Usage(
        prompt_tokens=sum(inputs.values()),
        completion_tokens=sum(outputs.values()),
        cached_tokens=sum(n for name, n in inputs.items() if "cache" in name.lower() and not _is_write(name)),
        cache_write_tokens=written,
        reasoning_tokens=sum(n for name, n in outputs.items() if "reasoning" in name.lower()),
    )


def _kind(name: str) -> str | None:
    lower = name.lower()
    if "cost" in lower or lower == "unit":
        return None
    return next((kind for kind in ("input", "output") if kind in lower), None)


def _is_write(name: str) -> bool:
    return "cache" in name.lower() and ("creation" in name.lower() or "write" in name.lower())


def _cost(row: Row) -> Decimal | None:
    """The total that the row says; zero only where the row says how it is made up."""
    details = cells.table(cells.pick(row, "costDetails", "cost_details"))
    total = cells.amount(details, "total")
    if total is None and details:
        parts = [cells.amount(details, name) for name in details]
        total = sum((part for part in parts if part is not None), Decimal(0))
    if total is None:
        total = cells.amount(row, "totalCost", "total_cost", "calculatedTotalCost")
        if total == 0:
            return None
    return total


def _room(row: Row) -> int | None:
    parameters = cells.table(cells.pick(row, "modelParameters", "model_parameters"))
    try:
        return cells.count(parameters, "max_tokens", "max_completion_tokens", "maxTokens")
    except Malformed:
        return None  # a parameter like "inf" is no reason to leave the call out
