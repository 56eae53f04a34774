"""Errors as the wire spells them: HTTP status, headers and the body, for every refusal by name."""

from __future__ import annotations

import time
from typing import Any

import msgspec
from msgspec import Struct

from cheapfirst.messages import Wire
from cheapfirst.simulator.models import SimModel

_DOCS = "https://openrouter.ai/docs"


class Failure(Struct, frozen=True, kw_only=True):
    """An error before the first token."""

    status: int
    error: Wire  # the `error` object
    headers: dict[str, str] = {}
    page: str | None = None  # a body that is not JSON; absent: `error` is the body
    next_model: bool = True  # the next of `models` is tried


def failure(status: int, message: str, error_type: str | None = None, **metadata: Any) -> Failure:
    """An error of OpenRouter's own: `code` is the HTTP status, details stand in `metadata`."""
    details = {**({"error_type": error_type} if error_type else {}), **metadata}
    error: Wire = {"code": status, "message": message, **({"metadata": details} if details else {})}
    return Failure(status=status, error=error, next_model=status not in (401, 413))


def provider_failure(model: SimModel, status: int, error_type: str, raw: str, **metadata: Any) -> Failure:
    """An error that a provider sent: the message says little, the reason stands in `metadata.raw`."""
    return failure(
        status,
        "Provider returned error",
        error_type,
        raw=msgspec.json.encode({"error": {"message": raw}}).decode(),
        provider_name=model.provider_name,
        is_byok=False,
        provider_code=str(status),
        **metadata,
    )


def unavailable(
    model: str, status: int, message: str, code: str, *, error_type: str = "not_found", **more: Any
) -> Failure:
    """An error with `error.availability`, which says whether to try again and what excluded the model."""
    made = failure(status, message, error_type)
    about = {"code": code, "retryable": status in (429, 503), "requested_models": [model], **more, "docs_url": _DOCS}
    return msgspec.structs.replace(made, error={**made.error, "availability": about})


def too_long(context: int, prompt: int, room: int) -> Failure:
    """The prompt and the room asked for do not fit the context window (tokens)."""
    return failure(
        400,
        f"This endpoint's maximum context length is {context} tokens. However, you requested about "
        f"{prompt + room} tokens ({prompt} of text input, {room} in the output). Please reduce the length.",
        "context_length_exceeded",
    )


def unaffordable(wanted: int, affordable: int) -> Failure:
    """The account cannot pay for the output that was asked for (tokens)."""
    return failure(
        402,
        "This request requires more credits, or fewer max_tokens. "
        f"You requested up to {wanted} tokens, but can only afford {affordable}. "
        "To increase, visit https://openrouter.ai/settings/credits and add more credits",
        "payment_required",
    )


def unknown_model(name: str) -> Failure:
    """There is no such model here."""
    return unavailable(name, 400, f"{name} is not a valid model ID", "model_not_found", error_type="invalid_request")


def filtered(model: str, message: str, excluded_by: str, detail: str) -> Failure:
    """The request's own constraints leave no endpoint."""
    return unavailable(
        model, 404, message, "constraint_filtered", excluded_by=excluded_by,
        constraint={"field": excluded_by, "detail": detail},
    )  # fmt: skip


def _with_headers(made: Failure, **headers: str) -> Failure:
    return msgspec.structs.replace(made, headers={name.replace("_", "-"): value for name, value in headers.items()})


