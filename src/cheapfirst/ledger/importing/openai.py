"""Understands OpenAI-style logs: pairs of request and response, bare answers with their usage, and batch output."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec

from cheapfirst.catalog import cost
from cheapfirst.ledger.importing import cells
from cheapfirst.ledger.importing.entry import Entry, Malformed, Row, Skip
from cheapfirst.messages import Usage

ANSWERS = ("chat.completion", "text_completion", "response")
"""`object` of the answers that are model calls like ours."""

_CANONICAL = msgspec.json.Encoder(decimal_format="number", order="sorted")


def entry(row: Row) -> Entry | Skip:
    """The call of one line: `{"request", "response"}`, a line of a batch's output, or the answer itself.

    Raises Malformed.
    """
    batch = "custom_id" in row
    request = cells.table(row.get("request"))
    answer, status = _answer(row, batch=batch)
    failed = bool(cells.pick(row, "error") or cells.pick(answer, "error")) or (status or 0) >= 400
    kind = cells.word(answer, "object")
    if kind is not None and kind not in ANSWERS:
        return Skip(f"object {kind}")
    model = cells.word(answer, "model") or cells.word(request, "model") or cells.word(row, "model")
    if model is None:
        if batch and failed:
            return Skip("a batch request that failed: its line names no model")
        raise Malformed("no model: neither a chat completion nor a pair of request and response")
    begun = cells.moment(row, "timestamp", "time", "started_at", "start_time") or cells.moment(
        answer, "created", "created_at"
    )
    if begun is None:
        raise Malformed("no time: neither `created` in the answer nor `timestamp` beside it")
    counts = cells.table(answer.get("usage"))
    said = cells.labels(
        None,
        cells.table(row.get("metadata")),
        cells.table(request.get("metadata")),
        cells.table(answer.get("metadata")),
    )
    generation = cells.word(answer, "id")
    return Entry(
        id=generation or _digest(row),
        time=begun,
        model=model,
        provider=cells.word(answer, "provider"),
        generation_id=generation,
        usage=usage(counts),
        cost=cost.reported(counts),
        batch=batch,
        task=said.get("task"),
        feature=said.get("feature"),
        tenant=said.get("tenant"),
        session=said.get("session"),
        max_tokens=_room(request),
        duration=_duration(row),
        finish=_finish(answer),
        failed=failed,
        status=status if failed else None,
    )


def _answer(row: Row, *, batch: bool) -> tuple[dict[str, Any], int | None]:
    """The answer's body, and its HTTP status where the line says it."""
    if "response" not in row:
        return row, None
    response = cells.table(row["response"])
    status = cells.count(response, "status_code", "status") if not isinstance(response.get("status"), str) else None
    body = response.get("body")
    return (cells.table(body) if batch or body is not None else response), status


def usage(counts: dict[str, Any]) -> Usage | None:
    """The tokens of a `usage` object in either of OpenAI's forms; None when it counts none. Raises Malformed."""
    prompt = cells.count(counts, "prompt_tokens", "input_tokens")
    completion = cells.count(counts, "completion_tokens", "output_tokens")
    if prompt is None and completion is None:
        return None
    prompts = cells.table(cells.pick(counts, "prompt_tokens_details", "input_tokens_details"))
    answers = cells.table(cells.pick(counts, "completion_tokens_details", "output_tokens_details"))
    return Usage(
        prompt_tokens=prompt or 0,
        completion_tokens=completion or 0,
        cached_tokens=cells.count(prompts, "cached_tokens") or cells.count(counts, "prompt_cache_hit_tokens") or 0,
        cache_write_tokens=cells.count(prompts, "cache_write_tokens") or 0,
        reasoning_tokens=cells.count(answers, "reasoning_tokens") or 0,
    )


def _finish(answer: dict[str, Any]) -> str | None:
    choices = answer.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return cells.word(choices[0], "finish_reason")
    details = cells.table(answer.get("incomplete_details"))
    return "length" if cells.word(details, "reason") == "max_output_tokens" else None


def _duration(row: Row) -> float:
    seconds = cells.span(row, "duration", "latency", "duration_s")
    if seconds is not None:
        return seconds
    return (cells.span(row, "duration_ms", "latency_ms") or 0.0) / 1000


def _room(request: dict[str, Any]) -> int | None:
    try:
        return cells.count(request, "max_completion_tokens", "max_tokens", "max_output_tokens")
    except Malformed:
        return None


def _digest(row: Row) -> str:
    """The id of a line that brings none: of its content, so that the same line is the same call."""
    return "sha256:" + hashlib.sha256(_CANONICAL.encode(row)).hexdigest()
