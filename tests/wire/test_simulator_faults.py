"""Every fault of the simulator does what its line in the table says, and the books say what it cost."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest

from cheapfirst.simulator import FAULTS, Handle, Options, serve_in_thread
from cheapfirst.simulator.answerer import echo
from simulator_client import CHEAP, PREMIUM, TEXT, Raw, body, call, get

SHORT = 0.3  # seconds after which a silent server counts as silent

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": "file_ticket",
            "parameters": {
                "type": "object",
                "properties": {"subject": {"type": "string"}, "urgent": {"type": "boolean"}},
                "required": ["subject", "urgent"],
            },
        },
    }
]


@pytest.fixture(scope="module")
def server() -> Iterator[Handle]:
    with serve_in_thread(Options(slow=0.0), answerer=echo) as handle:
        yield handle


@pytest.fixture
def sim(server: Handle) -> Handle:
    server.reset()
    return server


def ask(sim: Handle, fault: str, *, stream: bool = False, timeout: float = 10.0, **more: Any) -> Raw:
    return call(sim.base_url, body(metadata={"simulate": fault}, stream=stream, **more), timeout=timeout)


def only_line(sim: Handle) -> dict[str, Any]:
    lines: list[dict[str, Any]] = sim.books()["generations"]
    (line,) = lines
    return line


REFUSALS: dict[str, tuple[int, str | None, str | None]] = {
    "400_invalid_request": (400, "invalid_request", None),
    "400_schema": (400, "invalid_request", None),
    "400_context_length": (400, "context_length_exceeded", None),
    "400_model_not_found": (400, "invalid_request", "model_not_found"),
    "400_wrong_endpoint": (400, "invalid_request", "wrong_endpoint"),
    "401": (401, "authentication", None),
    "402_affordability": (402, "payment_required", None),
    "402_empty": (402, "payment_required", None),
    "403_moderation": (403, "content_policy_violation", None),
    "403_guardrail": (403, "permission_denied", None),
    "403_region": (403, "permission_denied", "region_restricted"),
    "404_no_endpoints": (404, "not_found", "no_endpoints"),
    "404_tools": (404, "not_found", "constraint_filtered"),
    "404_constraint": (404, "not_found", "constraint_filtered"),
    "404_privacy": (404, "not_found", "privacy_restricted"),
    "404_deprecated": (404, "not_found", "model_deprecated"),
    "404_upstream": (404, "not_found", "model_unavailable_upstream"),
    "404_free_ended": (404, "not_found", "free_variant_ended"),
    "404_docs_form": (404, None, "no_endpoints"),
    "408_timeout": (408, "timeout", None),
    "412_precondition": (412, "precondition_failed", None),
    "413_too_large": (413, "payload_too_large", None),
    "422_unprocessable": (422, "unprocessable", None),
    "429_retry_after": (429, "rate_limit_exceeded", None),
    "429_plain": (429, "rate_limit_exceeded", None),
    "429_shared_pool": (429, "rate_limit_exceeded", None),
    "429_free_daily": (429, "rate_limit_exceeded", None),
    "429_capacity": (429, "rate_limit_exceeded", "capacity_exhausted"),
    "500_server": (500, "server", None),
    "502_provider": (502, "provider_unavailable", None),
    "503_overloaded": (503, "provider_overloaded", None),
    "503_unavailable": (503, "provider_unavailable", "temporarily_unavailable"),
    "504_timeout": (504, "timeout", None),
    "529_overloaded": (529, "provider_overloaded", None),
}
RETRY_AFTER = {"429_retry_after", "429_capacity", "503_overloaded"}


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("fault", REFUSALS)
def test_a_refusal_is_json_with_its_status_before_the_first_token(sim: Handle, fault: str, stream: bool) -> None:
    status, error_type, availability = REFUSALS[fault]
    raw = ask(sim, fault, stream=stream)
    error = raw.json["error"]
    assert raw.status == status
    assert raw.headers["content-type"].startswith("application/json")
    assert raw.json["simulated"] is True
    assert error.get("code") == (None if fault == "404_docs_form" else status)
    assert error.get("metadata", {}).get("error_type") == error_type
    assert error.get("availability", {}).get("code") == availability
    assert error["message"]
    assert ("retry-after" in raw.headers) == (fault in RETRY_AFTER)
    assert sim.books()["generations"] == []
    assert sim.books()["refused"] == {fault: 1}


def test_an_availability_error_says_whether_to_try_again(sim: Handle) -> None:
    for fault, (_, _, availability) in REFUSALS.items():
        if availability:
            about = ask(sim, fault).json["error"]["availability"]
            assert about["retryable"] == (fault in ("429_capacity", "503_unavailable")), fault
            assert about["requested_models"] == [CHEAP]


def test_a_provider_error_hides_its_reason_in_raw(sim: Handle) -> None:
    error = ask(sim, "429_shared_pool").json["error"]
    assert error["message"] == "Provider returned error"
    assert "rate-limited upstream" in json.loads(error["metadata"]["raw"])["error"]["message"]
    assert error["metadata"]["limit_source"] == "upstream_provider_shared_pool"
    assert error["metadata"]["provider_name"] == "DeepSeek (simulated)"


def test_the_free_daily_limit_has_rate_headers_in_both_places(sim: Handle) -> None:
    raw = ask(sim, "429_free_daily")
    assert raw.headers["x-ratelimit-limit"] == "50"
    assert raw.headers["x-ratelimit-remaining"] == "0"
    assert raw.json["error"]["metadata"]["headers"]["X-RateLimit-Reset"] == raw.headers["x-ratelimit-reset"]
    assert raw.json["error"]["metadata"]["limit_source"] == "openrouter_free_tier_daily"


def test_402_says_how_much_output_can_be_paid(sim: Handle) -> None:
    message = ask(sim, "402_affordability", max_tokens=1000).json["error"]["message"]
    assert "You requested up to 1000 tokens, but can only afford 500." in message


def test_524_is_a_page_and_not_json(sim: Handle) -> None:
    raw = ask(sim, "524_html")
    assert raw.status == 524
    assert raw.headers["content-type"].startswith("text/html")
    assert b"<html>" in raw.data


def cut_text(raw: Raw) -> None:
    assert TEXT.startswith(raw.text)
    assert 0 < len(raw.text) < len(TEXT)


def check_length(raw: Raw) -> None:
    cut_text(raw)
    assert raw.json["choices"][0]["finish_reason"] == "length"


def check_length_as_stop(raw: Raw) -> None:
    cut_text(raw)
    choice = raw.json["choices"][0]
    assert (choice["finish_reason"], choice["native_finish_reason"]) == ("stop", "max_tokens")


def check_reasoning_only(raw: Raw) -> None:
    choice, usage = raw.json["choices"][0], raw.json["usage"]
    assert choice["message"]["content"] == ""
    assert choice["message"]["reasoning"]
    assert choice["finish_reason"] == "length"
    assert usage["completion_tokens"] == usage["completion_tokens_details"]["reasoning_tokens"] == 200


def check_refusal(raw: Raw) -> None:
    message = raw.json["choices"][0]["message"]
    assert message["refusal"] == message["content"] == "I'm sorry, but I can't help with that request."


def check_content_filter(raw: Raw) -> None:
    cut_text(raw)
    assert raw.json["choices"][0]["finish_reason"] == "content_filter"


def check_empty_insured(raw: Raw) -> None:
    assert raw.json["choices"][0]["finish_reason"] is None
    assert raw.json["usage"]["completion_tokens"] == 0
    assert raw.json["usage"]["cost"] == 0


def check_empty_billed(raw: Raw) -> None:
    assert raw.json["choices"][0]["finish_reason"] == "stop"
    assert raw.json["usage"]["completion_tokens"] == 0
    assert raw.json["usage"]["cost"] > 0


def check_200_error_body(raw: Raw) -> None:
    assert "choices" not in raw.json
    assert raw.json["error"]["code"] == 502
    assert raw.json["user_id"]


def check_empty_choices(raw: Raw) -> None:
    assert raw.json["choices"] == []


def check_choice_error(raw: Raw) -> None:
    choice = raw.json["choices"][0]
    assert choice["finish_reason"] == "error"
    assert choice["error"]["metadata"]["error_type"] == "provider_unavailable"
    cut_text(raw)


def check_malformed_body(raw: Raw) -> None:
    with pytest.raises(json.JSONDecodeError):
        _ = raw.json


def check_null_finish(raw: Raw) -> None:
    choice = raw.json["choices"][0]
    assert (choice["finish_reason"], choice["native_finish_reason"]) == (None, "stop")


def check_undated(raw: Raw) -> None:
    assert raw.json["model"] == CHEAP


def check_no_usage(raw: Raw) -> None:
    assert "usage" not in raw.json


def check_no_cost(raw: Raw) -> None:
    assert raw.json["usage"]["completion_tokens"] > 0
    assert not {"cost", "cost_details"} & set(raw.json["usage"])


def check_null_cost_details(raw: Raw) -> None:
    assert raw.json["usage"]["cost_details"] == {"upstream_inference_cost": None}


def check_cache_hit(raw: Raw) -> None:
    assert raw.headers["x-openrouter-cache-status"] == "HIT"
    assert raw.json["usage"]["total_tokens"] == 0
    assert raw.text == TEXT


def check_fenced(raw: Raw) -> None:
    assert raw.text == f"```json\n{TEXT}\n```"


def check_prose(raw: Raw) -> None:
    assert TEXT in raw.text
    assert not raw.text.startswith(TEXT)
    assert not raw.text.endswith(TEXT)


def check_schema_ignored(raw: Raw) -> None:
    assert "{" not in raw.text
    assert raw.text


def check_slow(raw: Raw) -> None:
    assert raw.text == TEXT


WHOLE: dict[str, tuple[Callable[[Raw], None], bool]] = {  # fault -> its check, whether it is billed
    "length": (check_length, True),
    "length_as_stop": (check_length_as_stop, True),
    "reasoning_only": (check_reasoning_only, True),
    "refusal": (check_refusal, True),
    "content_filter": (check_content_filter, True),
    "empty_insured": (check_empty_insured, False),
    "empty_billed": (check_empty_billed, True),
    "200_error_body": (check_200_error_body, False),
    "empty_choices": (check_empty_choices, False),
    "choice_error": (check_choice_error, False),
    "malformed_body": (check_malformed_body, True),
    "null_finish": (check_null_finish, True),
    "undated_model": (check_undated, True),
    "no_usage": (check_no_usage, True),
    "no_cost": (check_no_cost, True),
    "null_cost_details": (check_null_cost_details, True),
    "cache_hit": (check_cache_hit, False),
    "fenced": (check_fenced, True),
    "prose": (check_prose, True),
    "schema_ignored": (check_schema_ignored, True),
    "slow": (check_slow, True),
}


@pytest.mark.parametrize("fault", WHOLE)
def test_a_whole_answer_with_a_fault_looks_and_costs_as_the_table_says(sim: Handle, fault: str) -> None:
    check, billed = WHOLE[fault]
    raw = ask(sim, fault, max_tokens=200)
    assert raw.status == 200
    check(raw)
    line = only_line(sim)
    assert (Decimal(line["cost"]) > 0) == billed
    assert line["faults"] == [fault]
    spoiled = fault in ("malformed_body", "200_error_body", "empty_choices", "choice_error")
    assert line["delivered"] != spoiled
    assert line["told"] == (not spoiled and fault not in ("no_usage", "no_cost"))


def test_a_trailing_comma_stands_before_the_last_bracket(sim: Handle) -> None:
    raw = call(sim.base_url, body('{"a": [1, 2]}', metadata={"simulate": "trailing_comma"}))
    assert raw.text == '{"a": [1, 2],}'


def test_a_cut_off_may_be_spelled_as_tool_calls(sim: Handle) -> None:
    raw = ask(sim, "length,length_as_tool_calls")
    assert raw.json["choices"][0]["finish_reason"] == "tool_calls"
    assert raw.json["choices"][0]["native_finish_reason"] == "length"


@pytest.mark.parametrize(("fault", "whole"), [("none", True), ("tool_args_broken", False), ("tool_args_empty", False)])
@pytest.mark.parametrize("stream", [False, True])
def test_tool_arguments_can_be_whole_broken_or_empty(sim: Handle, fault: str, whole: bool, stream: bool) -> None:
    raw = ask(sim, f"{fault},tool_args_fragments" if stream else fault, tools=TOOLS, stream=stream)
    if stream:
        deltas = [d for c in raw.chunks for choice in c["choices"] for d in choice["delta"].get("tool_calls", [])]
        name = deltas[0]["function"]["name"]
        assert [delta.get("id") is not None for delta in deltas] == [True] + [False] * (len(deltas) - 1)
        arguments = "".join(delta["function"]["arguments"] for delta in deltas)
        assert all(len(delta["function"]["arguments"]) <= 3 for delta in deltas)
        assert raw.finishes == ["tool_calls"]
    else:
        (call_,) = raw.json["choices"][0]["message"]["tool_calls"]
        name, arguments = call_["function"]["name"], call_["function"]["arguments"]
        assert raw.json["choices"][0]["message"]["content"] is None
        assert raw.json["choices"][0]["finish_reason"] == "tool_calls"
    assert name == "file_ticket"
    if whole:
        assert set(json.loads(arguments)) == {"subject", "urgent"}
    else:
        assert (arguments == "") == (fault == "tool_args_empty")
        with pytest.raises(json.JSONDecodeError):
            json.loads(arguments)


@pytest.mark.parametrize("stream", [False, True])
def test_a_silent_upstream_sends_no_headers_and_bills_nothing(sim: Handle, stream: bool) -> None:
    raw = ask(sim, "silent", stream=stream, timeout=SHORT)
    assert raw.hung
    assert raw.status == 0
    assert sim.books()["generations"] == []
    assert sim.books()["refused"] == {"silent": 1}


@pytest.mark.parametrize("stream", [False, True])
def test_a_silent_upstream_may_have_answered_and_billed(sim: Handle, stream: bool) -> None:
    assert ask(sim, "silent_billed", stream=stream, timeout=SHORT).hung
    line = settled(sim)
    assert Decimal(line["cost"]) > 0
    assert not line["delivered"]
    assert line["cancelled"]


def settled(sim: Handle) -> dict[str, Any]:
    """The only line, once the simulator has noticed that its client left."""
    for _ in range(1000):
        line = only_line(sim)
        if not line["open"] and line["cancelled"]:
            return line
    raise AssertionError("the simulator never noticed that its client left")


@pytest.mark.parametrize("stream", [False, True])
def test_no_response_closes_the_connection_without_a_byte(sim: Handle, stream: bool) -> None:
    raw = ask(sim, "no_response", stream=stream)
    assert raw.broken
    assert raw.status == 0
    assert sim.books()["generations"] == []


@pytest.mark.parametrize("stream", [False, True])
def test_a_cut_socket_breaks_off_in_the_middle_and_is_billed(sim: Handle, stream: bool) -> None:
    raw = ask(sim, "cut_socket", stream=stream)
    assert raw.status == 200
    assert raw.broken
    if stream:
        assert not raw.done
        assert raw.finishes == []
        cut_text(raw)
    line = only_line(sim)
    assert Decimal(line["cost"]) > 0
    assert not line["delivered"]


@pytest.mark.parametrize("stream", [False, True])
def test_a_stall_leaves_half_an_answer_and_silence(sim: Handle, stream: bool) -> None:
    raw = ask(sim, "stall", stream=stream, timeout=SHORT)
    assert raw.status == 200
    assert raw.hung
    assert raw.data
    assert not settled(sim)["delivered"]


def stream_mid_error(raw: Raw) -> None:
    cut_text(raw)
    assert raw.chunks[-1]["error"]["code"] == 502
    assert raw.finishes == ["error"]
    assert not raw.done


def stream_mid_error_text(raw: Raw) -> None:
    assert raw.chunks[-1]["error"]["code"] == "server_error"
    assert raw.finishes == ["error"]
    assert raw.done


def stream_length_as_error(raw: Raw) -> None:
    assert raw.chunks[-1]["error"]["metadata"]["error_type"] == "max_tokens_exceeded"
    assert not raw.done


def stream_length_error_chunk(raw: Raw) -> None:
    assert raw.finishes == ["length", "error"]
    assert raw.chunks[-1]["error"] == {"code": 400, "message": "Token limit reached"}
    assert raw.chunks[-1]["usage"] == {}
    assert raw.done


def stream_ends_early(raw: Raw) -> None:
    assert not raw.broken
    assert raw.finishes == []
    assert not raw.done
    assert not any("usage" in chunk for chunk in raw.chunks)


def stream_no_done(raw: Raw) -> None:
    assert not raw.broken
    assert raw.finishes == ["stop"]
    assert "usage" in raw.chunks[-1]
    assert not raw.done


def stream_malformed(raw: Raw) -> None:
    bad = []
    for event in raw.events[:-1]:
        try:
            json.loads(event)
        except json.JSONDecodeError:
            bad.append(event)
    assert len(bad) == 1
    assert raw.done


def stream_200_error(raw: Raw) -> None:
    (chunk,) = raw.chunks
    assert chunk["error"]["code"] == 502
    assert "choices" not in chunk


def stream_empty_choices(raw: Raw) -> None:
    assert [chunk["choices"] for chunk in raw.chunks] == [[]]
    assert raw.done


def stream_old_usage(raw: Raw) -> None:
    assert raw.finishes == ["stop", "stop"]
    assert raw.chunks[-1]["usage"]["cost"] > 0
    assert raw.chunks[-1]["choices"][0]["finish_reason"] == "stop"


def stream_comments(raw: Raw) -> None:
    text = raw.data.decode()
    assert text.startswith(": OPENROUTER PROCESSING\n\n" * 3)
    assert text.count(": OPENROUTER PROCESSING") >= len(raw.events) + 2
    assert raw.text == TEXT


def stream_crlf(raw: Raw) -> None:
    assert raw.data.count(b"\n") == raw.data.count(b"\r\n")
    assert raw.text == TEXT


def stream_whole(raw: Raw) -> None:
    assert raw.text == TEXT
    assert raw.done


def stream_role_once(raw: Raw) -> None:
    roles = ["role" in choice["delta"] for chunk in raw.chunks for choice in chunk["choices"]]
    assert roles == [True] + [False] * (len(roles) - 1)
    assert raw.text == TEXT


STREAMED: dict[str, tuple[Callable[[Raw], None], bool, bool]] = {  # fault -> check, billed, delivered
    "mid_stream_error": (stream_mid_error, False, False),
    "mid_stream_error_text": (stream_mid_error_text, False, False),
    "length_as_error": (stream_length_as_error, True, False),
    "length_error_chunk": (stream_length_error_chunk, True, True),
    "ends_early": (stream_ends_early, True, False),
    "no_done": (stream_no_done, True, True),
    "malformed_chunk": (stream_malformed, True, True),
    "200_error_body": (stream_200_error, False, False),
    "empty_choices": (stream_empty_choices, False, False),
    "usage_on_finish": (stream_old_usage, True, True),
    "comments": (stream_comments, True, True),
    "crlf": (stream_crlf, True, True),
    "split_utf8": (stream_whole, True, True),
    "role_once": (stream_role_once, True, True),
    "slow": (stream_whole, True, True),
}


@pytest.mark.parametrize("fault", STREAMED)
def test_a_stream_with_a_fault_looks_and_costs_as_the_table_says(sim: Handle, fault: str) -> None:
    check, billed, delivered = STREAMED[fault]
    raw = ask(sim, fault, stream=True)
    assert raw.headers["content-type"].startswith("text/event-stream")
    check(raw)
    line = only_line(sim)
    assert (Decimal(line["cost"]) > 0) == billed
    assert line["delivered"] == delivered


@pytest.mark.parametrize("fault", sorted(set(WHOLE) - {"choice_error", "malformed_body", "200_error_body"}))
def test_what_happens_to_whole_answers_happens_to_streams_too(sim: Handle, fault: str) -> None:
    whole, streamed = ask(sim, fault, max_tokens=200), ask(sim, fault, stream=True, max_tokens=200)
    if fault != "empty_choices":
        assert streamed.text == whole.text
        finish = whole.json["choices"][0]["finish_reason"]
        assert streamed.finishes == ([finish] if finish else [])
    told = [chunk["usage"] for chunk in streamed.chunks if "usage" in chunk]
    if fault not in ("empty_choices",):
        cached = {"cost", "cost_details", "prompt_tokens_details"}  # the second one reads the prompt cache
        usage = whole.json.get("usage")
        assert len(told) == (usage is not None)
        for counted in told:
            assert {k: v for k, v in counted.items() if k not in cached} == {
                k: v for k, v in usage.items() if k not in cached
            }


def test_split_writes_cut_a_character_in_two(sim: Handle) -> None:
    import socket
    from urllib.parse import urlsplit

    url = urlsplit(sim.base_url)
    payload = json.dumps(body(stream=True, metadata={"simulate": "split_utf8"})).encode()
    request = (
        f"POST {url.path}/chat/completions HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        f"Content-Length: {len(payload)}\r\n\r\n"
    ).encode()
    with socket.create_connection((url.hostname or "", url.port or 0), timeout=10) as connection:
        connection.sendall(request + payload)
        data = b"".join(iter(lambda: connection.recv(65536), b""))
    _, _, rest = data.partition(b"\r\n\r\n")
    pieces: list[bytes] = []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        pieces.append(rest[:length])
        rest = rest[length + 2 :]

    def whole(piece: bytes) -> bool:
        try:
            piece.decode()
        except UnicodeDecodeError:
            return False
        return True

    assert not all(whole(piece) for piece in pieces)
    assert "".join(b"".join(pieces).decode()).count("data: ") > 3


def test_every_fault_has_a_test() -> None:
    elsewhere = {"524_html", "silent", "silent_billed", "no_response", "cut_socket", "stall", "trailing_comma",
                 "length_as_tool_calls", "tool_args_broken", "tool_args_empty", "tool_args_fragments"}  # fmt: skip
    assert set(FAULTS) == set(REFUSALS) | set(WHOLE) | set(STREAMED) | elsewhere


def test_an_unknown_fault_is_an_error_that_names_the_nearest(sim: Handle) -> None:
    raw = ask(sim, "429_retry_aftr")
    assert raw.status == 400
    assert '"429_retry_after"' in raw.json["error"]["message"]


def test_a_fault_of_streams_is_an_error_on_a_whole_answer(sim: Handle) -> None:
    raw = ask(sim, "mid_stream_error")
    assert raw.status == 400
    assert "streamed answers only" in raw.json["error"]["message"]


def test_a_fault_may_be_named_by_header_and_for_one_model(sim: Handle) -> None:
    header = {"X-Cheapfirst-Simulate": f"429_plain@{PREMIUM}"}
    assert call(sim.base_url, body(), headers=header).status == 200
    assert call(sim.base_url, body(model=PREMIUM), headers=header).status == 429


def test_a_script_is_used_up_in_order_and_by_model(sim: Handle) -> None:
    sim.script("429_plain", "502_provider", model=CHEAP)
    sim.script("503_overloaded")
    assert call(sim.base_url, body(model=PREMIUM)).status == 503
    assert [call(sim.base_url, body()).status for _ in range(3)] == [429, 502, 200]


def test_a_script_keeps_a_stream_fault_until_a_stream_comes(sim: Handle) -> None:
    sim.script("ends_early")
    assert call(sim.base_url, body()).status == 200
    assert call(sim.base_url, body(stream=True)).finishes == []
    assert call(sim.base_url, body(stream=True)).finishes == ["stop"]


def test_faults_are_switched_over_http_while_it_runs(sim: Handle) -> None:
    def switch(payload: dict[str, Any]) -> Raw:
        return call(sim.base_url, payload, path="/_simulator/faults")

    assert switch({"rates": {"500_server": 1}}).json["rates"] == {"*": {"500_server": 1.0}}
    assert call(sim.base_url, body()).status == 500
    assert switch({"rates": {}, "model": "*", "script": ["429_plain"]}).json["scripts"] == {"*": ["429_plain"]}
    assert [call(sim.base_url, body()).status for _ in range(2)] == [429, 200]
    listed = get(sim.base_url, "/_simulator/faults").json["faults"]
    assert set(listed) == set(FAULTS)
    assert switch({"rates": {"500_server": 2}}).status == 400
    assert switch({"rates": {"teapot": 1}}).status == 400
    assert switch({"script": ["429_plain"], "model": "no/such"}).status == 400
    assert switch({"surprise": 1}).status == 400


def test_native_fallback_moves_on_after_a_fault_and_tells_every_attempt(sim: Handle) -> None:
    payload = body(models=[PREMIUM], metadata={"simulate": "503_overloaded"})
    raw = call(sim.base_url, payload, headers={"X-OpenRouter-Metadata": "enabled"})
    told = raw.json["openrouter_metadata"]
    assert raw.json["model"] == "anthropic/claude-4.8-opus-20260528"
    assert [attempt["status"] for attempt in told["attempts"]] == [503, 200]
    assert told["attempt"] == 2
    assert told["strategy"] == "fallback"
    assert only_line(sim)["model"] == PREMIUM


def test_native_fallback_ends_with_the_last_error_when_all_fail(sim: Handle) -> None:
    payload = body(models=[PREMIUM], metadata={"simulate": f"503_overloaded,429_plain@{PREMIUM}"})
    raw = call(sim.base_url, payload, headers={"X-OpenRouter-Metadata": "enabled"})
    assert raw.status == 429
    assert [attempt["status"] for attempt in raw.json["openrouter_metadata"]["attempts"]] == [503, 429]
    assert raw.json["openrouter_metadata"]["attempt"] == 0


def test_native_fallback_does_not_move_on_for_a_bad_answer(sim: Handle) -> None:
    raw = call(sim.base_url, body(models=[PREMIUM], metadata={"simulate": "empty_choices"}))
    assert raw.json["choices"] == []
    assert raw.json["model"].startswith(CHEAP)
