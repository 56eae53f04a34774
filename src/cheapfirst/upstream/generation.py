"""Reads the upstream's page about one answer: what it charged for it, and the tokens that it counted."""

from __future__ import annotations

from decimal import Decimal

from cheapfirst.catalog.cost import reported
from cheapfirst.messages import Usage, Wire
from cheapfirst.upstream.outcome import read_usage


def charged(data: Wire) -> Decimal | None:
    """USD that the page about an answer says it cost; None when it does not say."""
    details = {"upstream_inference_cost": data.get("upstream_inference_cost")}
    return reported({"cost": data.get("total_cost"), "is_byok": data.get("is_byok"), "cost_details": details})


def counted(data: Wire) -> Usage | None:
    """The tokens that the page about an answer says were billed; None when it does not say."""
    if data.get("native_tokens_prompt") is None and data.get("native_tokens_completion") is None:
        return None
    return read_usage(
        {
            "prompt_tokens": data.get("native_tokens_prompt"),
            "completion_tokens": data.get("native_tokens_completion"),
            "prompt_tokens_details": {"cached_tokens": data.get("native_tokens_cached")},
            "completion_tokens_details": {"reasoning_tokens": data.get("native_tokens_reasoning")},
        }
    )
