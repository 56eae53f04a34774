"""Understands LiteLLM's spend logs: the table LiteLLM_SpendLogs, and what /spend/logs answers."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from cheapfirst.ledger.importing import cells
from cheapfirst.ledger.importing.entry import Entry, Malformed, Row, Skip
from cheapfirst.messages import Usage

CHAT = ("completion", "responses", "messages", "generate_content", "generatecontent", "pass_through", "passthrough")
"""Parts of the call types that are model calls like ours; embeddings, images, speech and the rest are not."""


def entry(row: Row) -> Entry | Skip:
    """The call of one row. Raises Malformed."""
    id = cells.word(row, "request_id")
    if id is None:
        raise Malformed("no request_id: this is not a row of LiteLLM_SpendLogs")
    kind = cells.word(row, "call_type") or ""
    if kind and not any(part in kind.lower() for part in CHAT):
        return Skip(f"call type {kind}")
    model = cells.word(row, "model")
    if model is None:
        return Skip("no model was called")
    begun = cells.moment(row, "startTime", "start_time")
    if begun is None:
        raise Malformed("no startTime")
    ended = cells.moment(row, "endTime", "end_time")
    first = cells.moment(row, "completionStartTime", "completion_start_time")
    metadata = cells.table(row.get("metadata"))
    status = cells.word(row, "status") or cells.word(metadata, "status")
    failed = status == "failure"
    usage = _usage(row, cells.table(metadata.get("usage_object")), failed)
    said = _labels(row, metadata)
    return Entry(
        id=id,
        time=begun,
        model=model,
        provider=cells.word(row, "custom_llm_provider"),
        generation_id=None if failed else id,
        usage=usage,
        cost=_cost(row, metadata, usage),
        task=said.get("task"),
        feature=said.get("feature"),
        tenant=said.get("tenant"),
        session=said.get("session") or cells.word(row, "session_id"),
        duration=max((ended or begun) - begun, 0.0),
        # LiteLLM writes the end here too, when nothing was streamed.
        first_token=first - begun if first is not None and ended is not None and begun <= first < ended else None,
        failed=failed,
        status=cells.count(cells.table(metadata.get("error_information")), "error_code") if failed else None,
    )


def _usage(row: Row, said: dict[str, Any], failed: bool) -> Usage | None:
    prompt, completion = cells.count(row, "prompt_tokens"), cells.count(row, "completion_tokens")
    if prompt is None and completion is None:
        return None
    if failed and not prompt and not completion:
        return None
    prompts, answers = (
        cells.table(said.get("prompt_tokens_details")),
        cells.table(said.get("completion_tokens_details")),
    )
    cached = cells.count(said, "cache_read_input_tokens") or cells.count(prompts, "cached_tokens")
    written = cells.count(said, "cache_creation_input_tokens") or cells.count(
        prompts, "cache_creation_tokens", "cache_write_tokens"
    )
    return Usage(
        prompt_tokens=prompt or 0,
        completion_tokens=completion or 0,
        cached_tokens=cached or 0,
        cache_write_tokens=written or 0,
        reasoning_tokens=cells.count(answers, "reasoning_tokens") or 0,
    )


def _cost(row: Row, metadata: dict[str, Any], usage: Usage | None) -> Decimal | None:
    """What the row says, but for the zero that LiteLLM writes where it knows no price."""
    spend = cells.amount(row, "spend")
    if spend != 0 or usage is None or not (usage.prompt_tokens or usage.completion_tokens):
        return spend
    if (cells.word(row, "cache_hit") or "").lower() == "true":
        return spend
    return cells.amount(cells.table(metadata.get("cost_breakdown")), "total_cost")


def _labels(row: Row, metadata: dict[str, Any]) -> dict[str, str]:
    own = cells.table(metadata.get("spend_logs_metadata")), cells.table(metadata.get("requester_metadata"))
    said = cells.labels(row.get("request_tags"), *own, metadata)
    tags = (tag for tag in cells.texts(row.get("request_tags")) if ":" not in tag)
    if (feature := said.get("feature") or next(tags, None)) is not None:
        said["feature"] = feature
    tenant = (
        said.get("tenant")
        or cells.word(metadata, "user_api_key_team_alias")
        or cells.word(row, "team_alias", "team_id")
        or cells.word(metadata, "user_api_key_team_id")
    )
    return said if tenant is None else {**said, "tenant": tenant}
