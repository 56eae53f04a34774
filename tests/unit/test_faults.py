"""Each error an upstream can send is read as the fault it is, and says nothing it must not say."""

from __future__ import annotations

import email.utils
import json
import re
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cheapfirst.messages import Fault, Wire
from cheapfirst.upstream import FAULTS, outcome, refusals
from cheapfirst.upstream.redact import SHOWN, STRETCH, clean

PAGE = (Path(__file__).parents[2] / "docs/reference/upstream.md").read_text()
REQUEST: Wire = {"model": "a/b", "messages": [{"role": "user", "content": "hello"}]}
FORMED: Wire = {**REQUEST, "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}}


def read(error: Any, status: int | None = None, request: Wire = REQUEST, **headers: str) -> Fault:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return refusals.read(error, request, http_status=status, headers=named)


def error(code: Any, message: str = "", error_type: str | None = None, **metadata: Any) -> Wire:
    details = {**metadata, **({"error_type": error_type} if error_type else {})}
    return {"code": code, "message": message, "metadata": details}


def available(code: str, status: int = 404, **more: Any) -> Wire:
    return {"code": status, "message": "no", "availability": {"code": code, **more}}


def yes(flag: bool) -> str:
    return "yes" if flag else "no"


@pytest.mark.parametrize("name", FAULTS)
def test_the_reference_page_has_every_fault_with_its_permissions_and_sentence(name: str) -> None:
    kind = FAULTS[name]
    flags = " | ".join(yes(flag) for flag in (kind.retry, kind.failover, kind.downgrade, kind.cheaper))
    assert f"| `{name}` | {flags} | {kind.sentence} |" in PAGE


def test_the_reference_page_names_no_fault_that_does_not_exist() -> None:
    assert set(re.findall(r"^\| `(\w+)` \| (?:yes|no)", PAGE, re.M)) == set(FAULTS)


def test_every_word_and_status_leads_to_a_fault_that_exists() -> None:
    assert set(refusals.STATUSES.values()) | set(refusals.WORDS.values()) <= set(FAULTS)


@pytest.mark.parametrize(
    ("name", "given", "status"),
    [
        ("bad_request", error(400, "Invalid", "invalid_request"), 400),
        ("refused_by_provider", error(400, "Provider returned error", raw="no", provider_name="P"), 400),
        ("context_length", error(400, "x", "context_length_exceeded"), 400),
        ("context_length", {"code": "context_length_exceeded", "type": "invalid_request_error", "message": "x"}, 400),
        ("context_length", error(400, "This endpoint's maximum context length is 8192 tokens"), 400),
        ("not_found", error(400, "x/y is not a valid model ID"), 400),
        ("not_found", available("model_not_found", 400), 400),
        ("not_found", available("region_restricted", 403), 403),
        ("not_found", available("constraint_filtered", excluded_by="max_price"), 404),
        ("not_found", {"error_type": "not_found", "http_status": 404, "message": "No endpoints found for x."}, None),
        ("moderation", error(400, "x", "content_policy_violation"), 400),
        ("moderation", error(403, "x", reasons=["violence"], flagged_input="hello"), 403),
        ("guardrail", error(403, "x", "permission_denied", patterns=["p"]), 403),
        ("forbidden", error(403, "x", "permission_denied"), 403),
        ("account_dry", error(403, "Key limit exceeded (total limit)"), 403),
        ("unauthorized", error(401, "User not found.", "authentication"), 401),
        ("unauthorized", {"code": "invalid_api_key", "message": "Incorrect API key"}, 401),
        ("payment_required", error(402, "You requested up to 65536 tokens, but can only afford 30104"), 402),
        ("account_dry", error(402, "Insufficient credits"), 402),
        ("account_dry", {"code": "insufficient_quota", "message": "You exceeded your current quota"}, 429),
        ("timeout", error(408, "x", "timeout"), 408),
        ("timeout", None, 504),
        ("timeout", None, 524),
        ("precondition_failed", error(412, "x"), 412),
        ("payload_too_large", error(413, "x"), 413),
        ("unprocessable", error(422, "x"), 422),
        ("rate_limited", error(429, "x", "rate_limit_exceeded"), 429),
        ("rate_limited", available("capacity_exhausted", 429), 429),
        ("rate_limited_daily", error(429, "Rate limit exceeded: free-models-per-day."), 429),
        ("rate_limited_daily", error(429, "x", limit_source="openrouter_free_tier_daily"), 429),
        ("server_error", error(500, "x", "server"), 500),
        ("server_error", None, 599),
        ("provider_unavailable", error(502, "x", "provider_unavailable"), 502),
        ("provider_unavailable", available("temporarily_unavailable", 503), 503),
        ("overloaded", error(503, "x", "provider_overloaded"), 503),
        ("overloaded", None, 529),
        ("bad_request", None, 418),
        ("server_error", {"code": "server_error", "message": "x"}, None),
        ("rate_limited", {"code": "429", "message": "x"}, None),
        ("error_finish", {"message": "boom"}, None),
        ("error_finish", "boom", None),
        ("bad_request", {"detail": "field required"}, 400),
        ("bad_request", {"code": 1015, "message": "odd"}, 400),
    ],
)
def test_errors_are_told_apart_by_words_codes_and_status(name: str, given: Any, status: int | None) -> None:
    fault = read(given, status)
    kind = FAULTS[name]
    assert fault.name == name
    assert (fault.retry, fault.failover, fault.downgrade, fault.cheaper) == (
        kind.retry,
        kind.failover,
        kind.downgrade,
        kind.cheaper,
    )
    assert fault.sentence.startswith(kind.sentence)


@pytest.mark.parametrize(
    ("given", "status"),
    [
        (available("constraint_filtered", excluded_by="require_parameters"), 404),
        (error(404, "No endpoints found that can handle the requested parameters."), 404),
        (error(404, "No endpoints found that support structured outputs"), 404),
        (error(400, "Provider returned error", raw=json.dumps({"error": {"message": "Invalid schema"}})), 400),
        (error(400, "'response_format' of type 'json_schema' is not supported"), 400),
        ({"message": "response_format.json_schema: unsupported", "type": "invalid_request_error"}, 422),
    ],
)
def test_a_refused_form_allows_a_downgrade_only_where_a_form_was_asked_for(given: Wire, status: int) -> None:
    fault = read(given, status, FORMED)
    assert (fault.name, fault.downgrade) == ("unsupported_form", True)
    plain = read(given, status, {**REQUEST, "response_format": {"type": "text"}})
    assert (plain.name != "unsupported_form", plain.downgrade) == (True, False)


@pytest.mark.parametrize(
    ("message", "detail"), [("No endpoints found that support tool use.", "tools"), ("No endpoints found for x.", "")]
)
def test_a_missing_tool_or_model_is_not_taken_for_a_refused_form(message: str, detail: str) -> None:
    given = {**error(404, message), "availability": {"code": "no_endpoints", "constraint": {"detail": detail}}}
    assert read(given, 404, FORMED).name == "not_found"


@pytest.mark.parametrize(("retryable", "status"), [(True, 404), (False, 503)])
def test_the_upstreams_own_word_on_a_retry_wins_over_the_table(retryable: bool, status: int) -> None:
    assert read(available("no_endpoints", status, retryable=retryable), status).retry is retryable


def test_the_wait_is_read_from_body_header_and_date() -> None:
    assert read(available("capacity_exhausted", 429, retry_after=7), 429).retry_after == 7
    assert read(error(429, "x"), 429, retry_after="12").retry_after == 12
    assert read(error(429, "x"), 429, Retry_After="1.5").retry_after == 1.5
    assert read(error(429, "x", headers={"Retry-After": "9"}), 429).retry_after == 9
    assert read(error(429, "x"), 429, retry_after_ms="250").retry_after == 0.25
    waiting = read(error(503, "x"), 503, retry_after=email.utils.formatdate(time.time() + 100, usegmt=True)).retry_after
    assert waiting is not None
    assert 90 < waiting <= 100
    assert read(error(503, "x"), 503, retry_after="Sun, 06 Nov 1994 08:49:37 GMT").retry_after == 0


@pytest.mark.parametrize("odd", ["soon", "", "nan", "inf", "-"])
def test_a_wait_that_is_no_time_is_no_wait(odd: str) -> None:
    assert read(error(429, "x"), 429, retry_after=odd).retry_after is None


def test_the_status_is_the_bodys_code_or_that_of_http_and_absent_when_there_is_none() -> None:
    assert read(error(502, "x")).status == 502
    assert read(error("server_error", "x"), 500).status == 500
    assert read(error("server_error", "x")).status is None


@pytest.mark.parametrize(
    ("message", "hidden"),
    [
        ("Incorrect API key provided: sk-abc***********xyz.", "sk-abc"),
        ("bad header Authorization: Bearer abcdef", "abcdef"),
        ("key AIzaSyA1234567890abcdef is blocked", "AIzaSyA"),
        ("token 0123456789abcdef0123456789abcdef is old", "0123456789abcdef"),
        ("secret hunter2 leaked", "hunter2"),
    ],
)
def test_keys_are_taken_out_of_the_upstreams_message(message: str, hidden: str) -> None:
    fault = refusals.read(error(400, message), REQUEST, secrets=("hunter2",))
    assert hidden not in fault.sentence
    assert "[key]" in fault.sentence


def test_what_the_request_said_is_taken_out_of_the_upstreams_message() -> None:
    said = "My name is Ada Lovelace\nand my card is 4242 4242 4242 4242"
    request = {**REQUEST, "messages": [{"role": "user", "content": [{"type": "text", "text": said}]}]}
    raw = json.dumps({"error": {"message": "invalid: 'MY NAME IS ADA LOVELACE and my card is 4242 4242 4242' at 3"}})
    fault = refusals.read(error(400, "Provider returned error", raw=raw, provider_name="P"), request)
    assert "lovelace" not in fault.sentence.lower()
    assert "4242" not in fault.sentence
    assert "invalid: '[…]' at 3" in fault.sentence


def test_moderation_quotes_nothing() -> None:
    fault = read(error(403, "flagged: hello", reasons=["x"], flagged_input="hello"), 403)
    assert fault.sentence == FAULTS["moderation"].sentence


def test_a_message_is_left_out_when_the_request_is_too_large_to_compare_with() -> None:
    assert clean("some words here", ["x" * 2_000_000]) == ""


@given(st.text(max_size=300), st.text(min_size=STRETCH, max_size=60), st.text(max_size=300), st.booleans())
def test_no_long_stretch_of_the_request_is_ever_shown(before: str, said: str, after: str, upper: bool) -> None:
    shown = clean(before + (said.upper() if upper else said) + after, [said])
    assert len(shown) <= SHOWN
    plain = re.sub(r"\s+", " ", said)
    for start in range(len(plain) - STRETCH + 1):
        assert plain[start : start + STRETCH] not in shown


FIELDS = [
    "error",
    "code",
    "message",
    "metadata",
    "raw",
    "availability",
    "retry_after",
    "headers",
    "constraint",
    "status",
]
PARTS = ["choices", "finish_reason", "usage", "prompt_tokens", "content", "refusal", "tool_calls"]
WIRE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from([*FIELDS, *PARTS]), inner),
    max_leaves=30,
)