def _free_daily() -> Failure:
    reset = str((int(time.time()) // 86_400 + 1) * 86_400_000)
    headers = {"X-RateLimit-Limit": "50", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": reset}
    made = failure(
        429,
        "Rate limit exceeded: free-models-per-day. Add 10 credits to unlock 1000 free model requests per day",
        "rate_limit_exceeded",
        headers=headers,
        limit_source="openrouter_free_tier_daily",
    )
    return msgspec.structs.replace(made, headers=headers, next_model=False)


def named(name: str, model: SimModel, *, prompt: int, room: int, retry_after: float) -> Failure:
    """The refusal of that name for one request (`prompt` and `room` in tokens, `retry_after` in seconds).

    Raises KeyError for a name that is not a refusal.
    """
    wait = f"{retry_after:g}"
    slug = model.id
    match name:
        case "400_invalid_request":
            return provider_failure(model, 400, "invalid_request", "messages: at least one field is not allowed")
        case "400_schema":
            return provider_failure(model, 400, "invalid_request", "Invalid schema for response_format")
        case "400_context_length":
            return too_long(prompt, prompt, room)
        case "400_model_not_found":
            return unknown_model(slug)
        case "400_wrong_endpoint":
            message = f"{slug} is not a chat model"
            return unavailable(slug, 400, message, "wrong_endpoint", error_type="invalid_request")
        case "401":
            return failure(401, "User not found.", "authentication")
        case "402_affordability":
            return unaffordable(room, room // 2)
        case "402_empty":
            return failure(402, "Insufficient credits. Add more using https://openrouter.ai/settings/credits",
                           "payment_required")  # fmt: skip
        case "403_moderation":
            return failure(403, "Your input was flagged", "content_policy_violation", reasons=["violence"],
                           flagged_input="(simulated)", provider_name=model.provider_name, model_slug=slug)  # fmt: skip
        case "403_guardrail":
            return failure(403, "Request blocked by a guardrail", "permission_denied", patterns=["simulated"])
        case "403_region":
            message = f"{slug} is not available in your region"
            return unavailable(slug, 403, message, "region_restricted", error_type="permission_denied",
                               excluded_by="geo")  # fmt: skip
        case "404_no_endpoints":
            return unavailable(slug, 404, f"No endpoints found for {slug}.", "no_endpoints")
        case "404_tools":
            return filtered(slug, "No endpoints found that support tool use.", "require_parameters", "tools")
        case "404_constraint":
            message = "No endpoints found that can handle the requested parameters."
            return filtered(slug, message, "require_parameters", "response_format")
        case "404_privacy":
            message = "No endpoints available matching your guardrail restrictions and data policy."
            return unavailable(slug, 404, message, "privacy_restricted", excluded_by="data_policy:training")
        case "404_deprecated":
            return unavailable(slug, 404, f"{slug} is deprecated.", "model_deprecated", fallback_models=[])
        case "404_upstream":
            return unavailable(slug, 404, f"{slug} is gone at its provider.", "model_unavailable_upstream",
                               affected_providers=[model.provider_name])  # fmt: skip
        case "404_free_ended":
            return unavailable(slug, 404, f"The free period of {slug} has ended.", "free_variant_ended")
        case "404_docs_form":
            made = unavailable(slug, 404, f"No endpoints found for {slug}.", "no_endpoints")
            kept = {key: made.error[key] for key in ("message", "availability")}
            return msgspec.structs.replace(made, error={"error_type": "not_found", "http_status": 404, **kept})
        case "408_timeout":
            return failure(408, "Request timed out", "timeout")
        case "412_precondition":
            return failure(412, "Precondition failed", "precondition_failed")
        case "413_too_large":
            return failure(413, "Request payload is too large", "payload_too_large")
        case "422_unprocessable":
            return failure(422, "Unprocessable request", "unprocessable")
        case "429_retry_after":
            made = provider_failure(model, 429, "rate_limit_exceeded", "Too many requests")
            return _with_headers(made, Retry_After=wait)
        case "429_plain":
            return provider_failure(model, 429, "rate_limit_exceeded", "Too many requests")
        case "429_shared_pool":
            raw = f"{slug} is temporarily rate-limited upstream. Please retry shortly, or add your own key"
            return provider_failure(model, 429, "rate_limit_exceeded", raw,
                                    limit_source="upstream_provider_shared_pool")  # fmt: skip
        case "429_free_daily":
            return _free_daily()
        case "429_capacity":
            made = unavailable(slug, 429, f"{slug} has no capacity left.", "capacity_exhausted",
                               error_type="rate_limit_exceeded", retry_after=retry_after)  # fmt: skip
            return _with_headers(made, Retry_After=wait)
        case "500_server":
            return failure(500, "Internal Server Error", "server")
        case "502_provider":
            previous = [{"provider": model.provider_name, "code": 502, "status": 502}]
            return provider_failure(model, 502, "provider_unavailable", "upstream connect error",
                                    previous_errors=previous)  # fmt: skip
        case "503_overloaded":
            made = provider_failure(model, 503, "provider_overloaded", "The engine is currently overloaded")
            return _with_headers(made, Retry_After=wait)
        case "503_unavailable":
            return unavailable(slug, 503, f"{slug} is temporarily unavailable.", "temporarily_unavailable",
                               error_type="provider_unavailable", retry_after=retry_after)  # fmt: skip
        case "504_timeout":
            return provider_failure(model, 504, "timeout", "upstream request timeout")
        case "524_html":
            page = "<!DOCTYPE html><html><head><title>524: A timeout occurred (simulated)</title></head></html>"
            made = failure(524, "A timeout occurred", "timeout")
            return msgspec.structs.replace(made, page=page, next_model=False)
        case "529_overloaded":
            return provider_failure(model, 529, "provider_overloaded", "Overloaded")
    raise KeyError(name)
