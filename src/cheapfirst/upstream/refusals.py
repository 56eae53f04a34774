"""Reads an upstream's error (status, headers, body) into a named fault.

The retry rules are those of OpenRouter's error documentation; where `error.availability` says whether a retry
makes sense, that word wins. Codes may be numbers or strings, and details may stand in `error`, in
`error.metadata` or as JSON text in `error.metadata.raw`.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Mapping
from email.utils import parsedate_to_datetime
from typing import Any

import msgspec

from cheapfirst.messages import Fault, Wire
from cheapfirst.upstream import faults
from cheapfirst.upstream.redact import clean, texts_of

TRUNCATIONS = frozenset({"max_tokens_exceeded", "token_limit_exceeded", "context_length_exceeded"})
"""Error types that, once an answer has begun, only say that it was cut off."""

STATUSES: dict[int, str] = {
    400: "bad_request",
    401: "unauthorized",
    402: "account_dry",
    403: "forbidden",
    404: "not_found",
    408: "timeout",
    412: "precondition_failed",
    413: "payload_too_large",
    422: "unprocessable",
    429: "rate_limited",
    500: "server_error",
    502: "provider_unavailable",
    503: "overloaded",
    504: "timeout",
    524: "timeout",
    529: "overloaded",
}

WORDS: dict[str, str] = {
    "context_length_exceeded": "context_length",
    "max_tokens_exceeded": "context_length",
    "token_limit_exceeded": "context_length",
    "content_policy_violation": "moderation",
    "refusal": "moderation",
    "authentication": "unauthorized",
    "authentication_error": "unauthorized",
    "invalid_api_key": "unauthorized",
    "payment_required": "account_dry",
    "insufficient_quota": "account_dry",
    "permission_denied": "forbidden",
    "permission_error": "forbidden",
    "not_found": "not_found",
    "not_found_error": "not_found",
    "precondition_failed": "precondition_failed",
    "payload_too_large": "payload_too_large",
    "request_too_large": "payload_too_large",
    "unprocessable": "unprocessable",
    "rate_limit_exceeded": "rate_limited",
    "rate_limit_error": "rate_limited",
    "server": "server_error",
    "server_error": "server_error",
    "api_error": "server_error",
    "unmapped": "server_error",
    "provider_unavailable": "provider_unavailable",
    "provider_overloaded": "overloaded",
    "overloaded_error": "overloaded",
    "timeout": "timeout",
    # error.availability.code
    "model_not_found": "not_found",
    "wrong_endpoint": "not_found",
    "no_endpoints": "not_found",
    "model_deprecated": "not_found",
    "model_unavailable_upstream": "not_found",
    "region_restricted": "not_found",
    "privacy_restricted": "not_found",
    "constraint_filtered": "not_found",
    "free_variant_ended": "not_found",
    "capacity_exhausted": "rate_limited",
    "temporarily_unavailable": "provider_unavailable",
}
"""Error types, string codes and availability codes, each with its fault. A word not here leaves it to the status."""

_AFFORD = re.compile(r"can only afford [\d,]*[1-9]|fewer max_tokens", re.I)
_NO_CREDIT = re.compile(r"key limit exceeded|insufficient (?:credits|balance|quota)|exceeded your current quota", re.I)
_DAILY = re.compile(r"free-models-per-day", re.I)
_TOO_LONG = re.compile(
    r"maximum context length|context (?:length|window)|prompt is too long|too many (?:input )?tokens|"
    r"exceed\w* .{0,40}\bcontext\b",
    re.I,
)
_TRUNCATED = re.compile(r"token limit reached|max(?:imum)?[ _](?:output[ _])?tokens (?:exceeded|reached)", re.I)
_NO_MODEL = re.compile(r"not a valid model|model .{0,80}(?:does not exist|not found)|no endpoints", re.I)
_FORM = re.compile(r"response_format|json_schema|json_object|structured.?output|\bschema\b|json mode", re.I)
_NO_PARAMETER = re.compile(r"no endpoints .{0,60}(?:support|requested parameters)", re.I)
_FLAGGED = re.compile(r"flagged|moderation|content.policy|safety", re.I)


def read(
    error: Any,
    request: Wire,
    *,
    http_status: int | None = None,
    headers: Mapping[str, str] | None = None,
    otherwise: str = "error_finish",
    secrets: Iterable[str] = (),
) -> Fault:
    """Return the fault that an error object (or text, or None) describes.

    `http_status` is absent for an error inside a good response. `otherwise` is the fault's name when
    neither words nor numbers say which it is. `request` is the body that was sent: its messages are kept
    out of the sentence, and its `response_format` decides whether a weaker form can help.
    """
    about = _About(error, http_status)
    name = _name(about, request, otherwise)
    detail = "" if name in ("moderation", "guardrail") else clean(about.said, _texts(request), secrets=secrets)
    retryable = about.availability.get("retryable")
    return faults.make(
        name,
        detail=detail,
        status=about.status,
        error_type=about.word[:64] or None,
        retryable=retryable if isinstance(retryable, bool) else None,
        retry_after=_retry_after(about, headers or {}),
    )


def is_truncation(error: Any) -> bool:
    """Whether an error that came after an answer had begun only says that the answer was cut off."""
    about = _About(error, None)
    return about.word in TRUNCATIONS or _TRUNCATED.search(about.said) is not None


class _About:
    """The parts of an error, from wherever they stand."""

    def __init__(self, error: Any, http_status: int | None) -> None:
        self.error: Wire = error if isinstance(error, dict) else {}
        self.metadata = _object(self.error.get("metadata"))
        self.availability = _object(self.error.get("availability")) or _object(self.metadata.get("availability"))
        raw = _raw(self.metadata.get("raw"))
        message = error if isinstance(error, str) else _text(self.error, "message", "detail", "msg")
        inner = _text(raw, "message", "detail", "error") if isinstance(raw, dict) else raw
        self.said = inner if inner and (not message or message == "Provider returned error") else message
        self.everything = f"{message}\n{inner}"
        words = (
            self.metadata.get("error_type"),
            self.error.get("error_type"),
            self.error.get("code"),
            self.error.get("type"),
        )
        self.words = [word for word in words if isinstance(word, str) and word and not word.isdigit()]
        self.word = self.words[0] if self.words else ""
        codes = (self.error.get("code"), self.error.get("http_status"), self.error.get("status"), http_status)
        self.status = next((status for code in codes if (status := _status(code)) is not None), None)
        self.by_provider = bool(self.metadata.get("provider_name")) or "raw" in self.metadata


def _name(about: _About, request: Wire, otherwise: str) -> str:
    if _wants_form(request) and _about_form(about):
        return "unsupported_form"
    word = about.availability.get("code")
    name = WORDS.get(word) if isinstance(word, str) else None
    if name is not None:
        return name
    name = next((WORDS[word] for word in about.words if word in WORDS), None) or _by_status(about.status)
    match name:
        case "account_dry" if _AFFORD.search(about.everything):
            return "payment_required"
        case "rate_limited" if about.metadata.get("limit_source") == "openrouter_free_tier_daily" or _DAILY.search(
            about.everything
        ):
            return "rate_limited_daily"
        case "rate_limited" | "forbidden" if _NO_CREDIT.search(about.everything):
            return "account_dry"
        case "forbidden" if "patterns" in about.metadata:
            return "guardrail"
        case "forbidden" if (
            "reasons" in about.metadata or "flagged_input" in about.metadata or _FLAGGED.search(about.said)
        ):
            return "moderation"
        case "bad_request" if _TOO_LONG.search(about.everything):
            return "context_length"
        case "bad_request" if _NO_MODEL.search(about.everything):
            return "not_found"
        case "bad_request" if about.by_provider:
            return "refused_by_provider"
        case None:
            return otherwise
    return name


def _by_status(status: int | None) -> str | None:
    if status is None:
        return None
    return STATUSES.get(status) or ("server_error" if status >= 500 else "bad_request")


def _wants_form(request: Wire) -> bool:
    form = request.get("response_format")
    return isinstance(form, dict) and form.get("type") not in (None, "text")


def _about_form(about: _About) -> bool:
    """Whether the error says that the structured-output form, and not something else, is the trouble."""
    if about.status == 404:
        constraint = _object(about.availability.get("constraint"))
        told = f"{about.everything} {constraint.get('detail', '')}"
        if re.search(r"\btools?\b", told) and not _FORM.search(told):
            return False
        return about.availability.get("excluded_by") == "require_parameters" or bool(
            _NO_PARAMETER.search(told) or _FORM.search(told)
        )
    return about.status in (400, 422) and _FORM.search(about.everything) is not None


def _retry_after(about: _About, headers: Mapping[str, str]) -> float | None:
    """Seconds the upstream asked to wait, from the body or the headers (seconds, or a date)."""
    told = _object(about.metadata.get("headers"))
    every = {str(key).lower(): value for source in (told, headers) for key, value in source.items()}
    for value in (
        about.availability.get("retry_after"),
        about.error.get("retry_after"),
        about.metadata.get("retry_after"),
    ):
        if (seconds := _seconds(value)) is not None:
            return seconds
    if (millis := _seconds(every.get("retry-after-ms"))) is not None:
        return millis / 1000
    if (given := every.get("retry-after")) is not None:
        return _seconds(given) if _seconds(given) is not None else _until(str(given))
    return None


def _seconds(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        seconds = float(value)
    except ValueError:
        return None
    return max(seconds, 0.0) if seconds == seconds and seconds != float("inf") else None


def _until(date: str) -> float | None:
    try:
        return max(parsedate_to_datetime(date).timestamp() - time.time(), 0.0)
    except (ValueError, TypeError, OverflowError):
        return None


def _status(code: Any) -> int | None:
    if isinstance(code, str) and code.isdigit() and len(code) == 3:
        code = int(code)
    return code if isinstance(code, int) and not isinstance(code, bool) and 400 <= code <= 599 else None


def _object(value: Any) -> Wire:
    return value if isinstance(value, dict) else {}


def _raw(raw: Any) -> Wire | str:
    """The provider's own error, which may be an object, JSON text or plain text."""
    if isinstance(raw, str):
        try:
            raw = msgspec.json.decode(raw)
        except (ValueError, RecursionError):
            return str(raw)
    if isinstance(raw, list) and raw:
        raw = raw[0]
    inner = _object(raw)
    return _object(inner.get("error")) or inner


def _text(source: Wire, *keys: str) -> str:
    return next((value for key in keys if isinstance(value := source.get(key), str) and value), "")


def _texts(request: Wire) -> Iterable[str]:
    return texts_of([request.get(key) for key in ("messages", "prompt", "input", "prediction")])