@given(WIRE, st.sampled_from([None, 400, 404, 429, 500]))
def test_an_error_of_any_strange_form_is_read_as_some_fault(strange: Any, status: int | None) -> None:
    assert read(strange, status, FORMED).name in FAULTS


@given(WIRE, WIRE)
def test_an_answer_of_any_strange_form_is_read_as_some_outcome(strange: Any, choice: Any) -> None:
    for body in (strange, {"choices": strange}, {"choices": [choice], "usage": strange}):
        if isinstance(body, dict):
            made = outcome.read(body, REQUEST)
            assert (made.kind == "fault") == (made.fault is not None)


def test_usage_and_cost_are_read_exactly_and_both_byok_parts_are_added() -> None:
    usage = {
        "prompt_tokens": 9,
        "completion_tokens": 10,
        "cost": 0.00000735,
        "is_byok": True,
        "cost_details": {"upstream_inference_cost": 0.1},
        "prompt_tokens_details": {"cached_tokens": 4, "cache_write_tokens": 1},
        "completion_tokens_details": {"reasoning_tokens": 3},
    }
    made = outcome.read({"choices": [{"message": {"content": "a"}}], "usage": usage}, REQUEST)
    assert made.reported_cost == Decimal("0.10000735")
    assert made.usage is not None
    counts = made.usage
    assert (counts.prompt_tokens, counts.completion_tokens, counts.cached_tokens) == (9, 10, 4)
    assert (counts.cache_write_tokens, counts.reasoning_tokens) == (1, 3)
    assert outcome.read_usage({"prompt_tokens": 5, "prompt_cache_hit_tokens": 3}) is not None
    assert outcome.read_usage({}) is None
    assert outcome.read_usage({"cost": 1}) is None
